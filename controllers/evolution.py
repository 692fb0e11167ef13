"""Regularized evolution (Real et al. 2019, algorithm 1), asynchronous.

The population is a queue of the last P finished networks, in the order they were told: the oldest
dies, not the worst, so that a network which was lucky in one noisy training must prove itself in
its descendants. A proposal is three small steps:

    sample    S members at random            (with replacement, as in the paper)
    parent    the best of them               (`select`)
    child     one decision set anew          (`mnas_search.nas.space.choices.mutate`)

The paper waits for a child before it draws the next; here any number are in flight, and a child
joins when it is told. Until P networks are told or on their way, proposals are random.

Costs are known exactly before any training, and a network asked before can teach nothing. So
children are bred until one is new and within the constraints: one that is within but known breeds
in its turn, one beyond is replaced by a new child of the same parent. After 64 children a random
network within the constraints is taken.
"""

from collections import deque
from collections.abc import Callable, Sequence

import numpy as np

from mnas_search.controllers.random_search import RandomSearch
from mnas_search.nas.controller import Controller
from mnas_search.nas.problem import Problem
from mnas_search.nas.space.choices import Choices, Decision, encode, mutate
from mnas_search.nas.trial import Trial, rank

_CHILDREN = 64


class Evolution(Controller):
    """Aging evolution within the constraints.

    Args:
        problem: the search.
        population: P, networks alive; the paper's 100 suit its 20,000 evaluations, these 50 a
            thousand.
        sample: S, candidates for a parent; in the paper a quarter of P.
    """

    def __init__(self, problem: Problem, *, population: int = 50, sample: int = 12) -> None:
        self._problem, self._sample = problem, sample
        self._random = RandomSearch(problem)
        self._population: deque[Trial] = deque(maxlen=population)
        self._first = population
        self._seen: set[tuple[int, ...]] = set()

    def ask(self, rng: np.random.Generator) -> Choices:
        """Return a child of the best of a sample, or at the start a random network."""
        choices = None
        if self._population and len(self._seen) >= self._first:
            parent = select(self._population, self._sample, rng)
            choices = breed(self._problem.decisions, parent.choices, rng, self._within, self._new)
        if choices is None:
            choices = self._random.ask(rng)
        self.resume_ask(choices)
        return choices

    def tell(self, trial: Trial) -> None:
        """Add the trial, unless it has no reward, to the population and remove the oldest."""
        codes = encode(self._problem.decisions, trial.choices)
        # One network told again is still one network; it would crowd out the others.
        again = trial.duplicate_of is not None
        self._seen.add(codes)
        if trial.reward is not None and trial.feasible and not again:
            self._population.append(trial)

    def resume_ask(self, choices: Choices) -> None:
        """Remember the network."""
        self._seen.add(encode(self._problem.decisions, choices))

    def _within(self, codes: tuple[int, ...]) -> bool:
        return bool(self._problem.is_feasible(np.array([codes]))[0])

    def _new(self, codes: tuple[int, ...]) -> bool:
        return codes not in self._seen


def select(population: Sequence[Trial], count: int, rng: np.random.Generator) -> Trial:
    """Return the best of `count` members drawn with replacement; ties are resolved by `rank`."""
    drawn = rng.integers(len(population), size=count).tolist()
    best: Trial = min((population[i] for i in drawn), key=rank)
    return best


def breed(
    decisions: Sequence[Decision],
    parent: Choices,
    rng: np.random.Generator,
    within: Callable[[tuple[int, ...]], bool],
    new: Callable[[tuple[int, ...]], bool],
) -> Choices | None:
    """Return the first feasible, new descendant; None after 64 children."""
    for _ in range(_CHILDREN):
        child = mutate(decisions, parent, rng)
        codes = encode(decisions, child)
        if within(codes):
            if new(codes):
                return child
            parent = child
    return None
