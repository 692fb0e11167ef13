"""Who takes part in a run: ask for one network, tell what came out, one at a time.

Peers implement this directly, so that nothing of ours stands between them and the problem; our
controllers, and any `file.py:Name`, come in through `Ours`.
"""

import time
from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from mnas_search.benchmarks.discovery.problems import DiscoveryProblem, Row, Told
from mnas_search.common.errors import WorkFailed
from mnas_search.nas.controller import Controller
from mnas_search.nas.problem import Problem
from mnas_search.nas.space.choices import decode, encode
from mnas_search.nas.trial import Trial


class Searcher(ABC):
    """Proposes networks one after the other.

    Made from the problem and a seed, the only source of randomness. A network may be told without
    having been asked for (an initial design of another searcher), and told again with the same
    values when it is proposed again.
    """

    @abstractmethod
    def ask(self) -> Row:
        """Codes of the next network."""

    @abstractmethod
    def tell(self, row: Row, told: Told) -> None:
        """What came out."""


MakeSearcher = Callable[[Problem, int], Searcher]


@final
class Ours(Searcher):
    """A controller behind the same two calls, its asks seeded as in `mnas_search.search`."""

    def __init__(self, controller: Controller, problem: Problem, seed: int) -> None:
        self._controller, self._decisions, self._seed = controller, problem.decisions, seed
        self._asked = 0
        self._told = 0
        self._first: dict[str, int] = {}

    def ask(self) -> Row:
        """Ask k draws from a generator seeded with (seed, k)."""
        rng = np.random.default_rng((self._seed, self._asked))
        self._asked += 1
        return encode(self._decisions, self._controller.ask(rng))

    def tell(self, row: Row, told: Told) -> None:
        number = self._told
        self._told += 1
        first = self._first.setdefault(told.fingerprint, number)
        self._controller.tell(
            Trial(
                number=number,
                choices=decode(self._decisions, row),
                fingerprint=told.fingerprint,
                duplicate_of=None if first == number else first,
                status="ok",
                accuracy=told.accuracy,
                costs=told.costs,
                reward=told.reward,
                feasible=told.within,
                seconds=0.0,
            )
        )


FREE_REPEATS = 100
PROTOCOL = 2  # counts up when `play` changes what runs give


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
    """Let the searcher evaluate `evaluations` networks.

    Every evaluation is one network told. A network that was evaluated before in the run, by these
    codes or by others, is told again with the same value, at no cost, at most 100 times in a row;
    from then on, until something new comes, each counts as an evaluation of its own.
    """
    known: set[str] = set()
    rows: list[Row] = []
    told: list[float] = []
    seconds: list[float] = []
    spent, repeats = 0.0, 0
    while len(rows) < evaluations:
        start = time.process_time()
        row = searcher.ask()
        spent += time.process_time() - start
        outcome = problem.evaluate(_checked(problem, row), seed)
        is_new = outcome.fingerprint not in known
        counts = is_new or repeats >= FREE_REPEATS
        known.add(outcome.fingerprint)
        repeats = 0 if is_new else repeats + 1
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
