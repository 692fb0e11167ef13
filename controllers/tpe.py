"""Tree-structured Parzen estimator (Bergstra et al. 2011), Optuna's.

TPE splits the finished trials into good and bad ones, fits a density to each, and proposes what is
likely under the good and unlikely under the bad. The constraint FLOPs <= target is told to Optuna
as one (violated by log(FLOPs / target)), so that a tight target is found although the soft reward
alone ranks networks the same for every target. Trials in flight count as bad ones ("constant
liar"), so that parallel asks differ.
"""

import math
from collections import defaultdict, deque

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import TrialState

from mnas_search.choices import Choices, encode
from mnas_search.interfaces import Controller, Problem
from mnas_search.trials import Asked, Trial


class TPE(Controller):
    """Optuna's TPE sampler.

    Args:
        problem: the search.
        startup: trials drawn at random before the first fit.
    """

    def __init__(self, problem: Problem, *, startup: int = 10) -> None:
        self._problem = problem
        self._startup = startup
        self._distributions: dict[str, BaseDistribution] = {
            d.name: CategoricalDistribution(range(len(d.options))) for d in problem.decisions
        }
        # Told trials are matched to Optuna's by what was asked, first come first served.
        self._open: defaultdict[tuple[int, ...], deque[optuna.Trial]] = defaultdict(deque)
        verbosity = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(direction="maximize")
        optuna.logging.set_verbosity(verbosity)

    def ask(self, rng: np.random.Generator) -> Choices:
        """What Optuna suggests, with `rng` as its only randomness."""
        self._study.sampler = optuna.samplers.TPESampler(
            n_startup_trials=self._startup, seed=int(rng.integers(2**32))
        )
        trial = self._study.ask(self._distributions)
        codes = tuple(trial.params[d.name] for d in self._problem.decisions)
        self._opened(codes, trial)
        return {
            d.name: d.options[c] for d, c in zip(self._problem.decisions, codes, strict=True)
        }

    def tell(self, trial: Trial) -> None:
        """Give Optuna the reward; a trial without one is told as failed."""
        codes = encode(self._problem.decisions, trial.choices)
        if not self._open[codes]:
            self._enqueue(codes)
        asked = self._open[codes].popleft()
        if trial.reward is None:
            self._study.tell(asked, state=TrialState.FAIL)
        else:
            self._study.tell(asked, trial.reward)

    def replay(self, event: Asked | Trial) -> None:
        """Rebuild the study event by event."""
        if isinstance(event, Trial):
            self.tell(event)
        else:
            self._enqueue(encode(self._problem.decisions, event.choices))

    def _enqueue(self, codes: tuple[int, ...]) -> None:
        names = (d.name for d in self._problem.decisions)
        self._study.enqueue_trial(dict(zip(names, codes, strict=True)))
        self._opened(codes, self._study.ask(self._distributions))

    def _opened(self, codes: tuple[int, ...], trial: optuna.Trial) -> None:
        macs, _params = self._problem.cost(np.array([codes]))
        excess = math.log(int(macs[0]) / self._problem.objective.target)
        trial.set_constraint("flops", excess)
        self._open[codes].append(trial)
