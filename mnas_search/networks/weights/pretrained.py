"""Pretrained networks: weights with the architecture that they belong to.

A search with `--init` starts every candidate from them, remapped (`remap`). Its networks have
their activation, padding and batch-norm settings, without which the same weights compute another
function.
"""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

from torch import Tensor

from mnas_search.architecture.adaptation import adapt
from mnas_search.architecture.value import Architecture
from mnas_search.common.folders import read_training
from mnas_search.networks.weights.loading import fit, identify
from mnas_search.networks.weights.reading import read_file
from mnas_search.networks.weights.remap import remap
from mnas_search.networks.weights.settings import find_settings
from mnas_search.networks.weights.sources import weights_file


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False, repr=False)
class Pretrained:
    """A pretrained network.

    Attributes:
        source: what names the weights.
        architecture: with the settings and the classes of the weights.
        weights: by name in its state dict, float32.
        sha256: of names and values.
    """

    source: str
    architecture: Architecture
    weights: dict[str, Tensor]
    sha256: str

    def __repr__(self) -> str:
        """Return what names the weights, quoted, as messages do."""
        return repr(self.source)

    @property
    def text(self) -> str:
        """What they are, as text."""
        a = self.architecture
        return (
            f"weights {self.source}: those of {a.label} for {a.num_classes:,} classes, with "
            f"{a.activation}, {a.padding} padding and batch norm's epsilon {a.bn_eps:g}"
        )

    def style(self, network: Architecture) -> Architecture:
        """Return a network with the activation, padding and batch-norm settings of the weights."""
        mine, activation = self.architecture, self.architecture.stages[-1].activation
        stages = tuple(replace(stage, activation=activation) for stage in network.stages)
        return replace(
            network,
            stages=stages,
            activation=mine.activation,
            padding=mine.padding,
            bn_eps=mine.bn_eps,
            bn_momentum=mine.bn_momentum,
        )

    def largest(
        self, is_feasible: Callable[[Architecture], bool], num_classes: int
    ) -> Architecture | None:
        """Return the network at the largest feasible resolution, its own less a multiple of 8
        pixels, and with all its strides; None if no resolution from 32 pixels on is feasible."""
        own, label = self.architecture.resolution, self.architecture.label
        for resolution in range(own, min(own, 32) - 1, -8):
            network = replace(self.architecture, resolution=resolution, num_classes=num_classes)
            if is_feasible(network):
                # `NAME @96` as an ARCH is adapted: strides may be dropped.
                as_named = adapt(network, resolution) == network
                words = f"@{resolution}" if as_named else f"with all strides at {resolution}"
                return replace(network, name=f"{label} {words}")
        return None

    def start(self, network: Architecture, *, seed: int) -> dict[str, Tensor]:
        """Return initial weights for a network; raises `UsageError` if no layer fits."""
        return remap(self.weights, network, seed=seed).weights


def load_pretrained(source: str) -> Pretrained:
    """Load what `source` names (`sources`), with the architecture that the weights belong to.

    It is that of the training that made them, else the published one that they fit by names and
    shapes.

    Raises:
        UsageError: there are no usable weights, or they belong to no published architecture.
    """
    file = weights_file(source)
    given = read_file(file)
    architecture, weights = _owner(file, given)
    settings = find_settings(file, given)
    return Pretrained(
        source=source,
        architecture=architecture if settings is None else settings.apply_to(architecture),
        weights={name: tensor.float() for name, tensor in weights.items()},
        sha256=_sha256(weights),
    )


def _owner(file: Path, given: dict[str, Tensor]) -> tuple[Architecture, dict[str, Tensor]]:
    """Return the architecture of a file's weights, and these under its names."""
    for folder in (file.parent, file.parent.parent):  # of a training, or its export
        if (training := read_training(folder)) is not None:
            architecture = Architecture.from_dict(training.get("architecture"))
            return architecture, fit(given, architecture).weights
    architecture, fitted = identify(given)
    return architecture, fitted.weights


def _sha256(weights: dict[str, Tensor]) -> str:
    found = hashlib.sha256()
    for name, tensor in weights.items():
        found.update(name.encode())
        found.update(tensor.float().contiguous().numpy().data)
    return found.hexdigest()
