"""From image files to one compact uint8 array, by Pillow.

Every image is turned upright (EXIF), made RGB, cut to its largest centred square, and resized by
bicubic interpolation with antialiasing: what scaling its shorter side and cropping the centre
gives, but for less work.
"""

import io
import logging
import os
import stat
import struct
import warnings
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageOps, UnidentifiedImageError

from mnas_search.architecture.cost.memory import physical_memory
from mnas_search.common.errors import UsageError, single_line
from mnas_search.data.splits import named

SUFFIXES = frozenset(
    ".avif .bmp .gif .jfif .jpe .jpeg .jpg .pbm .pgm .png .pnm .ppm .tif .tiff .webp".split()
)
# Of all that Pillow can open: some of the others run programs.
_FORMATS = ("AVIF", "BMP", "GIF", "JPEG", "PNG", "PPM", "TIFF", "WEBP")
_AT_A_TIME = 512  # images whose encoded bytes are in memory
_BAD_SHARE, _BAD_AT_LEAST = 0.01, 10  # unreadable images that are tolerated
_FIRST = 3  # of them named
_MANY = 5_000  # images, whose decoding is announced

A = TypeVar("A")
B = TypeVar("B")
Encoded = Path | bytes
Pixels = NDArray[np.uint8]
_LOG = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Decoded:
    """Images uint8 [M, side, side, 3], those of the N asked for that could be read.

    Attributes:
        images: the images.
        kept: which of the N they are, int64 [M], ascending.
        notes: what was skipped, where something was.
    """

    images: Pixels
    kept: NDArray[np.int64]
    notes: tuple[str, ...]


def decode(encoded: Encoded, side: int) -> Pixels:
    """One image, uint8 [side, side, 3]; raises whatever Pillow raises where it is none."""
    if isinstance(encoded, Path) and not stat.S_ISREG(os.stat(encoded).st_mode):
        raise OSError("not an ordinary file")  # a pipe would never end
    source = io.BytesIO(encoded) if isinstance(encoded, bytes) else encoded
    with Image.open(source, formats=[f for f in _FORMATS if f in _installed()]) as image:
        # A JPEG that is far too large is decoded at a fraction of its size; twice the side is
        # left for the resizing.
        image.draft(image.mode, (2 * side, 2 * side))
        kind = image.format
        image.load()
        try:
            upright = ImageOps.exif_transpose(image)
        except (SyntaxError, ValueError, TypeError, KeyError, OverflowError, struct.error):
            upright = image  # its EXIF block is broken, its pixels are not
        return square(_rgb(upright, kind), side)


def decode_one(path: Path, side: int) -> Pixels:
    """The image that somebody asked for by its name, uint8 [side, side, 3].

    Raises:
        UsageError: it cannot be read.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # Pillow's, on files that it reads all the same
            return decode(path, side)
    except (Exception, Image.DecompressionBombError) as error:
        raise UsageError(
            f"image {str(path)!r} cannot be read ({_said(error)}); allowed: {', '.join(_FORMATS)}"
        ) from None


def _said(error: BaseException) -> str:
    """What went wrong with an image, as one line."""
    if isinstance(error, UnidentifiedImageError):
        return "no image"
    return single_line(getattr(error, "strerror", None) or str(error) or type(error).__name__)


def _installed() -> Iterable[str]:
    Image.init()
    return Image.OPEN


def _rgb(image: Image.Image, kind: str | None) -> Image.Image:
    """An image of any mode as RGB, 8 bits: transparency over white, 16 bits scaled."""
    if image.mode.startswith("I;16") or (image.mode == "I" and kind == "PPM"):
        levels = np.asarray(image).astype(np.float64)
        return Image.fromarray(np.round(levels / 257).astype(np.uint8)).convert("RGB")
    if image.mode in ("I", "F"):
        raise ValueError(f"mode {image.mode}: 32-bit pixels, whose white is not known")
    if image.has_transparency_data:
        above = image.convert("RGBA")
        below = Image.new("RGBA", above.size, "white")
        return Image.alpha_composite(below, above).convert("RGB")
    return image.convert("RGB")


def square(image: Image.Image, side: int) -> Pixels:
    """The largest centred square of an RGB image, at `side`: uint8 [side, side, 3]."""
    shorter = min(image.size)
    left, top = ((length - shorter) // 2 for length in image.size)
    if shorter == side:
        return np.asarray(image.crop((left, top, left + side, top + side)))
    box = (left, top, left + shorter, top + shorter)
    return np.asarray(image.resize((side, side), Image.Resampling.BICUBIC, box=box))


def decode_all(
    name: str, encoded: Iterable[tuple[str, Encoded]], *, count: int, side: int
) -> Decoded:
    """Decode many images, in several threads.

    Args:
        name: of the data, for messages.
        encoded: what each image is called, and its file or its bytes.
        count: how many there are.
        side: pixels a side.

    Raises:
        UsageError: more than 1 % of the images, and more than 10, cannot be read; or none can.
    """

    def one(item: tuple[str, Encoded]) -> Pixels | str:
        called, source = item
        try:
            return decode(source, side)
        except (Exception, Image.DecompressionBombError) as error:
            # Whatever a broken file makes of Pillow's readers, the next file may be fine.
            return f"{called} ({_said(error)})"

    check_memory(name, count, side)
    if count >= _MANY:  # no warning, but better than minutes of silence
        _LOG.warning("decoding %d images of data %s to %d pixels, once", count, name, side)
    images = np.empty((count, side, side, 3), np.uint8)
    kept: list[int] = []
    bad: list[str] = []
    notes: tuple[str, ...] = ()
    for index, result in enumerate(_map(one, encoded)):
        if isinstance(result, str):
            bad.append(result)
        else:
            images[len(kept)] = result
            kept.append(index)
    if bad:
        what = f"{len(bad)} of {count} images of data {name!r} cannot be read"
        if len(bad) > max(_BAD_SHARE * count, _BAD_AT_LEAST) or not kept:
            raise UsageError(
                f"{what}: {named(bad, _FIRST)}; allowed: {_BAD_AT_LEAST}, or {_BAD_SHARE:.0%}"
            )
        notes = (f"{what} and were skipped: {named(bad, _FIRST)}",)
    return Decoded(images=images[: len(kept)], kept=np.array(kept, np.int64), notes=notes)


def shrink(name: str, images: Pixels, side: int) -> Pixels:
    """Images [N, H, W, 3] as squares of at most `side` pixels; small squares are as they were."""
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
    """Refuse, before hours of decoding, what this machine cannot hold."""
    needed, there = count * side * side * 3, physical_memory()
    if there is not None and needed > there:
        raise UsageError(
            f"{count:,} images of data {name!r} at {side} pixels need {needed / 1e9:.1f} GB of "
            f"memory, which is {there / 1e9:.1f} GB here; allowed: fewer pixels, or fewer images"
        )


def _map(function: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
    """Results in order, by several threads; few items are taken ahead."""
    left = iter(items)
    with ThreadPoolExecutor() as threads:
        while batch := list(islice(left, _AT_A_TIME)):
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")  # Pillow's, on files that it reads all the same
                results = list(threads.map(function, batch))
            yield from results
