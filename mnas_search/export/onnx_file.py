"""`model.onnx`, compared in ONNX Runtime."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar, final

import torch
from torch import Tensor

from mnas_search.architecture.value import Architecture
from mnas_search.common.extras import require_packages
from mnas_search.common.files import write_atomically
from mnas_search.export.base import Origin, RecordsOrigin
from mnas_search.export.comparison import compare, images_for
from mnas_search.export.weights import GIVEN, UNTRAINED, build_with_weights
from mnas_search.networks.onnx_graph import simplify, to_onnx

_TOLERANCE = 1e-4  # of the largest output: ONNX Runtime fuses and reorders sums
_RUNTIME = """\
import onnxruntime

SESSION = onnxruntime.InferenceSession(HERE / "model.onnx", providers=["CPUExecutionProvider"])


def logits(images):
    return SESSION.run(["logits"], {"images": images})[0]
"""


@final
@dataclass(frozen=True, slots=True)
class OnnxExporter(RecordsOrigin):
    """Writes `model.onnx`: `images` [N, 3, R, R] to `logits` [N, classes] for any N, with weights,
    operators of the ONNX standard only. Its metadata are those of `metadata`."""

    runtime: ClassVar[str | None] = _RUNTIME

    def export(
        self, architecture: Architecture, weights: dict[str, Tensor] | None, path: Path
    ) -> tuple[Path, ...]:
        """Convert, compare in ONNX Runtime, and write the file."""
        require_packages("onnx", "onnx", "onnxscript", "onnxruntime")
        network = build_with_weights(architecture, weights)
        images = images_for(architecture, any_size=False)
        graph = to_onnx(network, images)
        content = simplify(graph)

        def run(images: Tensor, other: dict[str, Tensor] | None) -> Tensor:
            if other is None:
                return _outputs(content, images)
            return _outputs(simplify(_with_weights(graph, other)), images)

        compare(network, run, images, trained=weights is not None, tolerance=_TOLERANCE)
        what = UNTRAINED if weights is None else GIVEN
        content = with_metadata(content, metadata(self.origin or Origin(weights=what)))
        return (write_atomically(path / "model.onnx", content),)


def metadata(origin: Origin) -> dict[str, str]:
    """Return the metadata of a file, as texts or JSON: `provenance`, and where they are known the
    class `names` and `mean`, `std`, `size`, `crop` and `interpolation` of the images."""
    values: dict[str, Any] = {"provenance": {"weights": origin.weights, **dict(origin.facts)}}
    if origin.class_names:
        values["names"] = list(origin.class_names)
    if origin.preprocessing is not None:
        values |= origin.preprocessing.to_dict()
    return {
        name: value if isinstance(value, str) else json.dumps(value)
        for name, value in sorted(values.items())
    }


def with_metadata(content: bytes, entries: dict[str, str]) -> bytes:
    """Return the content of a file with these metadata."""
    import onnx

    model = onnx.load_from_string(content)
    onnx.helper.set_model_props(model, entries)
    changed: bytes = model.SerializeToString()
    return changed


def _with_weights(model: Any, weights: dict[str, Tensor]) -> Any:
    """Copy the model with other weights."""
    from onnx import ModelProto, numpy_helper

    copied = ModelProto()
    copied.CopyFrom(model)
    for tensor in copied.graph.initializer:
        if tensor.name in weights:
            value = weights[tensor.name].detach().numpy()
            tensor.CopyFrom(numpy_helper.from_array(value, tensor.name))
    return copied


def _outputs(content: bytes, images: Tensor) -> Tensor:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = torch.get_num_threads()
    session = onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    (logits,) = session.run(["logits"], {"images": images.numpy()})
    return torch.from_numpy(logits)
