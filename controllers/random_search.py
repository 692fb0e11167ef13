"""Random search: uniform over the networks within the constraints. The smallest controller.

A controller answers `ask` with choices and hears of finished trials in `tell`; this one does not
listen. FLOPs, params and memory are known exactly before any training, so nothing is spent on
networks that could not win: batches are drawn and counted, each twice as large as the one before,
and the first network within the target and all limits is taken.
"""

import numpy as np

from mnas_search.nas.controller import Controller
from mnas_search.nas.problem import Problem
from mnas_search.nas.space.choices import Choices, decode, sample_codes
from mnas_search.nas.trial import Trial

_BATCHES = 12  # 1 + 2 + ... + 2,048 = 4,095 draws


class RandomSearch(Controller):
    """Uniform draws from the networks within the constraints.

    Where none of 4,095 draws is feasible, it takes the one of the smallest constraint violation:
    under a target alone, the cheapest.
    """

    def __init__(self, problem: Problem) -> None:
        self._problem = problem

    def ask(self, rng: np.random.Generator) -> Choices:
        """Return the first feasible uniform draw."""
        decisions = self._problem.decisions
        nearest, min_violation = None, np.inf
        for batch in range(_BATCHES):
            codes = sample_codes(decisions, 2**batch, rng)
            within = np.flatnonzero(self._problem.is_feasible(codes))
            if within.size:
                return decode(decisions, codes[within[0]])
            violation = self._problem.constraint_violation(codes)
            if violation.min() < min_violation:
                nearest, min_violation = codes[violation.argmin()], violation.min()
        assert nearest is not None
        return decode(decisions, nearest)

    def tell(self, trial: Trial) -> None:
        """Learn nothing."""
