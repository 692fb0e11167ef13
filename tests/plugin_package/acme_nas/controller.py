"""A controller that changes one decision of the best trial so far."""

import numpy as np

from mnas_search import (
    Choices,
    Controller,
    Problem,
    Trial,
    decode_codes,
    encode_choices,
    sample_choices,
)


class HillClimbing(Controller):
    """Random networks first, then neighbours of the best one; feasible ones where there are."""

    def __init__(self, problem: Problem, *, start: int = 8, draws: int = 64) -> None:
        self._problem, self._start, self._draws = problem, start, draws
        self._best: Trial | None = None
        self._told = 0

    def ask(self, rng: np.random.Generator) -> Choices:
        """Return the first feasible draw, or the one that violates the constraints least."""
        decisions = self._problem.decisions
        drawn = [encode_choices(decisions, self._draw(rng)) for _ in range(self._draws)]
        codes = np.array(drawn)
        violation = np.maximum(self._problem.constraint_violation(codes), 0)
        return decode_codes(decisions, codes[violation.argmin()])

    def tell(self, trial: Trial) -> None:
        """Remember the best trial that keeps the constraints."""
        self._told += 1
        if trial.reward is None or not trial.feasible:
            return
        if self._best is None or self._best.reward is None or trial.reward > self._best.reward:
            self._best = trial

    def _draw(self, rng: np.random.Generator) -> Choices:
        decisions = self._problem.decisions
        if self._best is None or self._told < self._start:
            return sample_choices(decisions, rng)
        changed = decisions[rng.integers(len(decisions))]
        option = changed.options[rng.integers(len(changed.options))]
        return {**self._best.choices, changed.name: option}
