"""Image files -> one uint8 array, by Pillow.

Every image is rotated upright (EXIF), converted to RGB, cropped to its largest centred square, and
resized by bicubic interpolation with antialiasing; equal to scaling the shorter side and cropping
the centre, with less work.
"""

import contextlib
import io
import logging
import os
import stat
import struct
import warnings
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from mnas_search.architecture.cost.memory import physical_memory
from mnas_search.common.checks import alternatives
from mnas_search.common.errors import UsageError, single_line
from mnas_search.data.splits import named

# A subset of what Pillow opens: some of its other readers run programs.
_FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_BATCH = 512  # images whose encoded bytes are in memory at once
_MAX_BAD_SHARE, _MAX_BAD = 0.01, 10  # unreadable images that are skipped; the larger counts
_MAX_NAMED = 3  # unreadable images named in a message
_MEASURED = 1_000  # images whose sizes are enough for a median
_ANNOUNCED = 5_000  # images, from which on decoding is logged
_DARK = 64  # of 255: what 14-bit values in 16-bit files come to

# Pillow's readers raise many exceptions on broken files.
_UNREADABLE = (Exception, Image.DecompressionBombError)

A = TypeVar("A")
B = TypeVar("B")
Encoded = Path | bytes
Pixels = NDArray[np.uint8]
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """Images uint8 [M, side, side, 3]: the readable ones of N.

    Attributes:
        images: the images.
        kept: their indices among the N, int64 [M], ascending.
        notes: the skipped images, if any.
    """

    images: Pixels
    kept: NDArray[np.int64]
    notes: tuple[str, ...]


def decode(
    encoded: Encoded, side: int, crop: float = 1.0, interpolation: str = "bicubic"
) -> Pixels:
    """Decode one image to uint8 [side, side, 3]; raises Pillow's exceptions if that fails."""
    with _opened(encoded) as image:
        return to_pixels(image, side, crop, interpolation)


