"""Hill climbing with restarts (White et al. 2021, "Local search is state of the art for NAS
benchmarks", arXiv 2005.02960).

From a random network to the first of its neighbours, in random order, that was told a larger
reward, and on from there; where no neighbour is left, from another random network. Neighbours
differ in one decision. With `within`, networks over the target are neither drawn nor visited.
"""

from typing import final

import numpy as np

from mnas_search.benchmarks.discovery.problems import Row, Told
from mnas_search.benchmarks.discovery.searchers import Searcher
from mnas_search.controllers.random_search import RandomSearch
from mnas_search.nas.problem import Problem
from mnas_search.nas.space.choices import encode, sample_codes, sizes


def neighbours(options: tuple[int, ...], row: Row) -> list[Row]:
    """Return all networks that differ from `row` in one decision."""
    return [
        (*row[:place], other, *row[place + 1 :])
        for place, count in enumerate(options)
        for other in range(count)
        if other != row[place]
    ]


@final
class LocalSearch(Searcher):
    """First improvement over one-decision neighbours."""

    def __init__(self, problem: Problem, seed: int, *, within: bool = False) -> None:
        self._problem, self._within = problem, within
        self._options = sizes(problem.decisions)
        self._rng = np.random.default_rng(seed)
        self._seen: set[Row] = set()
        self._here: float | None = None  # reward of the climb's highest point
        self._open: list[Row] = []

    def ask(self) -> Row:
        """Return an unknown neighbour, or a fresh start."""
        while self._open:
            row = self._open.pop()
            if row not in self._seen:
                return row
        self._here = None
        if self._within:
            choices = RandomSearch(self._problem).ask(self._rng)
            return encode(self._problem.decisions, choices)
        return tuple(sample_codes(self._problem.decisions, 1, self._rng)[0].tolist())

    def tell(self, row: Row, told: Told) -> None:
        self._seen.add(row)
        if self._here is None or told.penalised > self._here:
            self._here = told.penalised
            self._open = neighbours(self._options, row)
            if self._within:
                kept = self._problem.is_feasible(np.array(self._open))
                self._open = [r for r, keep in zip(self._open, kept, strict=True) if keep]
            self._rng.shuffle(self._open)


def local_search_within(problem: Problem, seed: int) -> Searcher:
    """Search with the exact cost, which is known before any training."""
    return LocalSearch(problem, seed, within=True)
