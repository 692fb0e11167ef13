"""Labels of a chart, placed where they overlap neither points nor each other."""

import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from xml.etree.ElementTree import Element

from mnas_search.common.render.svg import Anchor, element, text

LINE, CHARACTER = 18.0, 7.2  # height of a line of text, most that a letter is wide on average
_FAR = 20.0  # a label farther from its point is joined to it by a line
_ROW = 52  # characters in a line of text

Place = tuple[float, float, Anchor]  # x, middle of the height, anchor


@dataclass(frozen=True, slots=True)
class Box:
    """A rectangle that something takes up."""

    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: "Box") -> bool:
        """Return whether the two overlap."""
        across = self.left < other.right and other.left < self.right
        return across and self.top < other.bottom and other.top < self.bottom

    def holds(self, other: "Box") -> bool:
        """Return whether the other lies within this one."""
        across = self.left <= other.left and other.right <= self.right
        return across and self.top <= other.top and other.bottom <= self.bottom


class Labels:
    """Places labels one after the other.

    Attributes:
        points: boxes that a label must not meet unless it is required and finds no other place.
        taken: boxes that no label should meet: earlier labels, strong points.
    """

    def __init__(self, *, within: Box) -> None:
        self.points: list[Box] = []
        self.taken: list[Box] = []
        self._within = within

    def place(
        self,
        content: str,
        places: Sequence[Place],
        *,
        required: bool,
        kind: str = "",
        point: Box | None = None,
    ) -> Iterator[Element]:
        """Yield the text at the first free place, and a line to its point where that is far away;
        where no place is free, nothing unless it is `required`."""
        pairs = [(place, _extent(content, place)) for place in places]
        within = [pair for pair in pairs if self._within.holds(pair[1])]
        found = _free(within, [*self.taken, *self.points])
        if found is None and required:
            found = _free(within, self.taken) or (within or pairs)[0]
        if found is not None:
            (across, down, anchor), box = found
            self.taken.append(box)
            if point is not None:
                yield from _leader(point, box)
            yield text(across, down + 4, content, anchor=anchor, kind=kind)


def wrapped(content: str) -> list[str]:
    """Return the lines of a text that is as wide as a chart."""
    return textwrap.wrap(content, _ROW)


def beside(box: Box, *, rising: bool) -> Iterator[Place]:
    """Yield where the label of a point may be, the best first.

    Args:
        rising: whether a line through the point rises to the right.
    """
    across, down = (box.left + box.right) / 2, (box.top + box.bottom) / 2
    if rising:
        yield box.left, box.top - LINE / 3, "end"
    for gap in (3.0, 8.0, 14.0, 22.0, 32.0, 44.0, 56.0):
        for shift in (0.0, -1.0, 1.0):
            yield box.right + gap, down + shift * (LINE / 4 + gap), "start"
            yield box.left - gap, down + shift * (LINE / 4 + gap), "end"
        yield across, box.top - gap - LINE / 3, "middle"
        yield across, box.bottom + gap + LINE / 3, "middle"


def _leader(point: Box, label: Box) -> Iterator[Element]:
    across, down = (point.left + point.right) / 2, (point.top + point.bottom) / 2
    x = min(max(across, label.left), label.right)
    y = min(max(down, label.top), label.bottom)
    if math.dist((across, down), (x, y)) > _FAR:
        yield element("path", "grid", d=f"M{across:g} {down:g}L{x:g} {y:g}")


def _free(pairs: Sequence[tuple[Place, Box]], taken: Sequence[Box]) -> tuple[Place, Box] | None:
    return next((p for p in pairs if not any(p[1].meets(box) for box in taken)), None)


def _extent(content: str, place: Place) -> Box:
    across, down, anchor = place
    width = CHARACTER * len(content)
    left = across - width * {"start": 0.0, "middle": 0.5, "end": 1.0}[anchor]
    return Box(left, down - LINE / 2 + 2, left + width, down + LINE / 2 - 2)
