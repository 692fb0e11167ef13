"""The Gaussian process of `bayesian`: networks as points, and the fit to told ones.

The points' features are the decisions and the logarithm of the cost that is targeted. Beside
them are trends, whose slopes are learnt: the prior of the search, if it has one, and the number
of blocks, which costs nothing and ranks networks before anything is trained. Each is scaled to
mean zero and variance one over the feasible networks. Log multiply-adds are a feature and no
trend: networks near the target do not tell a slope that holds far from it.

A dozen trainings hardly move a kernel's parameters under priors narrow enough for so few, so where
the fit begins decides how they are explained. F features that are 0 or 1, with slopes of variance
l = 2 / F each, explain

    l sum_f Var(x_f) = 2 / F * F / 4 = 1/2

of the values' variance of one by themselves, more than the number of blocks, whose slope begins at
a variance of 0.3: what a trend would tell of all networks is then taken for the merit of the few
decisions that were tried. So l begins at a tenth of that, and grows where many trainings ask for
it. The constant is nearly free: the networks of a search are no random ones, so that the trends'
mean over them is not zero.
"""

from collections.abc import Callable
from functools import cached_property
from typing import final

import numpy as np
from numpy.typing import NDArray

from mnas_search.nas.problem import Problem
from mnas_search.nas.space.choices import Codes, sample_codes
from mnas_search.nas.space.contract import BatchAccuracy, BatchBlocks
from mnas_search.nas.surrogate.features import Features
from mnas_search.nas.surrogate.gaussian_process import HyperPrior, Kernel, Posterior

Array = NDArray[np.float64]

_DRAWS = 1_024  # feasible networks that trends are scaled over
_BATCHES = 16  # of as many uniform draws each, at most
# Variances of slopes where the fit begins, of values and trends of variance one.
_PRIOR, _BLOCKS = 1.0, 0.3


@final
class Points:
    """Maps codes [N, D] to points [N, F + P].

    Args:
        problem: the search.
        log_macs: whether the log of what is targeted is a feature beside the decisions.
        blocks: whether the number of blocks is a trend, where it is known.
    """

    def __init__(self, problem: Problem, *, log_macs: bool, blocks: bool) -> None:
        self._problem, self._log_macs = problem, log_macs
        # What trends are made of, with the variances that their slopes start from.
        self._sources: list[tuple[BatchAccuracy | BatchBlocks, float]] = []
        if problem.prior is not None:
            self._sources.append((problem.prior, _PRIOR))
        if blocks and problem.blocks is not None:
            self._sources.append((problem.blocks, _BLOCKS))
        self._features = Features(problem.decisions, shared=True)

    def __call__(self, codes: Codes) -> Array:
        mean, scale = self._scale
        trends = (self._trends(codes) - mean) / scale
        return np.concatenate([self._features(codes), self._log_ratio(codes), trends], axis=1)

    @property
    def start(self) -> Kernel:
        """Where the fit of the kernel begins, for values of variance one."""
        count = self._features.count + self._log_macs
        return Kernel(
            weights=np.full(count, 1 / np.sqrt(count)),
            rbf=0.5,
            linear=0.2 / count,
            constant=3.0,
            noise=0.05,
            trends=np.array([variance for _, variance in self._sources]),
        )

    def _log_ratio(self, codes: Codes) -> Array:
        if not self._log_macs:
            return np.zeros((len(codes), 0))
        ratio = self._problem.target_cost(codes) / self._problem.objective.target
        logs: Array = np.log(ratio)[:, None]
        return logs

    def _trends(self, codes: Codes) -> Array:
        """Trends [N, P] as they are."""
        columns = [source(codes) for source, _ in self._sources]
        return np.array(columns, dtype=float).reshape(len(columns), len(codes)).T

    @cached_property
    def _scale(self) -> tuple[Array, Array]:
        """Mean [P] and standard deviation [P] over the feasible networks; of a trend that is the
        same for all of them, infinity."""
        trends = self._trends(feasible_codes(self._problem))
        std = trends.std(axis=0)
        return trends.mean(axis=0), np.where(std > 0, std, np.inf)


def feasible_codes(problem: Problem) -> Codes:
    """Return uniform draws from the feasible networks, always the same; where uniform draws
    meet none, from the whole space."""
    rng = np.random.default_rng(0)
    found: list[Codes] = []
    for _ in range(_BATCHES):
        codes = sample_codes(problem.decisions, _DRAWS, rng)
        found.append(codes[problem.is_feasible(codes)])
        if sum(map(len, found)) >= _DRAWS:
            break
    feasible = np.concatenate(found)[:_DRAWS]
    return feasible if len(feasible) else codes


@final
class Model:
    """What is modelled of networks, as a Gaussian process over points.

    Args:
        points: maps codes to points.
        start: where the fit of the kernel begins, for values of variance one.
        codes: of the told networks [N, D].
        values: what is modelled of them [N].
    """

    def __init__(
        self, points: Callable[[Codes], Array], start: Kernel, codes: Codes, values: Array
    ) -> None:
        self._points_of = points
        self._points = points(codes)
        self._mean, self._scale = values.mean(), max(values.std(), 1e-6)
        self._values = (values - self._mean) / self._scale
        # Priors so narrow that a few dozen trials can afford a length scale a feature.
        prior = HyperPrior(kernel=start, spread=0.5)
        kernel = prior.fit(self._points, self._values, iterations=30)
        self._posterior = Posterior.of(kernel, self._points, self._values)

    def believe(self, codes: Codes) -> None:
        """Continue as if the networks `codes` [N, D] had come out at their means."""
        points = self._points_of(codes)
        values = np.concatenate([self._values, self._posterior(points)[0]])
        points = np.concatenate([self._points, points])
        self._posterior = Posterior.of(self._posterior.kernel, points, values)

    def __call__(self, codes: Codes) -> tuple[Array, Array]:
        """Return mean [N] and standard deviation [N] without noise."""
        mean, std = self._posterior(self._points_of(codes))
        return self._mean + self._scale * mean, self._scale * std
