"""The check of every export: the written artefact computes the same outputs as the network.

A freshly initialised network would hide errors: its outputs are near 1e-5 and its batch norms all
equal. Without trained weights, the artefact is therefore also run with random scales and shifts
and with the batch-norm statistics of the images, so that channels differ and outputs neither
vanish nor overflow at any depth.
"""

import copy
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Protocol

import torch
from torch import Tensor, nn

from mnas_search.architecture.cost.memory import check_room
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import UsageError, WorkFailed
from mnas_search.networks import StagewiseNetwork

TOLERANCE = 1e-5  # of the largest output, in single precision
_SMALL = 64  # pixels
_SPREAD = 0.1  # standard deviation of random scales, shifts and biases


class Artefact(Protocol):
    """A written artefact, loaded to run."""

    def __call__(self, images: Tensor, weights: dict[str, Tensor] | None, /) -> Tensor:
        """Compute logits [N, classes] of images [N, 3, R, R] with the artefact's weights (None) or
        with these, under the names of `StagewiseNetwork`."""


def images_for(architecture: Architecture, *, any_size: bool) -> Tensor:
    """Make random images [N, 3, R, R] for the comparison.

    Args:
        any_size: whether the artefact takes images of any size. Small ones suffice for symmetric
            padding; `same` padding is resolved at the architecture's resolution.

    Raises:
        UsageError: the machine does not have the memory to run them.
    """
    small = any_size and architecture.padding == "symmetric"
    resolution = min(architecture.resolution, _SMALL) if small else architecture.resolution
    count = 4 if small else 2
    check_room(replace(architecture, resolution=resolution), copies=1, batch_size=count)
    generator = torch.Generator().manual_seed(0)
    return torch.randn(count, 3, resolution, resolution, generator=generator)


def compare(
    network: StagewiseNetwork,
    artefact: Artefact,
    images: Tensor,
    *,
    trained: bool,
    tolerance: float = TOLERANCE,
) -> float:
    """Compute the largest difference between outputs over the largest output.

    Raises:
        WorkFailed: it is above `tolerance`.
        UsageError: outputs with trained weights are not finite.
    """
    own = copy.deepcopy(network).eval()
    with torch.no_grad():
        expected = own(images)
        found = 0.0
        # An untrained, very deep network may overflow.
        if trained or bool(expected.isfinite().all()):
            found = _difference(expected, artefact(images, None), tolerance)
        if not trained:
            randomise(own, images)
            got = artefact(images, own.state_dict())
            found = max(found, _difference(own(images), got, tolerance))
    return found


def compare_module(
    network: StagewiseNetwork,
    written: nn.Module,
    images: Tensor,
    *,
    trained: bool,
    own: Mapping[str, Tensor] | None = None,
    rename: Callable[[dict[str, Tensor]], dict[str, Tensor]] = lambda weights: weights,
) -> float:
    """Compare a written module, as `compare` does.

    Args:
        own: the written weights, if they are not in the module yet.
        rename: from the names of `StagewiseNetwork` to those of the module.
    """

    def run(images: Tensor, other: dict[str, Tensor] | None) -> Tensor:
        weights = own if other is None else rename(other)
        if weights is not None:
            written.load_state_dict(weights)
        logits: Tensor = written(images)
        return logits

    return compare(network, run, images, trained=trained)


def _difference(expected: Tensor, got: Tensor, tolerance: float) -> float:
    largest = float(expected.abs().max())
    if not bool(expected.isfinite().all()):
        raise UsageError("outputs must be finite, got NaN or infinity: the weights are not usable")
    if got.shape != expected.shape:
        raise WorkFailed(
            f"outputs of the export must be {list(expected.shape)}, got {list(got.shape)}"
        )
    difference = float((expected - got).abs().max())
    if not difference <= tolerance * largest:
        raise WorkFailed(
            f"the export differs from the network by {difference:g}, with outputs up to "
            f"{largest:g}: the tolerance is {tolerance:g} of the largest"
        )
    return difference / largest if largest else 0.0


@torch.no_grad()
def randomise(network: nn.Module, images: Tensor, *, seed: int = 1) -> None:
    """Randomise scales, shifts and biases in place, and set batch-norm statistics to those of the
    images [N, 3, R, R]; batch norms are in eval mode afterwards."""
    generator = torch.Generator().manual_seed(seed)
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    for parameter in network.parameters():
        if parameter.ndim == 1:
            parameter.add_(_SPREAD * torch.randn(parameter.shape, generator=generator))
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.train()
        norm.momentum = None  # the average of all batches: of this one
    network(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
