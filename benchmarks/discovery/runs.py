"""One run: a searcher on a problem under a seed.

Every evaluation is one network told. A proposal that was evaluated before in the run is told again
with the same value, at no cost, at most 100 times in a row; from then on, until something new
comes, each counts as an evaluation of its own.
"""

import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnas_search.benchmarks.discovery.problems import DiscoveryProblem, Row, Told
from mnas_search.benchmarks.discovery.searchers import Searcher
from mnas_search.common.errors import WorkFailed

FREE_REPEATS = 100
PROTOCOL = 1  # counts up when `play` changes what runs give


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
