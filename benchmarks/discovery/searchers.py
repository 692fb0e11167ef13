"""Whoever takes part: ask for one network, tell what came out, one at a time.

Peers implement this directly, so that nothing of ours stands between them and the problem; our
controllers, and any `file.py:Name`, come in through `Ours`.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable
from typing import final

import numpy as np

from mnas_search.benchmarks.discovery.problems import Row, Told
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
        self._first: dict[Row, int] = {}

    def ask(self) -> Row:
        """Ask k draws from a generator seeded with (seed, k)."""
        rng = np.random.default_rng((self._seed, self._asked))
        self._asked += 1
        return encode(self._decisions, self._controller.ask(rng))

    def tell(self, row: Row, told: Told) -> None:
        number = self._told
        self._told += 1
        first = self._first.setdefault(row, number)
        self._controller.tell(
            Trial(
                number=number,
                choices=decode(self._decisions, row),
                fingerprint=",".join(map(str, row)),  # different codes are different networks
                duplicate_of=None if first == number else first,
                status="ok",
                accuracy=told.accuracy,
                costs=told.costs,
                reward=told.reward,
                feasible=told.within,
                seconds=0.0,
            )
        )
