"""Tree-structured Parzen estimator (Bergstra et al. 2011), Optuna's.

TPE splits the finished trials into good and bad ones, fits a density to each, and proposes what is
likely under the good and unlikely under the bad; trials in flight count as bad ones ("constant
liar"), so that parallel asks differ. It starts from random networks within the constraints, and
keeps to them as `optuna_study` says. (The soft reward alone ranks networks the same for every
target and would never lead a search to a tight one.)

Beyond 500 finished trials, densities are fitted to the best 100 of them and the latest 400, so
that a decision takes no longer however many there are. Optuna itself gives older ones less weight.
"""

import numpy as np
from optuna.samplers import TPESampler

from mnas_search.controllers.optuna_study import OptunaStudy
from mnas_search.nas.controller import Controller
from mnas_search.nas.problem import Problem
from mnas_search.nas.space.choices import Choices
from mnas_search.nas.trial import Trial


class TPE(Controller):
    """Optuna's TPE sampler under constraints.

    Args:
        problem: the search.
        startup: trials drawn at random before the first fit.
        window: finished trials that a fit is made to, at most: a fifth of them the best ones, the
            others the latest.
    """

    def __init__(self, problem: Problem, *, startup: int = 10, window: int = 500) -> None:
        self._objective = problem.objective
        self._study = OptunaStudy(
            problem,
            directions=["maximize"],
            sampler=lambda seed: TPESampler(n_startup_trials=1, seed=seed),
            startup=startup,
            window=window,
        )

    def ask(self, rng: np.random.Generator) -> Choices:
        """Return what Optuna suggests."""
        return self._study.ask(rng)

    def tell(self, trial: Trial) -> None:
        """Give Optuna the reward. A trial that was stopped early is told as pruned and ranks below
        all that were not; one that failed is told as failed and ranks nowhere."""
        if trial.status == "stopped" and trial.accuracy is not None and trial.rung is not None:
            value = self._objective.reward_of(trial.accuracy, trial.costs)
            self._study.prune(trial.choices, value, trial.rung)
        else:
            self._study.tell(trial.choices, None if trial.reward is None else [trial.reward])

    def resume_ask(self, choices: Choices) -> None:
        """Open the trial in the study."""
        self._study.take(choices)
