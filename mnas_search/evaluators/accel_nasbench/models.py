"""Two model classes that predict a recorded value from codes.

`GaussianProcess` is the one to quote. `BoostedTrees` errs otherwise: a search exploits the errors
of what it is told by, so that its finds are scored by another model of other networks.
"""

from dataclasses import dataclass
from typing import Any, Protocol, Self, final

import numpy as np
from numpy.typing import NDArray
from sklearn.ensemble import HistGradientBoostingRegressor
from sklearn.linear_model import Ridge

from mnas_search.evaluators.accel_nasbench.evidence import SEED_NOISE, SPACE
from mnas_search.nas.space.choices import Codes
from mnas_search.nas.surrogate.features import Features
from mnas_search.nas.surrogate.gaussian_process import (
    HyperPrior,
    Kernel,
    Mean,
    Posterior,
    isotropic,
)

FEATURES = Features(SPACE.decisions)
_FITTED_ON = 1_200  # networks that a kernel is fitted on; 800 predict as well to three digits


class Model(Protocol):
    """Predicts a value."""

    def predict(self, codes: Codes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean [N] and standard deviation [N] of what one more measurement would read."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class GaussianProcess:
    """A Gaussian process on the decisions, with a length scale a feature."""

    kernel: Kernel  # as fitted, or as read from this package's data
    _posterior: Posterior
    _mean: Mean

    @classmethod
    def fit(
        cls,
        codes: Codes,
        values: NDArray[np.float64],
        *,
        kernel: Kernel | None = None,
        noise: float | None = SEED_NOISE,
    ) -> Self:
        """Fit to values [N] of codes [N, 28]; `kernel` spares the fit of the kernel itself.

        `noise` is the standard deviation between two measurements of one network, None where it
        is to be learnt.
        """
        points = FEATURES(codes)
        if kernel is None:
            kernel = fit_kernel(codes, values, noise=noise)
        posterior = Posterior.of(kernel, points, values)
        return cls(kernel=kernel, _posterior=posterior, _mean=posterior.mean_function())

    def predict(self, codes: Codes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean [N] and standard deviation [N] of one more measurement: the network's own
        uncertainty and the noise."""
        mean, std = self._posterior(FEATURES(codes))
        return mean, np.sqrt(std**2 + self.kernel.noise)

    def expect(self, codes: Codes) -> NDArray[np.float64]:
        """Return the mean alone, which is cheaper."""
        return self._mean(FEATURES(codes))


def fit_kernel(
    codes: Codes,
    values: NDArray[np.float64],
    *,
    noise: float | None,
    features: Features = FEATURES,
) -> Kernel:
    """Return the most probable kernel for these values, from a fixed random part of them."""
    rows = np.random.default_rng(0).permutation(len(codes))[:_FITTED_ON]
    part = values[rows] - values.mean()
    spread = float(part.std())
    start = isotropic(features.count, noise=(noise or 0.1 * spread) ** 2 / spread**2)
    prior = HyperPrior(kernel=start, learn_noise=noise is None)
    kernel = prior.fit(features(codes[rows]), part / spread)
    return kernel.scaled(spread)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class BoostedTrees:
    """A linear model, and gradient-boosted trees on what it leaves."""

    std: float  # standard deviation of out-of-fold errors, one for all networks
    features: Features  # of the decisions
    _linear: Any
    _trees: Any

    @classmethod
    def fit(
        cls,
        codes: Codes,
        values: NDArray[np.float64],
        *,
        std: float | None = None,
        features: Features = FEATURES,
    ) -> Self:
        """Fit to values [N] of codes [N, D]; `std` spares the three further fits for it."""
        if std is None:
            fold = np.random.default_rng(0).permutation(len(codes)) % 3
            errors = np.empty(len(codes))
            for k in range(3):
                model = cls.fit(codes[fold != k], values[fold != k], std=0.0, features=features)
                errors[fold == k] = values[fold == k] - model.predict(codes[fold == k])[0]
            std = float(np.sqrt((errors**2).mean()))
        points = features(codes)
        linear = Ridge(alpha=1.0).fit(points, values)
        trees = HistGradientBoostingRegressor(
            max_iter=1_500,
            learning_rate=0.05,
            max_depth=3,
            l2_regularization=5.0,
            early_stopping=False,
            random_state=0,
        ).fit(points, values - linear.predict(points))
        return cls(std=std, features=features, _linear=linear, _trees=trees)

    def predict(self, codes: Codes) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return mean [N] and standard deviation [N] of one more measurement."""
        points = self.features(codes)
        mean = self._linear.predict(points) + self._trees.predict(points)
        return mean, np.full(len(mean), self.std)
