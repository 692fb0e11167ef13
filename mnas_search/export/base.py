"""The contract of exporters."""

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Self

from mnas_search.architecture.value import Architecture
from mnas_search.data.preprocessing import Preprocessing

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where an exported network comes from, for formats that record it.

    Attributes:
        weights: untrained, or how and on what they were trained.
        facts: how the architecture was found and what was measured, as (name, text).
        class_names: of the classifier's outputs, in order; empty if unknown.
        preprocessing: of the images that the weights were tested on; None if unknown.
    """

    weights: str
    facts: tuple[tuple[str, str], ...] = ()
    class_names: tuple[str, ...] = ()
    preprocessing: Preprocessing | None = None


def torch_runtime(load: str) -> str:
    """Return a `runtime` of an exporter from source that defines the module `NETWORK`."""
    return f"{load}\n\n\n{_LOGITS}"


_LOGITS = """\
def logits(images):
    with torch.no_grad():
        return NETWORK(torch.from_numpy(images)).numpy()
"""


class Exporter(ABC):
    """Writes a network in a format.

    Attributes:
        takes_weights: whether the format contains weights.
        runtime: for `predict.py` beside the files: Python source that defines `logits(images)`,
            from float32 [N, 3, R, R] to [N, classes], both of numpy, with the files in the folder
            `HERE`; None for a format without `predict.py`.
    """

    takes_weights: ClassVar[bool] = True
    runtime: ClassVar[str | None] = None

    @abstractmethod
    def export(
        self, architecture: Architecture, weights: "dict[str, torch.Tensor] | None", path: Path
    ) -> tuple[Path, ...]:
        """Write to `path`, an existing folder, and return all files that it then contains.

        Args:
            weights: a state dict; None for random weights from seed 0.

        Raises:
            InvalidArchitecture: the format cannot express a stage, which the message names.
            UsageError: weights do not fit, or the format does not contain any. No file is written
                in either case.
        """

    def about(self, origin: Origin) -> "Exporter":
        """Return this exporter with the origin to record; override if the format records it."""
        del origin
        return self

    def caveats(self) -> tuple[str, ...]:
        """Return sentences for the user on limits of the written files."""
        return ()


@dataclass(frozen=True, slots=True)
class RecordsOrigin(Exporter, ABC):
    """An exporter whose files record the origin of the network."""

    origin: Origin | None = None

    def about(self, origin: Origin) -> Self:
        """Return the exporter with this origin."""
        return replace(self, origin=origin)
