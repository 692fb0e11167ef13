"""Uniform draws, networks over the target included."""

from typing import final

import numpy as np

from mnas_search.benchmarks.discovery.problems import Row, Told
from mnas_search.benchmarks.discovery.searchers import Searcher
from mnas_search.nas.problem import Problem
from mnas_search.nas.space.choices import sample_codes


@final
class Uniform(Searcher):
    """Random search without a look at the cost; `random_search` is the one with it."""

    def __init__(self, problem: Problem, seed: int) -> None:
        self._decisions = problem.decisions
        self._rng = np.random.default_rng(seed)

    def ask(self) -> Row:
        return tuple(sample_codes(self._decisions, 1, self._rng)[0].tolist())

    def tell(self, row: Row, told: Told) -> None:
        """Learn nothing."""
