"""`model.pt2`: the traced program with its weights, for `torch.export.load`."""

import io
from pathlib import Path
from typing import ClassVar, final

import torch
from torch import Tensor

from mnas_search.architecture.value import Architecture
from mnas_search.common.files import write_atomically
from mnas_search.export.base import Exporter, torch_runtime
from mnas_search.export.comparison import compare_module, images_for
from mnas_search.export.weights import build_with_weights


@final
class TorchExportExporter(Exporter):
    """Writes `model.pt2`: images [N, 3, R, R] to logits for any N, in inference mode."""

    runtime: ClassVar[str | None] = torch_runtime(
        'import torch\n\nNETWORK = torch.export.load(HERE / "model.pt2").module()'
    )

    def export(
        self, architecture: Architecture, weights: dict[str, Tensor] | None, path: Path
    ) -> tuple[Path, ...]:
        """Trace, save, load and compare; write the file."""
        network = build_with_weights(architecture, weights)
        images = images_for(architecture, any_size=False)
        batch = torch.export.Dim("batch", min=1)
        program = torch.export.export(network, (images,), dynamic_shapes={"images": {0: batch}})
        saved = io.BytesIO()
        torch.export.save(program, saved)
        saved.seek(0)
        loaded = torch.export.load(saved).module()
        compare_module(network, loaded, images, trained=weights is not None)
        return (write_atomically(path / "model.pt2", saved.getvalue()),)
