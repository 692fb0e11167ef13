"""A NumPy `.npz` file of images and labels."""

import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnas_search.common.errors import UsageError
from mnas_search.data.decode import shrink
from mnas_search.data.source import Source, stamps
from mnas_search.data.splits import assemble
from mnas_search.data.values import Dataset

_PREFIXES = {
    "train": ("train_", ""),
    "validation": ("validation_", "valid_", "val_"),
    "test": ("test_",),
}
# TypeError if it is a plain .npy array.
_BROKEN = (OSError, EOFError, ValueError, zipfile.BadZipFile, zlib.error, TypeError)
_ARRAYS = (
    "images and labels, or train_images, train_labels and optionally those of validation (or val) "
    "and test; optionally class_names"
)


def find(file: Path) -> Source:
    """Return the arrays of a file as a source."""
    return Source(
        name=file.stem,
        identity=("npz", *stamps(file, [file])),
        read=lambda side: _read(file, side),
        shorter_side=lambda: _shorter_side(file),
    )


def _shorter_side(file: Path) -> int:
    """Return the shorter side of the training images; 0 where `_read` refuses the file."""
    arrays = _arrays(file)
    found = (arrays[f"{p}images"].shape for p in _PREFIXES["train"] if f"{p}images" in arrays)
    return min(next(found, ())[1:3], default=0)


def _read(file: Path, side: int) -> Dataset:
    arrays = _arrays(file)
    given = {}
    for split, prefixes in _PREFIXES.items():
        there = [p for p in prefixes if f"{p}images" in arrays or f"{p}labels" in arrays]
        if len(there) > 1:
            raise UsageError(f"data {str(file)!r} must hold {_ARRAYS}, got {split} twice")
        for prefix in there:
            images, labels = (arrays.pop(f"{prefix}{what}", None) for what in ("images", "labels"))
            if images is None or labels is None:
                raise UsageError(
                    f"data {str(file)!r} must hold both {prefix}images and {prefix}labels, got one"
                )
            rgb = _rgb(file, f"{prefix}images", images)
            given[split] = (
                shrink(file.stem, rgb, side),
                _labels(file, f"{prefix}labels", labels, len(rgb)),
            )
    class_names = tuple(map(str, np.ravel(arrays.pop("class_names", ()))))
    if arrays or not given:
        names = ", ".join(arrays) or "nothing"
        raise UsageError(f"data {str(file)!r} must hold {_ARRAYS}, got {names}")
    return assemble(file.stem, given, class_names=class_names)


def _arrays(file: Path) -> dict[str, NDArray[Any]]:
    try:
        with open(file, "rb") as handle, np.load(handle, allow_pickle=False) as arrays:
            return {name: arrays[name] for name in arrays.files}
    except _BROKEN as error:
        raise UsageError(
            f"data {str(file)!r} cannot be read: {error} (expected an .npz file of plain arrays)"
        ) from None


def _rgb(file: Path, name: str, images: NDArray[Any]) -> NDArray[np.uint8]:
    shape = list(images.shape)
    if images.dtype != np.uint8 or not (
        len(shape) == 3 or (len(shape) == 4 and shape[3] in (1, 3))
    ):
        raise UsageError(
            f"{name} of {str(file)!r} must be uint8 [N, H, W], [N, H, W, 1] or [N, H, W, 3], got "
            f"{images.dtype} {shape}"
        )
    if 0 in shape[1:]:
        raise UsageError(f"{name} of {str(file)!r} must have at least one pixel, got {shape}")
    grey = images[..., None] if len(shape) == 3 else images
    return np.repeat(grey, 3, axis=-1) if grey.shape[3] == 1 else grey


def _labels(file: Path, name: str, labels: NDArray[Any], count: int) -> NDArray[Any]:
    """Return labels [N] as they are stored: a cast would turn 2**63 into a negative number."""
    if labels.dtype.kind not in "iu" or labels.shape not in ((count,), (count, 1)):
        raise UsageError(
            f"{name} of {str(file)!r} must be integers [{count}] or [{count}, 1], got "
            f"{labels.dtype} {list(labels.shape)}"
        )
    if count and labels.min() < 0:
        raise UsageError(f"{name} of {str(file)!r} must be 0 or more, got {labels.min()}")
    return labels.reshape(count)
