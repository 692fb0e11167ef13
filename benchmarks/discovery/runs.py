"""One run: a searcher on a problem under a seed, and the file that keeps it.

Every evaluation is one network told. A proposal that was evaluated before in the run is told again
with the same value, at no cost, at most 100 times in a row; from then on, until something new
comes, each counts as an evaluation of its own.
"""

import gzip
import hashlib
import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnas_search.benchmarks.discovery.problems import DiscoveryProblem, Row, Told
from mnas_search.benchmarks.discovery.searchers import Searcher
from mnas_search.common.errors import WorkFailed
from mnas_search.common.files import write_atomically

FREE_REPEATS = 100
_PROTOCOL = 1  # counts up when `play` changes what runs give


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What a run evaluated, in order."""

    codes: NDArray[np.uint8]  # uint8 [n, D]
    told: NDArray[np.float64]  # rewards with noise [n]
    seconds: NDArray[np.float64]  # process time of ask and tell [n]

    def __len__(self) -> int:
        return len(self.told)

    def first(self, evaluations: int) -> "Run":
        """Return the first evaluations of the run."""
        return Run(
            codes=self.codes[:evaluations],
            told=self.told[:evaluations],
            seconds=self.seconds[:evaluations],
        )


def play(problem: DiscoveryProblem, searcher: Searcher, seed: int, evaluations: int) -> Run:
    """Let the searcher evaluate `evaluations` networks."""
    known: dict[Row, Told] = {}
    rows: list[Row] = []
    told: list[float] = []
    seconds: list[float] = []
    spent, repeats = 0.0, 0
    while len(rows) < evaluations:
        start = time.process_time()
        row = searcher.ask()
        spent += time.process_time() - start
        outcome = known.get(row)
        counts = outcome is None or repeats >= FREE_REPEATS
        if outcome is None:
            outcome = known[row] = problem.evaluate(_checked(problem, row), seed)
            repeats = 0
        else:
            repeats += 1
        start = time.process_time()
        searcher.tell(row, outcome)
        spent += time.process_time() - start
        if counts:
            rows.append(row)
            told.append(outcome.reward)
            seconds.append(spent)
            spent = 0.0
    return Run(codes=np.array(rows, np.uint8), told=np.array(told), seconds=np.array(seconds))


def _checked(problem: DiscoveryProblem, row: Row) -> Row:
    options = [len(d.options) for d in problem.given.decisions]
    if len(row) != len(options) or not all(0 <= c < n for c, n in zip(row, options, strict=True)):
        raise WorkFailed(f"a proposal must be codes of the problem's decisions, got {row}")
    return row


def fingerprint(problem: DiscoveryProblem, settings: Mapping[str, str]) -> str:
    """Hash everything that a run depends on besides its seed."""
    everything = {"problem": problem.settings, "searcher": settings, "protocol": _PROTOCOL}
    return hashlib.sha256(json.dumps(everything, sort_keys=True).encode()).hexdigest()[:16]


def path(folder: Path, problem: str, name: str, seed: int) -> Path:
    """Return the file that keeps a run."""
    if ".py:" in name:  # the same class name in two files is two controllers
        file, _, attribute = name.rpartition(":")
        digest = hashlib.sha256(str(Path(file).resolve()).encode()).hexdigest()[:8]
        name = f"{attribute}-{Path(file).stem}-{digest}"
    return folder / "runs" / problem / name / f"seed-{seed:03d}.json.gz"


def save(file: Path, run: Run, fingerprint: str) -> None:
    """Write a run whole."""
    write_packed(
        file,
        {
            "fingerprint": fingerprint,
            "codes": ["".join(map(str, row)) for row in run.codes.tolist()],
            "told": [round(value, 7) for value in run.told.tolist()],
            "seconds": [round(value, 5) for value in run.seconds.tolist()],
        },
    )


def read(file: Path, fingerprint: str) -> Run | None:
    """Read a kept run; None where there is none, or one of other settings."""
    content = read_packed(file, fingerprint)
    if content is None:
        return None
    rows = content["codes"]
    digits = np.frombuffer("".join(rows).encode(), np.uint8) - ord("0")
    return Run(
        codes=digits.reshape(len(rows), -1),
        told=np.array(content["told"]),
        seconds=np.array(content["seconds"]),
    )


def write_packed(file: Path, content: Mapping[str, Any]) -> None:
    """Write gzipped JSON."""
    text = json.dumps(content, separators=(",", ":"))
    write_atomically(file, gzip.compress(text.encode(), mtime=0))


def read_packed(file: Path, fingerprint: str) -> dict[str, Any] | None:
    """Read what was written under this fingerprint; None for anything else."""
    try:
        content: dict[str, Any] = json.loads(gzip.decompress(file.read_bytes()))
        return content if content["fingerprint"] == fingerprint else None
    except (OSError, EOFError, ValueError, LookupError, TypeError):
        return None
