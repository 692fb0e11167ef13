"""The networks that a space decodes into: architectures, or modules that torch traces."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import InvalidArchitecture

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedNetwork:
    """A network that is not a chain of stages (a ViT, a U-Net).

        TracedNetwork(build=lambda: VisionTransformer(depth=4), key="vit-4")

    Attributes:
        build: makes the `nn.Module`, which takes images [N, 3, resolution, resolution]. It must
            also work under `torch.device("meta")`, on which the network is counted.
        key: text that is equal for equal networks and differs for different ones.
        resolution: side of the input image.
    """

    build: Callable[[], "torch.nn.Module"]
    key: str
    resolution: int = 224

    def __post_init__(self) -> None:
        if not isinstance(self.key, str) or not callable(self.build):
            raise InvalidArchitecture(
                f"key must be text and build a function, got {self.key!r} and {self.build!r}"
            )

    @property
    def fingerprint(self) -> str:
        """The key."""
        return self.key

    @property
    def label(self) -> str:
        """The key."""
        return self.key


Network = Architecture | TracedNetwork


def block_string(network: Network) -> str | None:
    """Return the block string, or None for a network that is not a chain of stages."""
    return network.block_string if isinstance(network, Architecture) else None
