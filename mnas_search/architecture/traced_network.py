"""What a space may decode into: an architecture, or a network that is no chain of stages."""

from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import InvalidArchitecture

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class TracedNetwork:
    """A network that is no chain of stages (a ViT, a U-Net).

    Attributes:
        build: makes the `nn.Module`, which takes images [N, 3, resolution, resolution]. It must
            also work under `torch.device("meta")`, where it is counted.
        key: text that is equal for equal networks, and for no others.
        resolution: side of the input image.
    """

    build: Callable[[], "torch.nn.Module"]
    key: str
    resolution: int = 224

    def __post_init__(self) -> None:
        if not isinstance(self.key, str) or not callable(self.build):
            raise InvalidArchitecture(
                f"a traced network with key {self.key!r} and build {self.build!r}; allowed: text "
                "and a function"
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
    """The block string, or None for a network that is no chain of stages."""
    return network.block_string if isinstance(network, Architecture) else None
