"""Which runs are wanted, and the folder that keeps them: nothing is computed twice."""

import gzip
import hashlib
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from mnas_search.benchmarks import tasks_over_processes
from mnas_search.benchmarks.discovery import scoring, searchers
from mnas_search.benchmarks.discovery.problems import DiscoveryProblem
from mnas_search.benchmarks.discovery.roster import entry, label
from mnas_search.benchmarks.tasks_over_processes import Note
from mnas_search.common.files import write_atomically


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """A run to compute, of at least `evaluations` evaluations."""

    problem: str
    name: str
    seed: int
    evaluations: int


# Optuna's Gaussian-process sampler takes a minute to 100 evaluations and six to 300; seconds a run
# add up as well where a hundred seeds go to 1,000.
SLOW = {
    "optuna_gp": ((6, 100), (2, 300)),
    "optuna_gp+start": ((3, 100),),
    "bayesian-no-cost": ((10, 100),),
    "bayesian-no-log-error": ((20, 100),),
    "bayesian-no-blocks": ((20, 100),),
    "bayesian-plain": ((20, 100),),
    "bayesian-no-start": ((10, 100),),
    "bayesian-no-log-macs": ((10, 100),),
    "nsga2": ((10, 1_000),),
    "reinforce": ((20, 1_000),),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """How far and how often."""

    cheap: tuple[tuple[int, int], ...] = ((100, 1_000),)  # (seeds, evaluations) of the cheap ones
    # (seeds, evaluations) of the model-based ones, one pair after the other; a seed in several
    # runs as far as the farthest
    dear: tuple[tuple[int, int], ...] = ((20, 100), (5, 300))
    # the same for those that take minutes a run, by name
    slow: Mapping[str, tuple[tuple[int, int], ...]] = field(default_factory=lambda: SLOW)
    evaluations: tuple[int, ...] = (25, 50, 100, 300, 1_000)  # the table's columns
    refits: int = 5  # of the held-out model, for the band around B0
    generations: int = 100  # of the search for the best known

    def of(self, name: str) -> dict[int, int]:
        """Return the number of evaluations by seed."""
        far: dict[int, int] = {}
        usual = self.cheap if entry(name).cheap else self.dear
        for seeds, evaluations in self.slow.get(name, usual):
            for seed in range(seeds):
                far[seed] = max(far.get(seed, 0), evaluations)
        return far

    def tasks(self, problems: Sequence[str], names: Sequence[str]) -> list[Task]:
        """Every run, the short ones first and then seed by seed, so that what is there after an
        interruption can be compared."""
        tasks = [
            Task(problem=problem, name=name, seed=seed, evaluations=evaluations)
            for name in names
            for seed, evaluations in self.of(name).items()
            for problem in problems
        ]
        return sorted(tasks, key=lambda task: (task.evaluations, task.seed))


QUICK = Plan(
    cheap=((3, 40),), dear=((3, 40),), evaluations=(10, 25, 40), refits=2, generations=20, slow={}
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """Computes tasks into a folder: the run, and then its held-out rewards beside it."""

    problems: dict[str, DiscoveryProblem]
    folder: Path
    refits: int = 0

    def kept(self, task: Task) -> searchers.Run | None:
        """Read the run, cut to the task's length; None where it has to be computed."""
        run = self._read(task)
        return None if run is None or len(run) < task.evaluations else run.first(task.evaluations)

    def compute(self, task: Task) -> None:
        """Run and keep."""
        import torch

        torch.set_num_threads(1)
        problem = self.problems[task.problem]
        with threadpool_limits(1):
            searcher = entry(task.name).make(problem.given, task.seed)
            run = searchers.play(problem, searcher, task.seed, task.evaluations)
        content = {
            "fingerprint": self._fingerprint(task),
            "codes": ["".join(map(str, row)) for row in run.codes.tolist()],
            "told": [round(value, 7) for value in run.told.tolist()],
            "seconds": [round(value, 5) for value in run.seconds.tolist()],
        }
        _write(self._file(task), content)

    def scored(self, task: Task) -> scoring.Scored | None:
        """Read the run with its scores; None where it has to be scored."""
        run = self.kept(task)
        content = _read(self._file(task, ".score"), self._score_fingerprint(task))
        if run is None or content is None or len(content["rewards"]) < len(run):
            return None
        passed = [np.inf if n is None else n for n in content["passed"]]
        return scoring.scored(run, np.array(content["rewards"]), passed)

    def score(self, task: Task) -> None:
        """Score and keep."""
        run, problem = self._read(task), self.problems[task.problem]
        assert run is not None
        with threadpool_limits(1):
            value = scoring.rewards(problem, scoring.reporting_model(), run.codes)
            passed = scoring.passes(problem, run.codes, value, self.refits)
        content = {
            "fingerprint": self._score_fingerprint(task),
            "rewards": [round(reward, 7) for reward in value.tolist()],
            "passed": [n if np.isfinite(n) else None for n in passed],
        }
        _write(self._file(task, ".score"), content)

    def _read(self, task: Task) -> searchers.Run | None:
        content = _read(self._file(task), self._fingerprint(task))
        if content is None:
            return None
        rows = content["codes"]
        digits = np.frombuffer("".join(rows).encode(), np.uint8) - ord("0")
        return searchers.Run(
            codes=digits.reshape(len(rows), -1),
            told=np.array(content["told"]),
            seconds=np.array(content["seconds"]),
        )

    def _file(self, task: Task, what: str = "") -> Path:
        name = task.name
        if ".py:" in name:  # the same class name in two files is two controllers
            file, _, attribute = name.rpartition(":")
            digest = hashlib.sha256(str(Path(file).resolve()).encode()).hexdigest()[:8]
            name = f"{attribute}-{Path(file).stem}-{digest}"
        return self.folder / "runs" / task.problem / name / f"seed-{task.seed:03d}{what}.json.gz"

    def _fingerprint(self, task: Task) -> str:
        """Hash everything that a run depends on besides its seed."""
        problem, searcher = self.problems[task.problem].settings, entry(task.name).settings
        everything = {"problem": problem, "searcher": searcher, "protocol": searchers.PROTOCOL}
        return hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()[:16]

    def _score_fingerprint(self, task: Task) -> str:
        return f"{self._fingerprint(task)} {scoring.reporting_probe()} {self.refits}"


def _write(file: Path, content: Mapping[str, Any]) -> None:
    text = json.dumps(content, separators=(",", ":"))
    write_atomically(file, gzip.compress(text.encode(), mtime=0))


def _read(file: Path, fingerprint: str) -> dict[str, Any] | None:
    """Read what was written under this fingerprint; None for anything else."""
    try:
        content: dict[str, Any] = json.loads(gzip.decompress(file.read_bytes()))
        return content if content["fingerprint"] == fingerprint else None
    except (OSError, EOFError, zlib.error, ValueError, LookupError, TypeError):
        return None


def compute(
    work: Callable[[Task], None], tasks: Sequence[Task], processes: int, note: Note
) -> list[str]:
    """Compute or score all tasks and return a line for each that failed."""
    return tasks_over_processes.compute(
        work,
        tasks,
        processes=processes,
        unit="runs",
        describe=lambda task: f"{label(task.name)} on {task.problem}, seed {task.seed}",
        note=note,
    )
