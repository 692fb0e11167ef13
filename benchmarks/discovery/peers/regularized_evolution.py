"""Regularized evolution (Real et al. 2019, arXiv 1802.01548, algorithm 1).

Accel-NASBench's settings: a population of 20, tournaments of 10, one decision mutated, the oldest
dies.
"""

from collections import deque
from typing import final

import numpy as np

from mnas_search.benchmarks.discovery.problems import Row, Told
from mnas_search.benchmarks.discovery.searchers import Searcher
from mnas_search.nas.problem import Problem
from mnas_search.nas.space.choices import decode, encode, mutate, sample_codes

POPULATION, TOURNAMENT = 20, 10


@final
class RegularizedEvolution(Searcher):
    """Tournaments in a population that ages."""

    def __init__(self, problem: Problem, seed: int) -> None:
        self._decisions = problem.decisions
        self._rng = np.random.default_rng(seed)
        self._population: deque[tuple[float, Row]] = deque(maxlen=POPULATION)

    def ask(self) -> Row:
        """Draw uniformly until the population is full, then mutate a tournament winner."""
        if len(self._population) < POPULATION:
            return tuple(sample_codes(self._decisions, 1, self._rng)[0].tolist())
        drawn = self._rng.integers(POPULATION, size=TOURNAMENT)
        _fitness, parent = max(self._population[i] for i in drawn)
        child = mutate(self._decisions, decode(self._decisions, parent), self._rng)
        return encode(self._decisions, child)

    def tell(self, row: Row, told: Told) -> None:
        """Add the network to the population, whose oldest member is dropped."""
        self._population.append((told.penalised, row))
