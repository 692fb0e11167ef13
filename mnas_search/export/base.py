"""The contract of exporters."""

from abc import ABC, abstractmethod
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from mnas_search.architecture.value import Architecture

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where an exported network comes from, for formats with room to say it.

    Attributes:
        weights: what they are: untrained, or trained how and on what.
        facts: how the architecture was found and what was measured, as (name, text).
        class_names: of the classifier's outputs, in order; empty where unknown.
        mean, std: of the channels R, G, B of images in [0, 1], by which inputs are normalised;
            None where unknown.
    """

    weights: str
    facts: tuple[tuple[str, str], ...] = ()
    class_names: tuple[str, ...] = ()
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


class Exporter(ABC):
    """Writes a network in some format.

    Attributes:
        takes_weights: whether the format has room for them.
    """

    takes_weights: ClassVar[bool] = True

    @abstractmethod
    def export(
        self, architecture: Architecture, weights: "dict[str, torch.Tensor] | None", path: Path
    ) -> tuple[Path, ...]:
        """Write to `path`, an existing folder; returns the files. None: freshly initialised.

        The files are all that lies there afterwards. Raises `InvalidArchitecture`, naming the
        stage, for what the format cannot express, and `UsageError` for weights that do not fit,
        or that it has no room for; then no file is written."""

    def about(self, origin: Origin) -> "Exporter":
        """This exporter, writing down where the network comes from; override where the format
        has room for it."""
        del origin
        return self

    def caveats(self) -> tuple[str, ...]:
        """Sentences that belong beside the written files; override to have some."""
        return ()
