"""The comparison that every written artefact passes before its export counts as done.

An artefact is run once and its outputs are held against those of the network itself. A freshly
initialised network would let anything pass: its outputs are near 1e-5 and its batch norms all
alike. So where weights are untrained, the artefact is also run with weights whose scales and
shifts are random and whose batch-norm statistics are those of the images that are compared:
no two channels agree, and no depth lets the outputs vanish or overflow.
"""

import copy
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
    """What an exporter wrote, ready to run."""

    def __call__(self, images: Tensor, weights: dict[str, Tensor] | None, /) -> Tensor:
        """Logits [N, classes] of images [N, 3, R, R], from the artefact's own weights (None), or
        from these in their place, under the names of `StagewiseNetwork`."""


def images_for(architecture: Architecture, *, any_size: bool) -> Tensor:
    """Random images to compare on, [N, 3, R, R].

    Args:
        any_size: whether the artefact takes images of any size. Symmetric padding is the same at
            each, so that small ones do; `same` is resolved at the architecture's own.

    Raises:
        UsageError: the machine cannot hold what running them takes.
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
    """The largest difference between outputs, as a fraction of the largest output.

    Raises:
        WorkFailed: it is above `tolerance`.
        UsageError: trained weights whose outputs are no numbers.
    """
    own = copy.deepcopy(network).eval()
    with torch.no_grad():
        expected = own(images)
        found = 0.0
        # Without training, a very deep network may well overflow.
        if trained or bool(expected.isfinite().all()):
            found = _difference(expected, artefact(images, None), tolerance)
        if not trained:
            randomise(own, images)
            got = artefact(images, own.state_dict())
            found = max(found, _difference(own(images), got, tolerance))
    return found


def _difference(expected: Tensor, got: Tensor, tolerance: float) -> float:
    largest = float(expected.abs().max())
    if not bool(expected.isfinite().all()):
        raise UsageError(
            "with these weights the outputs are not finite numbers; allowed: trained weights"
        )
    if got.shape != expected.shape:
        raise WorkFailed(
            f"the export gives outputs {list(got.shape)}, the network {list(expected.shape)}"
        )
    difference = float((expected - got).abs().max())
    if not difference <= tolerance * largest:
        raise WorkFailed(
            f"the export differs from the network by {difference:g}, outputs reach {largest:g}; "
            f"allowed: {tolerance:g} of the largest"
        )
    return difference / largest if largest else 0.0


@torch.no_grad()
def randomise(network: nn.Module, images: Tensor, *, seed: int = 1) -> None:
    """Random scales, shifts and biases; statistics of the batch norms from one pass over the
    images [N, 3, R, R]. In place; the batch norms are in eval mode afterwards."""
    generator = torch.Generator().manual_seed(seed)
    norms = [m for m in network.modules() if isinstance(m, nn.modules.batchnorm._BatchNorm)]
    for parameter in network.parameters():
        if parameter.ndim == 1:
            parameter.add_(_SPREAD * torch.randn(parameter.shape, generator=generator))
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.train()
        norm.momentum = None  # the statistics become those of the one batch
    network(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
        norm.eval()
