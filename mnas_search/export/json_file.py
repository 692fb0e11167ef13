"""The complete form of an architecture as JSON."""

from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, final

from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import UsageError
from mnas_search.common.files import write_atomically
from mnas_search.export.base import Exporter

if TYPE_CHECKING:
    import torch


@final
class JsonExporter(Exporter):
    """`architecture.json`: canonical, read back by every command that takes an architecture."""

    takes_weights: ClassVar[bool] = False

    def export(
        self, architecture: Architecture, weights: "dict[str, torch.Tensor] | None", path: Path
    ) -> tuple[Path, ...]:
        """Write `architecture.json`, which does not contain weights."""
        if weights is not None:
            raise UsageError(
                "weights require a format that contains them, such as 'pytorch', got 'json'"
            )
        return (write_atomically(path / "architecture.json", architecture.to_json() + "\n"),)
