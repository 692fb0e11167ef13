"""Early stopping by ASHA.

(Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning", algorithm 2 in the form
that stops.) A trial that reaches a rung continues if its reward is among the best 1/eta of all
that were recorded there before it, and is stopped otherwise. No trial waits for another, and the
first one at a rung continues.

Values are rewards, not accuracies: the cost of a network is known exactly at every rung, and a
bare accuracy would stop small networks for being small.

The decisions are those of Ray Tune's `ASHAScheduler` with one bracket and a grace period of 1.
"""

from collections import defaultdict
from typing import final

import numpy as np

REDUCTION = 3  # eta; a short training leaves room for more rungs than with the usual 4
RULES = ("asha",)


@final
class Asha:
    """Decide at each rung whether a trial continues.

    Decisions depend on the order in which trials reach their rungs and on nothing else, so that
    the recorded rungs of an interrupted run, given again in their order, restore the state.

    >>> asha = Asha()
    >>> [asha.should_continue(trial, 1, reward) for trial, reward in enumerate([0.5, 0.4, 0.6])]
    [True, False, True]
    """

    def __init__(self) -> None:
        self._recorded: defaultdict[int, dict[int, float]] = defaultdict(dict)
        self._decisions: dict[tuple[int, int], bool] = {}

    def has_decided(self, trial: int, rung: int) -> bool:
        """Return whether the trial has reported at this rung before. A trial that a crash
        interrupted starts again and reports a second time."""
        return (trial, rung) in self._decisions

    def should_continue(self, trial: int, rung: int, reward: float) -> bool:
        """Record a reward at a rung (an epoch, from 1) and return whether the trial continues. A
        second report of the same trial at the same rung gets the first one's answer."""
        if (trial, rung) not in self._decisions:
            self._decisions[trial, rung] = self._decide(trial, rung, reward)
        return self._decisions[trial, rung]

    def _decide(self, trial: int, rung: int, reward: float) -> bool:
        """Compare with one threshold: the highest of 1, eta, eta^2, ... that the trial has reached
        and has not been compared at."""
        level = 1
        while level * REDUCTION <= rung:
            level *= REDUCTION
        while level and trial in self._recorded[level]:
            level //= REDUCTION
        if not level:
            return True
        earlier = list(self._recorded[level].values())
        self._recorded[level][trial] = reward
        return not earlier or not reward < np.nanpercentile(earlier, (1 - 1 / REDUCTION) * 100)
