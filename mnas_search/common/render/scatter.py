"""Points over a logarithmic axis, as one SVG that stands alone or inside a page.

Labels are set beside their points, where they overlap neither points nor each other; one that
finds no room is left out, and the point's title still tells it.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mnas_search.common.render.markup import escaped
from mnas_search.common.render.svg import Axis, decimal_ticks, text

_WIDTH = 760
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 744, 40, 470
_KEY = 18  # height of a line of the key
_LINE, _CHARACTER = 12.0, 7.2  # height of a label, most that a letter is wide on average
_RADIUS = 4.5

# A page's own colours where it has them (`report.document`), so that its dark form is followed.
_STYLE = """
.scatter text { font: 12px system-ui, sans-serif; fill: var(--ink, #1b2530);
  paint-order: stroke; stroke: var(--page, #ffffff); stroke-width: 3px; stroke-linejoin: round; }
.scatter .page { fill: var(--page, #ffffff); }
.scatter .grid { stroke: var(--rule, #d7dee5); fill: none; }
.scatter .axis { stroke: var(--soft, #556372); fill: none; }
.scatter .first { fill: #d9480f; stroke: #d9480f; }
.scatter .second { fill: #2f7fc1; stroke: #2f7fc1; }
.scatter .third { fill: #2e8b57; stroke: #2e8b57; }
.scatter .fourth { fill: #8a97a5; stroke: #8a97a5; }
.scatter .own { fill: #9b51e0; stroke: #9b51e0; }
.scatter .hollow { fill: var(--page, #ffffff); stroke-width: 1.8; }
.scatter .line, .scatter .tick { fill: none; stroke-width: 1.8; }
.scatter .strong { font-weight: 600; }
"""


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A point; `y` None draws it as a tick on the cost axis."""

    label: str
    x: float
    y: float | None
    title: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Points of one kind.

    Attributes:
        name: for the key.
        kind: colour: `first` to `fourth`, or `own`.
        points: those with a label are labelled.
        joined: whether a line goes through them.
        hollow: whether they are drawn as outlines.
    """

    name: str
    kind: str
    points: tuple[Point, ...]
    joined: bool = False
    hollow: bool = False


@dataclass(frozen=True, slots=True)
class _Box:
    left: float
    top: float
    right: float
    bottom: float

    def meets(self, other: "_Box") -> bool:
        return (
            self.left < other.right
            and other.left < self.right
            and self.top < other.bottom
            and other.top < self.bottom
        )


def scatter(series: Sequence[Series], *, title: str, across: str, up: str) -> str:
    """The figure; earlier series are drawn above later ones, and labelled first."""
    points = [point for one in series for point in one.points]
    costs = [point.x for point in points]
    heights = [point.y for point in points if point.y is not None]
    x = Axis(
        low=math.log10(min(costs) / 1.25),
        high=math.log10(max(costs) * 1.9),
        start=_LEFT,
        end=_RIGHT,
    )
    y = Axis(low=min(heights) - 1, high=max(heights) + 1, start=_BOTTOM, end=_TOP)
    height = _BOTTOM + 56 + _KEY * len(series)
    parts = [
        text(12, 20, title, kind="strong"),
        *_axes(x, y, across, up),
        *(part for one in reversed(series) for part in _marks(x, y, one)),
        *_labels(x, y, series),
        *_key(series),
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="scatter" viewBox="0 0 {_WIDTH} {height}" '
        f'role="img" aria-label="{escaped(title)}">\n<style>{_STYLE}</style>\n'
        f'<rect class="page" width="{_WIDTH}" height="{height}"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _axes(x: Axis, y: Axis, across: str, up: str) -> Iterator[str]:
    for tick in decimal_ticks(x):
        at = x.at(math.log10(tick))
        yield f'<path class="grid" d="M{at} {y.start}V{y.end}"/>'
        yield text(at, y.start + 18, _size(tick), anchor="middle")
    for tick in y.ticks:
        at = y.at(tick)
        yield f'<path class="grid" d="M{x.start} {at}H{x.end}"/>'
        yield text(x.start - 8, at + 4, f"{tick:g}", anchor="end")
    yield f'<path class="axis" d="M{x.start} {y.end}V{y.start}H{x.end}"/>'
    yield text((x.start + x.end) / 2, y.start + 38, across, anchor="middle")
    yield text(x.start - 44, y.end - 6, up)


def _size(value: float) -> str:
    return f"{value / 1e9:g}B" if value >= 1e9 else f"{value / 1e6:g}M"


def _marks(x: Axis, y: Axis, series: Series) -> Iterator[str]:
    kind = f"{series.kind} hollow" if series.hollow else series.kind
    if series.joined:
        path = "L".join(f"{_at(x, p)} {y.at(p.y)}" for p in series.points if p.y is not None)
        yield f'<path class="{series.kind} line" d="M{path}"/>'
    for point in series.points:
        at, said = _at(x, point), f"<title>{escaped(point.title)}</title>"
        if point.y is None:
            d = f"M{at} {y.start}V{y.start - 12}"
            yield f'<path class="{series.kind} tick" d="{d}">{said}</path>'
        else:
            up = y.at(point.y)
            yield f'<circle class="{kind}" cx="{at}" cy="{up}" r="{_RADIUS}">{said}</circle>'


def _at(x: Axis, point: Point) -> float:
    return x.at(math.log10(point.x))


def _labels(x: Axis, y: Axis, series: Sequence[Series]) -> Iterator[str]:
    placed = [
        _Box(at - _RADIUS, up - _RADIUS, at + _RADIUS, up + _RADIUS)
        for one in series
        for point in one.points
        for at, up in ((_at(x, point), y.start - 6 if point.y is None else y.at(point.y)),)
    ]
    wanted = [(one, point) for one in series for point in one.points if point.label]
    for one, point in wanted:
        tick, width = point.y is None, _CHARACTER * len(point.label)
        at, up = _at(x, point), y.start - 12 if point.y is None else y.at(point.y)
        kind = "strong" if one.joined else ""
        for across, down, anchor in _places(at, up, tick=tick, joined=one.joined):
            left = across - width * {"start": 0.0, "middle": 0.5, "end": 1.0}[anchor]
            box = _Box(left, down - _LINE / 2, left + width, down + _LINE / 2)
            within = box.left >= _LEFT and box.right <= _WIDTH and box.top >= _TOP - _LINE
            if within and not any(box.meets(other) for other in placed):
                placed.append(box)
                yield text(across, down + 4, point.label, anchor=anchor, kind=kind)
                break


def _places(
    at: float, up: float, *, tick: bool, joined: bool
) -> Iterator[tuple[float, float, str]]:
    """Where a label may stand, the best first: x, middle of its height, anchor."""
    if tick:
        yield from ((at, up - _LINE * (0.5 + step), "middle") for step in range(4))
        return
    if joined:  # a line rises to the right
        yield at - _RADIUS, up - _RADIUS - _LINE / 2, "end"
    for gap in (3.0, 8.0, 14.0, 22.0):
        near = _RADIUS + gap
        for down in (0.0, -near, near):
            yield at + near, up + down, "start"
            yield at - near, up + down, "end"
        yield at, up - near - _LINE / 2, "middle"
        yield at, up + near + _LINE / 2, "middle"


def _key(series: Sequence[Series]) -> Iterator[str]:
    for number, one in enumerate(series):
        at, down = _LEFT + 6, _BOTTOM + 62 + _KEY * number
        kind = f"{one.kind} hollow" if one.hollow else one.kind
        ticks = all(point.y is None for point in one.points)
        yield (
            f'<path class="{one.kind} tick" d="M{at} {down}V{down - 10}"/>'
            if ticks
            else f'<circle class="{kind}" cx="{at}" cy="{down - 4}" r="{_RADIUS}"/>'
        )
        yield text(at + 12, down, one.name)
