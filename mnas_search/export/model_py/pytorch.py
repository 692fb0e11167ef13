"""`model.py`, which imports torch alone, with its weights beside it."""

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from mnas_search.architecture.value import Architecture
from mnas_search.common.files import write_atomically
from mnas_search.export.base import Exporter, Origin
from mnas_search.export.comparison import compare, images_for
from mnas_search.export.model_py.model_source import model_source
from mnas_search.export.weights import GIVEN, UNTRAINED, build_with_weights, safetensors


@final
@dataclass(frozen=True, slots=True)
class PyTorchExporter(Exporter):
    """`model.py`, `weights.pt` (loads with `weights_only=True`), the same as
    `weights.safetensors`, and `weights.json`, which says what they are."""

    origin: Origin | None = None

    def about(self, origin: Origin) -> "PyTorchExporter":
        """The same, with the words for `weights.json`."""
        return PyTorchExporter(origin)

    def export(
        self, architecture: Architecture, weights: dict[str, Tensor] | None, path: Path
    ) -> tuple[Path, ...]:
        """Write the four files, after `model.py` has been run."""
        network = build_with_weights(architecture, weights)
        source = model_source(architecture)
        namespace: dict[str, Any] = {"__name__": "exported", "__file__": "model.py"}
        exec(compile(source, "model.py", "exec"), namespace)
        written = namespace["Model"]().eval()

        def run(images: Tensor, other: dict[str, Tensor] | None) -> Tensor:
            written.load_state_dict(network.state_dict() if other is None else other)
            logits: Tensor = written(images)
            return logits

        images = images_for(architecture, any_size=True)
        compare(network, run, images, trained=weights is not None)
        state = io.BytesIO()
        torch.save(network.state_dict(), state)
        return (
            write_atomically(path / "model.py", source),
            write_atomically(path / "weights.pt", state.getvalue()),
            write_atomically(
                path / "weights.safetensors", safetensors(network.state_dict(), architecture)
            ),
            write_atomically(path / "weights.json", self._words(architecture, weights)),
        )

    def _words(self, architecture: Architecture, weights: dict[str, Tensor] | None) -> str:
        what = UNTRAINED if weights is None else GIVEN
        words: dict[str, Any] = {
            "weights": what if self.origin is None else self.origin.weights,
            "architecture": architecture.label,
        }
        if self.origin is not None and self.origin.class_names:
            words["class_names"] = list(self.origin.class_names)
        if self.origin is not None and self.origin.mean is not None:
            words["normalisation"] = {"mean": self.origin.mean, "std": self.origin.std}
        return json.dumps(words, indent=2) + "\n"
