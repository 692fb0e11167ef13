"""Tree-structured Parzen estimator (Bergstra et al. 2011), Optuna's.

TPE splits the finished trials into good and bad ones, fits a density to each, and proposes what is
likely under the good and unlikely under the bad; trials in flight count as bad ones ("constant
liar"), so that parallel asks differ. It starts from random networks within the target.

FLOPs are known exactly before any training. So the constraint is told to Optuna as one, violated
by log(FLOPs / target), and a proposal over the target is drawn again; where ten draws in a row are
over it, a random network within the target is taken. (The soft reward alone ranks networks the
same for every target and would never lead a search to a tight one.)
"""

import math
from collections import defaultdict, deque
from collections.abc import Sequence

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.trial import TrialState

from mnas_search.choices import Choices, decode, encode
from mnas_search.controllers.random_search import RandomSearch
from mnas_search.interfaces import Controller, Problem
from mnas_search.trials import Asked, Trial

_DRAWS = 10


class TPE(Controller):
    """Optuna's TPE sampler under the constraint.

    Args:
        problem: the search.
        startup: trials drawn at random before the first fit.
    """

    def __init__(self, problem: Problem, *, startup: int = 10) -> None:
        self._problem = problem
        self._startup, self._known = startup, 0
        self._random = RandomSearch(problem)
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
        if self._known >= self._startup:
            for _ in range(_DRAWS):
                self._study.sampler = optuna.samplers.TPESampler(
                    n_startup_trials=1, seed=int(rng.integers(2**32))
                )
                trial = self._study.ask(self._distributions)
                codes = [int(trial.params[d.name]) for d in self._problem.decisions]
                if self._excess(codes) <= 0:
                    self._opened(codes, trial)
                    return decode(self._problem.decisions, codes)
                self._study.tell(trial, state=TrialState.FAIL)  # TPE leaves failed trials out
        choices = self._random.ask(rng)
        self._take(encode(self._problem.decisions, choices))
        return choices

    def tell(self, trial: Trial) -> None:
        """Give Optuna the reward; a trial without one is told as failed."""
        codes = encode(self._problem.decisions, trial.choices)
        if not self._open[codes]:
            self._take(codes)
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
            self._take(encode(self._problem.decisions, event.choices))

    def _take(self, codes: Sequence[int]) -> None:
        """Open a trial whose choices were not Optuna's own."""
        names = (d.name for d in self._problem.decisions)
        self._study.enqueue_trial(dict(zip(names, codes, strict=True)))
        self._opened(codes, self._study.ask(self._distributions))

    def _opened(self, codes: Sequence[int], trial: optuna.Trial) -> None:
        trial.set_constraint("flops", self._excess(codes))
        self._open[tuple(codes)].append(trial)
        self._known += 1

    def _excess(self, codes: Sequence[int]) -> float:
        macs, _params = self._problem.cost(np.array([codes]))
        return math.log(int(macs[0]) / self._problem.objective.target)
