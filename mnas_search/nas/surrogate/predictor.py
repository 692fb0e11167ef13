"""A Gaussian process as a predictor of accuracies: what readings of some networks say of all."""

from dataclasses import dataclass
from typing import Self, final

import numpy as np

from mnas_search.nas.problem import Problem
from mnas_search.nas.space.choices import Codes
from mnas_search.nas.surrogate.features import Features
from mnas_search.nas.surrogate.gaussian_process import (
    Array,
    HyperPrior,
    Mean,
    Posterior,
    isotropic,
)

_NOISE = 0.1  # of values of variance one, where the fit begins
_SPREAD = 0.5  # narrow, since a length scale a feature has to be afforded by few networks


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Predictor:
    """Predicts accuracies from codes, with the log of what is targeted as one more feature."""

    problem: Problem
    features: Features
    mean: Mean
    offset: float
    scale: float

    @classmethod
    def fit(cls, problem: Problem, codes: Codes, log_accuracies: Array) -> Self:
        """Fit log accuracies [N] of codes [N, D]."""
        features = Features(problem.decisions, shared=True)
        points = _points(problem, features, codes)
        offset, scale = float(log_accuracies.mean()), float(max(log_accuracies.std(), 1e-9))
        values = (log_accuracies - offset) / scale
        start = isotropic(points.shape[1], noise=_NOISE)
        kernel = HyperPrior(kernel=start, spread=_SPREAD).fit(points, values)
        mean = Posterior.of(kernel, points, values).mean_function()
        return cls(problem=problem, features=features, mean=mean, offset=offset, scale=scale)

    def __call__(self, codes: Codes, /) -> Array:
        """Return accuracies [N], fractions."""
        means = self.offset + self.scale * self.mean(_points(self.problem, self.features, codes))
        fractions: Array = np.exp(np.minimum(means, 0.0))
        return fractions


def _points(problem: Problem, features: Features, codes: Codes) -> Array:
    cost = problem.target_cost(codes) / problem.objective.target
    return np.concatenate([features(codes), np.log(cost)[:, None]], axis=1)
