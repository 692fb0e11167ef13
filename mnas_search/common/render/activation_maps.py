"""Activation maps over their image, as one picture: the image, then a panel for each network.

The image is grey below a map, so that every colour in a panel is the map's. Its colours run from
the map's least value to its greatest, as in the figures of arXiv 1512.04150 and 1905.11946: they
compare positions within one panel; the range below a title compares panels.
"""

import functools
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw, ImageFont

from mnas_search.common.errors import single_line

SIDE = 288  # pixels of an image in the picture
_GAP, _TEXT, _LINE = 12, 14, 19  # around panels, height of letters, of a line of text
_BAR = (128, 10)  # the key's colours
_OPACITY = 0.75  # of a map above its image
_INK, _FAINT, _PAPER = (24, 24, 27), (96, 96, 102), (255, 255, 255)

Floats = NDArray[np.floating[Any]]
Pixels = NDArray[np.uint8]


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Panel:
    """One network's map."""

    title: str  # above it
    lines: tuple[str, ...]  # below the title
    values: Floats  # the map, [h, w]


def picture(image: Pixels, title: str, lines: Sequence[str], panels: Sequence[Panel]) -> bytes:
    """Return a PNG: the image uint8 [SIDE, SIDE, 3], then the image below each panel's map."""
    drawn = [(title, tuple(lines), image)]
    drawn += [(panel.title, panel.lines, overlaid(image, panel.values)) for panel in panels]
    strip = _GAP + _LINE * (1 + max(len(below) for _, below, _ in drawn))
    width = _GAP + len(drawn) * (SIDE + _GAP)
    canvas = Image.new("RGB", (width, strip + SIDE + _GAP + _LINE + _GAP), _PAPER)
    pen = ImageDraw.Draw(canvas)
    for column, (heading, below, pixels) in enumerate(drawn):
        left = _GAP + column * (SIDE + _GAP)
        for row, text in enumerate((heading, *below)):
            ink = _FAINT if row else _INK
            pen.text((left, _GAP / 2 + row * _LINE), _shortened(text), fill=ink, font=_font())
        canvas.paste(Image.fromarray(pixels), (left, strip))
    _key(canvas, pen, left=2 * _GAP + SIDE, top=strip + SIDE + _GAP)
    file = io.BytesIO()
    canvas.save(file, "PNG")
    return file.getvalue()


def overlaid(image: Pixels, values: Floats) -> Pixels:
    """Return the image uint8 [S, S, 3] below a map [h, w], stretched over it bilinearly; the image
    as it is where all values are equal, since no position stands out."""
    low, high = float(values.min()), float(values.max())
    if not high > low:
        return image
    share = Image.fromarray(((values - low) / (high - low)).astype(np.float32))
    side = image.shape[0]
    stretched = np.asarray(share.resize((side, side), Image.Resampling.BILINEAR))
    above = colours(stretched.clip(0, 1))
    below = np.asarray(Image.fromarray(image).convert("L"))[..., None]
    return np.round(_OPACITY * above + (1 - _OPACITY) * below).astype(np.uint8)


def colours(shares: Floats) -> Pixels:
    """Return colours uint8 [..., 3] of values [...] from 0 to 1, from blue over red to bright
    yellow; lightness rises evenly, so that a map reads the same in grey."""
    from matplotlib import colormaps  # takes a fifth of a second

    made: Pixels = colormaps["plasma"](np.asarray(shares), bytes=True)[..., :3]
    return made


def _key(canvas: Image.Image, pen: ImageDraw.ImageDraw, *, left: int, top: int) -> None:
    """Draw which colours mean what, below the first map."""
    width, height = _BAR
    ramp = colours(np.broadcast_to(np.linspace(0, 1, width), (height, width)))
    words = "least"
    pen.text((left, top), words, fill=_FAINT, font=_font())
    start = left + round(_font().getlength(words)) + _GAP // 2
    canvas.paste(Image.fromarray(ramp), (start, top + (_LINE - height) // 2))
    pen.text((start + width + _GAP // 2, top), "most for the class", fill=_FAINT, font=_font())


@functools.cache
def _font() -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(_TEXT)


def _shortened(text: str) -> str:
    """Return text that is no wider than a panel, in letters that the font can draw."""
    text = single_line(text)
    font = _font()
    if not isinstance(font, ImageFont.FreeTypeFont):  # Pillow without FreeType has Latin-1 alone
        text = text.encode("latin-1", "replace").decode("latin-1")
    if font.getlength(text) <= SIDE:
        return text
    while text and font.getlength(f"{text}...") > SIDE:
        text = text[:-1]
    return f"{text}..."
