"""Which runs are wanted, and the folder that keeps them: nothing is computed twice."""

import gzip
import hashlib
import json
import zlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from mnas_search.benchmarks import tasks_over_processes
from mnas_search.benchmarks.discovery import scoring, searchers
from mnas_search.benchmarks.discovery.problems import DiscoveryProblem, problem
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
    "optuna_gp+within": ((6, 100),),
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
    generations: int = 100  # of the search for the best known of a world

    def limited(self, seeds: int, evaluations: int) -> "Plan":
        """Return the plan without later seeds, and without evaluations beyond these."""

        def cut(pairs: tuple[tuple[int, int], ...]) -> tuple[tuple[int, int], ...]:
            return tuple((min(count, seeds), min(n, evaluations)) for count, n in pairs)

        return replace(
            self,
            cheap=cut(self.cheap),
            dear=cut(self.dear),
            slow={name: cut(pairs) for name, pairs in self.slow.items()},
            evaluations=tuple(n for n in self.evaluations if n <= evaluations) or (evaluations,),
        )

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


QUICK = Plan(cheap=((3, 40),), dear=((3, 40),), evaluations=(10, 25, 40), generations=20, slow={})


@dataclass(frozen=True, slots=True, kw_only=True)
class Runner:
    """Computes tasks into a folder: the run, and then its held-out rewards beside it.

    Attributes:
        folder: where they are kept.
        generations: of the search for the best known of a world.
        problem_of: a problem by name, as a seed meets it.
    """

    folder: Path
    generations: int
    problem_of: Callable[[str, int], DiscoveryProblem] = problem

    def kept(self, task: Task) -> searchers.Run | None:
        """Read the run, cut to the task's length; None where it has to be computed."""
        run = self._read(task)
        return None if run is None or len(run) < task.evaluations else run.first(task.evaluations)

    def compute(self, task: Task) -> None:
        """Run and keep."""
        import torch

        torch.set_num_threads(1)
        met = self.problem_of(task.problem, task.seed)
        with threadpool_limits(1):
            searcher = entry(task.name).make(met.given, task.seed)
            run = searchers.play(met, searcher, task.seed, task.evaluations)
        content = {
            "fingerprint": self._fingerprint(task),
            "codes": ["".join(map(str, row)) for row in run.codes.tolist()],
            "told": [round(value, 7) for value in run.told.tolist()],
            "seconds": [round(value, 5) for value in run.seconds.tolist()],
        }
        _write(self._file(task), content)

    def scored(self, task: Task) -> scoring.Scored | None:
        """Read the run with its scores; None where it has to be scored."""
        run, best = self.kept(task), self.best(task)
        content = _read(self._file(task, ".score"), self._score_fingerprint(task))
        if run is None or best is None or content is None or len(content["rewards"]) < len(run):
            return None
        marks = content["recommended"][: len(run) // scoring.STEP]
        return scoring.scored(run, marks, np.array(content["rewards"]), best)

    def score(self, task: Task) -> None:
        """Score and keep."""
        run, met = self._read(task), self.problem_of(task.problem, task.seed)
        assert run is not None
        with threadpool_limits(1):
            value = scoring.rewards(met, met.reported, run.codes)
            marks = scoring.recommendations(met, run, task.seed)
        content = {
            "fingerprint": self._score_fingerprint(task),
            "rewards": [round(reward, 7) for reward in value.tolist()],
            "recommended": marks,
        }
        _write(self._file(task, ".score"), content)

    def best(self, task: Task) -> scoring.Best | None:
        """Read the best of the task's world; None where it has to be found."""
        content = _read(self.best_file(task), self._best_fingerprint(task))
        if content is None:
            return None
        codes = np.array(content.pop("codes"), np.uint8)
        return scoring.Best(
            codes=codes, **{k: v for k, v in content.items() if k != "fingerprint"}
        )

    def find_best(self, task: Task) -> None:
        """Find the best of the task's world, and keep it."""
        met = self.problem_of(task.problem, task.seed)
        with threadpool_limits(1):
            found = asdict(scoring.find_best(met, generations=self.generations))
        found["codes"] = found["codes"].tolist()
        _write(self.best_file(task), {"fingerprint": self._best_fingerprint(task), **found})

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
        met, searcher = self.problem_of(task.problem, task.seed), entry(task.name).settings
        everything = {
            "problem": met.settings,
            "searcher": searcher,
            "protocol": searchers.PROTOCOL,
        }
        return hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()[:16]

    def _score_fingerprint(self, task: Task) -> str:
        model = entry(scoring.MODEL).settings["source"]
        reported = self.problem_of(task.problem, task.seed).reported_probe
        return f"{self._fingerprint(task)} {reported} {model}"

    def best_file(self, task: Task) -> Path:
        """Return where the best of the task's world is kept."""
        world = self.problem_of(task.problem, task.seed).world
        return self.folder / "best" / task.problem / f"{world.name}.json.gz"

    def _best_fingerprint(self, task: Task) -> str:
        met = self.problem_of(task.problem, task.seed)
        return f"{met.definition} {met.probe} {met.reported_probe} {self.generations}"


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
