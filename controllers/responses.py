"""What `bayesian` models of a trained network, and what that says of its reward.

A reward is affine in the accuracy, R = s ACC + o, with slope s > 0 and offset o known exactly, so
that a normal distribution of what is modelled gives the distribution of the reward:

    log error   Y = log(1 - ACC)   R = s (1 - e^Y) + o, a shifted negative log-normal
    accuracy    ACC                R normal
    reward      R                  R normal; the cost is not made use of
"""

from abc import ABC, abstractmethod
from typing import final

import numpy as np
from numpy.typing import NDArray

from mnas_search.nas.problem import Problem
from mnas_search.nas.space.choices import Codes
from mnas_search.nas.surrogate.expected_improvement import log_expected_improvement, log_put

Array = NDArray[np.float64]

_LEAST_ERROR = 1e-6  # of a perfect network, where the number of images is not known
_NO_ERROR = 1e-3  # the same, where all networks are perfect


class Response(ABC):
    """A variable that is modelled in the accuracy's place; what is believed of it is normal, with
    a mean [N] and a standard deviation [N] for networks of codes [N, D]."""

    def __init__(self, problem: Problem) -> None:
        self._problem = problem

    @abstractmethod
    def values(self, codes: Codes, accuracies: Array) -> Array:
        """Return the variable [N] of told networks from their accuracies [N]."""

    @abstractmethod
    def expected_accuracies(self, mean: Array, std: Array) -> Array | None:
        """Return expected accuracies [N]; None where accuracies are not modelled."""

    @abstractmethod
    def expected_rewards(self, codes: Codes, mean: Array, std: Array) -> Array:
        """Return expected rewards [N]."""

    @abstractmethod
    def log_improvement(self, codes: Codes, mean: Array, std: Array, best: float) -> Array:
        """Return the logarithms [N] of the expected improvements over the reward `best`."""

    @final
    def line(self, codes: Codes) -> tuple[Array, Array]:
        """Return slope [N] and offset [N] of the rewards in the accuracy."""
        return self._problem.objective.affine_in_accuracy(self._problem.target_cost(codes))


@final
class LogError(Response):
    """The logarithm of the error, on which decisions add up better than on the accuracy.

    n validation images tell an accuracy to half an image at best, so that it is taken to be at
    most 1 - 1 / (2n). Where n is not known, perfect networks are taken to have half the smallest
    error that any other one was told with.
    """

    def values(self, codes: Codes, accuracies: Array) -> Array:
        errors = 1 - accuracies
        return np.log(np.maximum(errors, self._least(errors)))

    def _least(self, errors: Array) -> float:
        if self._problem.validation_images is not None:
            return 0.5 / self._problem.validation_images
        positive = errors[errors > 0]
        return max(0.5 * float(positive.min()), _LEAST_ERROR) if len(positive) else _NO_ERROR

    def expected_accuracies(self, mean: Array, std: Array) -> Array:
        """Return E[max(0, 1 - e^Y)] [N], since no accuracy is below zero."""
        return np.exp(log_put(np.ones(len(mean)), mean, std))

    def expected_rewards(self, codes: Codes, mean: Array, std: Array) -> Array:
        slope, offset = self.line(codes)
        return slope * self.expected_accuracies(mean, std) + offset

    def log_improvement(self, codes: Codes, mean: Array, std: Array, best: float) -> Array:
        slope, offset = self.line(codes)
        return np.log(slope) + log_put(1 - (best - offset) / slope, mean, std)


@final
class Accuracy(Response):
    """The accuracy as it is."""

    def values(self, codes: Codes, accuracies: Array) -> Array:
        return accuracies

    def expected_accuracies(self, mean: Array, std: Array) -> Array:
        return mean

    def expected_rewards(self, codes: Codes, mean: Array, std: Array) -> Array:
        slope, offset = self.line(codes)
        return slope * mean + offset

    def log_improvement(self, codes: Codes, mean: Array, std: Array, best: float) -> Array:
        slope, offset = self.line(codes)
        return log_expected_improvement(slope * mean + offset - best, slope * std)


@final
class Reward(Response):
    """The reward, as one black box."""

    def values(self, codes: Codes, accuracies: Array) -> Array:
        slope, offset = self.line(codes)
        return slope * accuracies + offset

    def expected_accuracies(self, mean: Array, std: Array) -> None:
        return None

    def expected_rewards(self, codes: Codes, mean: Array, std: Array) -> Array:
        return mean

    def log_improvement(self, codes: Codes, mean: Array, std: Array, best: float) -> Array:
        return log_expected_improvement(mean - best, std)


RESPONSES: dict[str, type[Response]] = {
    "log error": LogError,
    "accuracy": Accuracy,
    "reward": Reward,
}
