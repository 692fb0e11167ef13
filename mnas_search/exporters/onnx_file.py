"""`model.onnx`, compared through ONNX Runtime."""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from mnas_search.architecture import Architecture
from mnas_search.errors import WorkFailed
from mnas_search.exporters.comparison import compare, images_for
from mnas_search.exporters.extras import need
from mnas_search.exporters.weights import network_with
from mnas_search.files import write_atomically
from mnas_search.interfaces import Exporter
from mnas_search.networks import Network

_TOLERANCE = 1e-4  # of the largest output: ONNX Runtime fuses and reorders sums
_STANDARD = ("", "ai.onnx")  # the two names of ONNX's own operators


@final
class OnnxExporter(Exporter):
    """`model.onnx`: `images` [N, 3, R, R] to `logits` [N, classes] for any N, weights inside,
    operators of the ONNX standard alone."""

    def export(
        self, architecture: Architecture, weights: dict[str, Tensor] | None, path: Path
    ) -> tuple[Path, ...]:
        """Translate, run by ONNX Runtime, compare; write it."""
        need("onnx", "onnx", "onnxscript", "onnxruntime")
        network = network_with(architecture, weights)
        images = images_for(architecture, any_size=False)
        translated = _translated(network, images)
        content = _simplified(translated)

        def run(images: Tensor, other: dict[str, Tensor] | None) -> Tensor:
            if other is None:
                return _outputs(content, images)
            return _outputs(_simplified(_with_weights(translated, other)), images)

        compare(network, run, images, trained=weights is not None, tolerance=_TOLERANCE)
        return (write_atomically(path / "model.onnx", content),)


def _translated(network: Network, images: Tensor) -> Any:
    """The network as an ONNX `ModelProto`, operator by operator, weights under their names."""
    with warnings.catch_warnings(), _quiet("torch.onnx"):
        warnings.simplefilter("ignore")  # torch's own, of its parts among themselves
        program = torch.onnx.export(
            network,
            (images,),
            dynamo=True,
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes={"images": {0: torch.export.Dim("batch", min=1)}},
            external_data=False,
            optimize=False,
            verbose=False,
        )
    assert program is not None  # it is where no file is asked for
    return program.model_proto


@contextlib.contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Without a logger's warnings: torch's name operators of torchvision, which no network of ours
    has, where torchvision is not installed."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def _simplified(translated: Any) -> bytes:
    """The file's content: constants folded, and each batch norm into its convolution."""
    import onnx
    import onnxscript.optimizer

    model = onnxscript.optimizer.optimize(translated)
    onnx.checker.check_model(model)
    foreign = {node.domain for node in model.graph.node} - set(_STANDARD)
    if foreign or model.functions:
        raise WorkFailed(f"the ONNX file has operators of {sorted(foreign)}; allowed: ONNX's own")
    content: bytes = model.SerializeToString()
    return content


def _with_weights(model: Any, weights: dict[str, Tensor]) -> Any:
    """A copy of the model with other weights in it."""
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
