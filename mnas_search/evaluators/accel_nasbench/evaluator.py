"""The evaluator `accel_nasbench`: predicted 16-epoch ImageNet top-1 of a network."""

import functools
import json
from collections.abc import Iterator
from importlib.resources import files
from typing import Any, Self, final

import numpy as np
from numpy.typing import NDArray

from mnas_search.architecture.traced_network import Network
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import InvalidArchitecture, UsageError
from mnas_search.evaluators.accel_nasbench.evidence import ACCURACY, SEED_NOISE, SPACE, load
from mnas_search.evaluators.accel_nasbench.models import BoostedTrees, GaussianProcess, Model
from mnas_search.nas.evaluator import Evaluator, TabularResults
from mnas_search.nas.space.choices import Codes, encode
from mnas_search.nas.space.contract import BatchAccuracy, SearchSpace
from mnas_search.nas.space.encoding import encode_architecture
from mnas_search.nas.surrogate.gaussian_process import Kernel
from mnas_search.nas.trial import Evaluation

_MODELS = {
    "all": "a Gaussian process on all recorded networks",
    "search": "a Gaussian process on one half of the recorded networks",
    "check": "boosted trees on the other half of the recorded networks",
}


@final
class AccelNasBench(Evaluator):
    """Predicts "16-epoch ImageNet top-1 (Accel-NASBench)", with its standard deviation.

    A Gaussian process fitted on the 4,626 recorded networks; the standard deviation is that of
    one more training of the network. Activations, batch norm's settings, padding and dropout do
    not matter to it; anything else outside the `efficientnet` space at 224 pixels and 1,000
    classes is refused, since nothing like it was recorded.

    Args:
        part: `all`; or one of `halves()`: `search` (a Gaussian process on the first half of the
            networks) and `check` (boosted trees on the second).
    """

    def __init__(self, *, part: str = "all") -> None:
        if part not in _MODELS:
            raise UsageError(f"part must be one of {', '.join(_MODELS)}, got {part!r}")
        self._part = part

    @property
    def noisy(self) -> bool:
        """Predictions do not depend on the seed."""
        return False

    @property
    def resources(self) -> None:
        """None: predictions are cheap enough to run in process."""

    @property
    def label(self) -> str:
        """What the figures are."""
        return f"{ACCURACY}, predicted by {_MODELS[self._part]}"

    def caveats(self, network: Network) -> tuple[str, ...]:
        """Return what the figure is, and that B0's own value is that of its simplified variant."""
        del network
        return (
            f"accuracies are {self.label}; EfficientNet-B0 reads about 0.657 there, with ReLU and "
            "hard-sigmoid gates",
        )

    def independent_pair(self) -> tuple[Self, Self]:
        """Return two models fitted on disjoint networks: one to search with, one to check with."""
        return type(self)(part="search"), type(self)(part="check")

    def predictor(self, space: SearchSpace) -> BatchAccuracy | None:
        """Return accuracies [N] of codes [N, 28]; None unless the space is `efficientnet`."""
        if space.decisions != SPACE.decisions:
            return None
        return self._predict

    def tabular_results(self, space: SearchSpace) -> TabularResults | None:
        """Return the recorded networks, averaging those recorded twice; None unless the space is
        `efficientnet`."""
        if space.decisions != SPACE.decisions:
            return None
        evidence = load()
        codes, own, count = np.unique(
            evidence.codes.astype(np.int64), axis=0, return_inverse=True, return_counts=True
        )
        total = np.bincount(own.ravel(), weights=evidence.accuracy)
        return TabularResults(
            codes=codes,
            accuracy=total / count,
            std=SEED_NOISE,
            note=f"accuracies are recorded {ACCURACY}; two recorded trainings of 117 networks "
            "agree with tau 0.92 to 0.94 (the benchmark's own repeats, cited, not measured here)",
        )

    def _predict(self, codes: Codes) -> NDArray[np.float64]:
        model = _model(self._part)
        if isinstance(model, GaussianProcess):
            return model.expect(codes)
        return model.predict(codes)[0]

    def evaluate(self, network: Network, *, seed: int) -> Iterator[Evaluation]:
        """Yield one evaluation, the same for every seed."""
        del seed
        mean, std = _model(self._part).predict(codes_of(network))
        yield Evaluation(accuracy=float(np.clip(mean[0], 0, 1)), std=float(std[0]))


def codes_of(network: Network) -> NDArray[np.int64]:
    """Return codes [1, 28] of a network of the space; raise `InvalidArchitecture` otherwise."""
    refused = f"{network.label!r} was not recorded by Accel-NASBench"
    if not isinstance(network, Architecture):
        raise InvalidArchitecture(f"{refused}: it must be a chain of stages")
    template = SPACE.template
    for name in ("resolution", "num_classes", "head_channels"):
        own, recorded = getattr(network, name), getattr(template, name)
        if own != recorded:
            raise InvalidArchitecture(f"{refused}: {name} must be {recorded}, got {own}")
    if network.stem != template.stem:
        raise InvalidArchitecture(f"{refused}: stem must be {template.stem}, got {network.stem}")
    try:
        choices = encode_architecture(SPACE, network, any_activation=True)
    except InvalidArchitecture as error:
        raise InvalidArchitecture(f"{refused}: {error}") from None
    return np.array([encode(SPACE.decisions, choices)])


@functools.cache
def _fitted() -> dict[str, Any]:
    fitted: dict[str, Any] = json.loads((files(__package__) / "kernels.json").read_text())
    return fitted


def kernel(name: str) -> Kernel:
    """Return a fitted kernel from this package's data."""
    recorded = _fitted()["kernels"][name]
    return Kernel(**{**recorded, "weights": np.array(recorded["weights"])})


@functools.cache
def _model(part: str) -> Model:
    networks = load()
    if part == "all":
        return GaussianProcess.fit(networks.codes, networks.accuracy, kernel=kernel("accuracy"))
    first, second = networks.halves()
    if part == "search":
        fitted = kernel("accuracy, first half")
        return GaussianProcess.fit(first.codes, first.accuracy, kernel=fitted)
    std = _fitted()["trees, second half, std"]
    return BoostedTrees.fit(second.codes, second.accuracy, std=std)


@functools.cache
def performance(name: str) -> GaussianProcess:
    """Return a model of the log of a recorded performance: `throughput_a100` (images/s), ..."""
    known = load().performance
    if name not in known:
        raise UsageError(f"performance must be one of {', '.join(known)}, got {name!r}")
    evidence = load().with_performance(name)
    values = np.log(evidence.performance[name])
    return GaussianProcess.fit(evidence.codes, values, kernel=kernel(name))
