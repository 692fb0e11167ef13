"""Conversion of modules to ONNX."""

import contextlib
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from mnas_search.common.errors import WorkFailed

_STANDARD = ("", "ai.onnx")  # the two names of the standard's domain


def to_onnx(module: nn.Module, images: Tensor) -> Any:
    """Convert a module to an ONNX `ModelProto` from `images` [N, C, H, W] to `logits`, for any N;
    weights keep their names."""
    with warnings.catch_warnings(), _quiet("torch.onnx"):
        warnings.simplefilter("ignore")  # torch warns of its own internals
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
    assert program is not None  # returned unless it is written to a file
    return program.model_proto


@contextlib.contextmanager
def _quiet(name: str) -> Iterator[None]:
    """Silence a logger's warnings: without torchvision, torch warns of torchvision's operators,
    which our networks do not have."""
    logger = logging.getLogger(name)
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        yield
    finally:
        logger.setLevel(level)


def simplify(model: Any) -> bytes:
    """Fold constants and batch norms; returns the content of the file.

    Raises:
        WorkFailed: the graph has operators outside the ONNX standard.
    """
    import onnx
    import onnxscript.optimizer

    model = onnxscript.optimizer.optimize(model)
    onnx.checker.check_model(model)
    foreign = {node.domain for node in model.graph.node} - set(_STANDARD)
    if foreign or model.functions:
        raise WorkFailed(f"operators must be of the ONNX standard, got those of {sorted(foreign)}")
    content: bytes = model.SerializeToString()
    return content
