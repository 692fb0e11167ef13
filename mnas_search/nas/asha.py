"""Early stopping: trainings that do not look promising are given up on their way.

ASHA (Li et al. 2020, "A System for Massively Parallel Hyperparameter Tuning", algorithm 2), in the
form of Ray Tune's `ASHAScheduler`: one that has come to a rung goes on where its value is among
the best 1/eta of all that came there before it, and is stopped for good where it is not; nothing
waits for the others. The first to come to a rung goes on.

Values are rewards, not accuracies: what a network costs is known exactly at every rung, and a
bare accuracy would stop small networks for being small.

Rungs lie a factor of eta apart. Ray Tune keeps a bar for each of [1, eta), [eta, eta^2), ... and
holds a trial against each once: rungs that lie closer together decide nothing of their own.
"""

from dataclasses import dataclass
from typing import Any, final

REDUCTION = 3  # eta; a short training leaves room for more rungs than with the usual 4
RULES = ("asha",)
_NO_END = 10**9  # rung beyond all that an evaluator may have


@dataclass(frozen=True, slots=True, kw_only=True)
class _Known:
    """All that the scheduler reads of a trial."""

    trial_id: int


@final
class Asha:
    """Ray Tune's ASHA, by the numbers of our trials.

    What it decides follows from the order in which trials came to their rungs, and from nothing
    else: taking the recorded rungs back rebuilds every bar. Imports Ray when it is first asked.
    """

    def __init__(self) -> None:
        self._past: list[tuple[int, int, float]] = []
        self._decided: dict[tuple[int, int], bool] = {}
        self._scheduler: Any = None

    def replay(self, trial: int, rung: int, reward: float) -> None:
        """Take back one rung of an interrupted run, in its order."""
        self._past.append((trial, rung, reward))

    def knows(self, trial: int, rung: int) -> bool:
        """Whether the trial has come to the rung before: one that a crash interrupted, and that
        begins anew, comes by a second time."""
        self._take_back()
        return (trial, rung) in self._decided

    def should_continue(self, trial: int, rung: int, reward: float) -> bool:
        """Whether a trial that has come to a rung is gone on with; the second time, as before."""
        self._take_back()
        if (trial, rung) not in self._decided:
            self._decided[trial, rung] = self._decide(trial, rung, reward)
        return self._decided[trial, rung]

    def _take_back(self) -> None:
        past, self._past = self._past, []
        for event in past:
            self.should_continue(*event)

    def _decide(self, trial: int, rung: int, reward: float) -> bool:
        from mnas_search.experiments.runners.ray_tune import asha_scheduler

        if self._scheduler is None:
            self._scheduler = asha_scheduler(reduction=REDUCTION, longest=_NO_END)
        known = _Known(trial_id=trial)
        self._scheduler.on_trial_add(None, known)
        result = {"rung": rung, "reward": reward}
        return bool(self._scheduler.on_trial_result(None, known, result) == "CONTINUE")
