"""`model.py`, which imports torch only, and its weights."""

import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from mnas_search.architecture.value import Architecture
from mnas_search.common.files import write_atomically
from mnas_search.export.base import RecordsOrigin, torch_runtime
from mnas_search.export.comparison import compare_module, images_for
from mnas_search.export.model_py.model_source import model_source
from mnas_search.export.provenance import DESCRIPTION, describe
from mnas_search.export.weights import GIVEN, UNTRAINED, build_with_weights, safetensors

_LOAD = """\
import torch
from model import Model

NETWORK = Model().eval()
NETWORK.load_state_dict(torch.load(HERE / "weights.pt", weights_only=True))"""


@final
@dataclass(frozen=True, slots=True)
class PyTorchExporter(RecordsOrigin):
    """Writes `model.py`, `weights.pt` (loads with `weights_only=True`), the same weights as
    `weights.safetensors`, and `weights.json`, which describes them."""

    runtime: ClassVar[str | None] = torch_runtime(_LOAD)

    def export(
        self, architecture: Architecture, weights: dict[str, Tensor] | None, path: Path
    ) -> tuple[Path, ...]:
        """Run `model.py`, compare it with the network, and write the four files."""
        network = build_with_weights(architecture, weights)
        source = model_source(architecture)
        namespace: dict[str, Any] = {"__name__": "exported", "__file__": "model.py"}
        exec(compile(source, "model.py", "exec"), namespace)
        written = namespace["Model"]().eval()
        images, own = images_for(architecture, any_size=True), network.state_dict()
        compare_module(network, written, images, trained=weights is not None, own=own)
        state = io.BytesIO()
        torch.save(own, state)
        return (
            write_atomically(path / "model.py", source),
            write_atomically(path / "weights.pt", state.getvalue()),
            write_atomically(path / "weights.safetensors", safetensors(own, architecture)),
            write_atomically(path / DESCRIPTION, self._description(architecture, weights)),
        )

    def _description(self, architecture: Architecture, weights: dict[str, Tensor] | None) -> str:
        what = UNTRAINED if weights is None else GIVEN
        description: dict[str, Any] = {
            "weights": what if self.origin is None else self.origin.weights,
            "architecture": architecture.label,
        }
        if self.origin is not None:
            description |= describe(self.origin)
        return json.dumps(description, indent=2) + "\n"
