"""Safe reading of torch and safetensors files, and the state dict inside them."""

import argparse
import pickle
import re
import warnings
import zipfile
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mnas_search.common.errors import UsageError, shorten
from mnas_search.common.files import check_ordinary
from mnas_search.networks.weights import metadata

BEST = "checkpoint-best.pt"
SOURCES = (
    "a safetensors file, a torch file of a state dict, the folder of a training or export, "
    "package:NAME or hf:ORG/NAME"
)
MAX_LENGTH = 120  # of a name in a message
PARTS = ("weight", "bias", "running_mean", "running_var")  # of a layer
# Where training scripts keep the state dict inside a file, one inside another; averages first.
_NESTED = (
    *("model_ema", "state_dict_ema", "params_ema", "ema_state_dict", "ema", "weights"),
    *("model_state_dict", "state_dict", "params", "model", "net", "module"),
)
_MAX_DEPTH = 4
# What data parallelism, compilation and sharding insert into names, and what a network is called
# inside a larger module.
_WRAPPERS = ("_orig_mod", "_fsdp_wrapped_module", "_checkpoint_wrapped_module")
_PREFIXES = ("module", "model", "net", "backbone")
# Plain values that training scripts save beside the tensors; none of them runs code.
_PLAIN: list[Any] = [
    argparse.Namespace,
    np.dtype,
    *(type(np.dtype(code)) for code in "?bBhHiIlLqQefdU"),
    # What makes scalars and arrays of their dtype and bytes, under the names of numpy 1 and 2.
    np.ndarray,
    *((np.float64(0).__reduce__()[0], f"numpy.{c}.multiarray.scalar") for c in ("core", "_core")),
    *(
        (np.zeros(0).__reduce__()[0], f"numpy.{c}.multiarray._reconstruct")
        for c in ("core", "_core")
    ),
]


def load(path: Path) -> Any:
    """Load tensors and plain values from a torch file, without executing anything in it.

    Raises:
        OSError: it cannot be read, or is not an ordinary file.
        ValueError: parts are compressed, which torch never does: a small file could fill memory;
            or a part is not that of its CRC-32, which torch writes and does not check.
        UnpicklingError: it contains other objects.
        Exception: torch may raise others on malformed files.
    """
    check_ordinary(path)
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            parts = archive.infolist()
            if any(part.compress_type != zipfile.ZIP_STORED for part in parts) or (
                sum(part.file_size for part in parts) > path.stat().st_size
            ):
                raise ValueError("a compressed archive")
            if (damaged := archive.testzip()) is not None:
                raise ValueError(f"it is damaged: {damaged} is not that of its CRC-32")
    with warnings.catch_warnings(), torch.serialization.safe_globals(_PLAIN):
        warnings.simplefilter("ignore")  # torch warns of files that it then rejects
        return torch.load(path, map_location="cpu", weights_only=True)


def is_whole(path: Path) -> bool:
    """Return whether a torch file is there and undamaged."""
    try:
        load(path)
    except Exception:  # a damaged file may raise anything
        return False
    return True


def read_file(path: Path) -> dict[str, Tensor]:
    """Read the state dict of a file, in the file's order and without prefixes of wrappers.

    Raises:
        UsageError: there is none, or its tensors are not usable.
    """
    tensors = _without_prefixes(_state_dict(_content(path)))
    if not tensors:
        raise UsageError(f"{str(path)!r} holds no state dict: expected {SOURCES}")
    for name, tensor in tensors.items():
        if (why := _unusable(name, tensor, path.stat().st_size)) is not None:
            raise UsageError(
                f"{str(path)!r}: {shorten(name, MAX_LENGTH)!r} must be a dense tensor of finite "
                f"floating-point numbers, it {why}"
            )
    return tensors


def _content(path: Path) -> Any:
    try:
        if path.suffix != ".safetensors":
            return load(path)
        from safetensors.torch import load_file

        metadata.read(path)  # checks the file
        return load_file(path)
    except pickle.UnpicklingError as error:
        found = re.search(r"GLOBAL ([\w.]{1,80})", str(error))
        what = f" ({found[1]})" if found else ""
        raise UsageError(
            f"{str(path)!r} must be a state dict, got objects that cannot be read safely{what}"
        ) from None
    except Exception as error:  # a malformed file may raise anything
        reason = str(error).splitlines()[0][:200] if str(error) else type(error).__name__
        raise UsageError(f"cannot read {str(path)!r}: {reason}: expected {SOURCES}") from None


def _state_dict(value: Any, depth: int = _MAX_DEPTH) -> dict[str, Tensor]:
    """Return the tensors of the innermost container."""
    if not isinstance(value, dict):
        return {}
    for name in _NESTED if depth else ():
        if inner := _state_dict(value.get(name), depth - 1):
            return inner
    return {str(k): v for k, v in value.items() if isinstance(v, Tensor)}


def _without_prefixes(tensors: dict[str, Tensor]) -> dict[str, Tensor]:
    """Return tensors by name without the words of wrappers, where names stay distinct."""
    short = {name: _shorten(name) for name in tensors}
    counts = Counter(short.values())
    return {n if counts[short[n]] > 1 else short[n]: tensor for n, tensor in tensors.items()}


def _shorten(name: str) -> str:
    words = [word for word in name.split(".") if word not in _WRAPPERS]
    while len(words) > 1 and words[0] in _PREFIXES:
        del words[0]
    return ".".join(words)


def _unusable(name: str, tensor: Tensor, file_size: int) -> str | None:
    """Say why a tensor of a file of `file_size` bytes is not usable; None if it is, or if no layer
    has a tensor of its name."""
    if name.rpartition(".")[2] not in PARTS:
        return None
    if tensor.layout != torch.strided or tensor.is_quantized or tensor.is_meta:
        kind = "quantized" if tensor.is_quantized else "without values"
        return f"is {'sparse' if tensor.layout != torch.strided else kind}"
    if not tensor.is_floating_point():
        return f"is {str(tensor.dtype).removeprefix('torch.')}"
    # A stride of 0 makes one value look like any number of them.
    if tensor.numel() * tensor.element_size() > file_size:
        return f"has the shape {list(tensor.shape)} in a file of {file_size:,} bytes"
    # In single precision, where 1e300 is infinite.
    finite = bool(tensor.float().isfinite().all())
    return None if finite else "holds values that are not finite numbers"
