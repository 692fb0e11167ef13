"""A module as a graph of ONNX operators."""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from mnas_search.common.errors import WorkFailed

_STANDARD = ("", "ai.onnx")  # the two names of ONNX's own operators


def to_onnx(module: nn.Module, images: Tensor) -> Any:
    """The module as an ONNX `ModelProto`, operator by operator, weights under their names;
    `images` [N, C, H, W] to `logits`, for any N."""
    with warnings.catch_warnings(), _quiet("torch.onnx"):
        warnings.simplefilter("ignore")  # torch's own, of its parts among themselves
        program = torch.onnx.export(
            module,
            (images,),
            dynamo=True,
            input_names=["images"],
            output_names=["logits"],
            dynamic_shapes=({0: torch.export.Dim("batch", min=1)},),
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


def simplify(model: Any) -> bytes:
    """The file's content: constants folded, and each batch norm into its convolution."""
    import onnx
    import onnxscript.optimizer

    model = onnxscript.optimizer.optimize(model)
    onnx.checker.check_model(model)
    foreign = {node.domain for node in model.graph.node} - set(_STANDARD)
    if foreign or model.functions:
        raise WorkFailed(f"the ONNX file has operators of {sorted(foreign)}; allowed: ONNX's own")
    content: bytes = model.SerializeToString()
    return content