def median_shorter_side(encoded: Sequence[Encoded]) -> int:
    """Return the median shorter side in pixels of at most 1,000 images, by their headers.

    Images that cannot be read are left out: `decode_all` names them. 0 where none can.
    """
    sides = []
    for source in encoded[:: max(1, len(encoded) // _MEASURED)]:
        with warnings.catch_warnings(), contextlib.suppress(*_UNREADABLE):
            warnings.simplefilter("ignore")  # Pillow warns of files that it can read
            with _opened(source) as image:
                sides.append(min(image.size))
    return int(np.median(sides)) if sides else 0


def _opened(encoded: Encoded) -> Image.Image:
    """Open an image without decoding it; raises Pillow's exceptions."""
    if isinstance(encoded, Path) and not stat.S_ISREG(os.stat(encoded).st_mode):
        raise OSError("not an ordinary file")  # a pipe may never end
    source = io.BytesIO(encoded) if isinstance(encoded, bytes) else encoded
    return Image.open(source, formats=[f for f in _FORMATS if f in _installed()])


def decode_one(path: Path, side: int, crop: float = 1.0, interpolation: str = "bicubic") -> Pixels:
    """Decode the image of a path to uint8 [side, side, 3]; raises `UsageError` if that fails."""
    (found,) = decode_each([path], side, crop, interpolation)
    if isinstance(found, UsageError):
        raise found
    return found


def decode_each(
    paths: Iterable[Path], side: int, crop: float = 1.0, interpolation: str = "bicubic"
) -> Iterator[Pixels | UsageError]:
    """Decode images in several threads, in order; for one that cannot be read, yield why."""

    def one(path: Path) -> Pixels | UsageError:
        try:
            return decode(path, side, crop, interpolation)
        except _UNREADABLE as error:
            return UsageError(
                f"image {str(path)!r} cannot be read ({_describe_failure(error)}): expected "
                f"{alternatives(_FORMATS)}"
            )

    return _map(one, paths)


def _describe_failure(error: BaseException) -> str:
    """Say in one line why an image could not be read."""
    if isinstance(error, UnidentifiedImageError):
        return "not an image"
    return single_line(getattr(error, "strerror", None) or str(error) or type(error).__name__)


def _installed() -> Iterable[str]:
    Image.init()
    return Image.OPEN


# `predict.py` of an export contains the source of the next three functions, so that it prepares
# images as a test does.
def to_pixels(
    image: Image.Image, side: int, crop: float = 1.0, interpolation: str = "bicubic"
) -> Pixels:
    """Decode an opened image: upright, RGB, cropped and resized to uint8 [side, side, 3]."""
    # A large JPEG is decoded at a fraction of its size, but at least twice what is needed.
    needed = round(2 * side / crop)
    image.draft(image.mode, (needed, needed))
    kind = image.format
    image.load()
    try:
        upright = ImageOps.exif_transpose(image)
    except (SyntaxError, ValueError, TypeError, KeyError, OverflowError, struct.error):
        upright = image  # only its EXIF block is broken
    return square(to_rgb(upright, kind), side, crop, interpolation)


def to_rgb(image: Image.Image, kind: str | None) -> Image.Image:
    """Convert to 8-bit RGB: transparency over white, 16 bits scaled."""
    if image.mode.startswith("I;16") or (image.mode == "I" and kind == "PPM"):
        levels = np.asarray(image).astype(np.float64)
        return Image.fromarray(np.round(levels / 257).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise ValueError(f"mode {image.mode}: the white level of 32-bit pixels is unknown")
    if image.has_transparency_data:
        above = image.convert("RGBA")
        below = Image.new("RGBA", above.size, "white")
        return Image.alpha_composite(below, above).convert("RGB")
    return image.convert("RGB")


def square(
    image: Image.Image, side: int, crop: float = 1.0, interpolation: str = "bicubic"
) -> Pixels:
    """Crop an RGB image to a centred square, `crop` times its shorter side, and resize it: uint8
    [side, side, 3]."""
    length = max(1, round(crop * min(image.size)))
    left, top = ((whole - length) // 2 for whole in image.size)
    box = (left, top, left + length, top + length)
    if length == side:
        return np.asarray(image.crop(box))
    method = Image.Resampling[interpolation.upper()]
    return np.asarray(image.resize((side, side), method, box=box))


def decode_all(
    name: str, encoded: Iterable[tuple[str, Encoded]], *, count: int, side: int
) -> Decoded:
    """Decode many images in several threads.

    Args:
        name: of the data, for messages.
        encoded: the name of each image, and its file or bytes.
        count: number of images.
        side: side of the result, in pixels.

    Raises:
        UsageError: more than 1 % of the images and more than 10 cannot be read, or none can.
    """

    deep: list[int] = []  # largest values of the images with 16 bits per channel

    def one(item: tuple[str, Encoded]) -> Pixels | str:
        called, source = item
        try:
            with _opened(source) as image:
                is_deep = _has_16_bits(image)
                pixels = to_pixels(image, side)
            if is_deep:
                deep.append(int(pixels.max()))
            return pixels
        except _UNREADABLE as error:  # the next file may be fine
            return f"{called} ({_describe_failure(error)})"

    check_memory(name, count, side)
    if count >= _ANNOUNCED:  # minutes without output otherwise
        _LOG.warning("decoding %d images of data %s to %d pixels, once", count, name, side)
    images = np.empty((count, side, side, 3), np.uint8)
    kept: list[int] = []
    bad: list[str] = []
    notes: list[str] = []
    for index, result in enumerate(_map(one, encoded)):
        if isinstance(result, str):
            bad.append(result)
        else:
            images[len(kept)] = result
            kept.append(index)
    if bad:
        what = f"{len(bad)} of {count} images of data {name!r} cannot be read"
        if len(bad) > max(_MAX_BAD_SHARE * count, _MAX_BAD) or not kept:
            limit = f"at most {_MAX_BAD} or {_MAX_BAD_SHARE:.0%} may fail"
            raise UsageError(f"{what} ({limit}): {named(bad, _MAX_NAMED)}")
        notes.append(f"{what} and were skipped: {named(bad, _MAX_NAMED)}")
    if deep and max(deep) <= _DARK:
        notes.append(
            f"{len(deep)} images have 16 bits per channel but no value above about "
            f"{257 * max(deep):,} of 65,535, as if 12-bit values had been stored in them: they "
            "are read as almost black; scale their values to 16 bits"
        )
    return Decoded(images=images[: len(kept)], kept=np.array(kept, np.int64), notes=tuple(notes))


def _has_16_bits(image: Image.Image) -> bool:
    """Tell whether an opened image, not yet decoded, has 16 bits per channel."""
    raw = (str(tile[3]) for tile in getattr(image, "tile", ()))
    return image.mode.startswith("I;16") or image.mode == "I" or any(";16" in r for r in raw)


def shrink(name: str, images: Pixels, side: int) -> Pixels:
    """Crop and resize images [N, H, W, 3] to squares of at most `side` pixels."""
    count, height, width, _ = images.shape
    target = min(side, height, width)
    if height == width == target:
        return images
    check_memory(name, count, target)
    made = np.empty((count, target, target, 3), np.uint8)
    results = _map(lambda i: square(Image.fromarray(images[i]), target), range(count))
    for index, result in enumerate(results):
        made[index] = result
    return made


def check_memory(name: str, count: int, side: int) -> None:
    """Raise `UsageError` if decoded images would not fit into memory."""
    needed, available = count * side * side * 3, physical_memory()
    if available is not None and needed > available:
        raise UsageError(
            f"{count:,} images of data {name!r} at {side} pixels need {needed / 1e9:.1f} GB of "
            f"memory, this machine has {available / 1e9:.1f} GB"
        )


def _map(function: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
    """Map in several threads, in order, with few items read ahead."""
    left = iter(items)
    with ThreadPoolExecutor() as threads:
        while batch := list(islice(left, _BATCH)):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow warns of files that it can read
                results = list(threads.map(function, batch))
            yield from results
