"""Charts of pages: from points to one SVG, which stands alone or inside a page.

    svg([Chart(title="top-1", across="FLOPs", series=[Series(points=points, colour="blue")])])

The colours are the page's where it defines them, so that the chart follows its dark form. Every
point has a `<title>`. Labels are placed beside their points where they overlap neither points nor
each other; a label that finds no room is left out, unless its series is `strong`.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal
from xml.etree.ElementTree import Element

from mnas_search.common.render.axis import Axis
from mnas_search.common.render.labels import CHARACTER, LINE, Box, Labels, Place, beside, wrapped
from mnas_search.common.render.svg import STYLE, document, element, text

Colour = Literal["blue", "orange", "violet", "green", "brown", "grey"]

_WIDTH, _PLOT = 500, 280  # of a chart, height of what lies between its axes
_LEFT, _RIGHT = 54, 486
_RADIUS = 4.5
_FAR = 1.5  # a rule beyond the points by more of their ranges is named, not drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """A point; `y` None draws it as a tick on the horizontal axis."""

    x: float
    y: float | None
    title: str  # shown where the pointer rests
    label: str = ""  # text beside the point
    interval: tuple[float, float] | None = None  # lower and upper end of its error bar


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """Points of one kind; earlier series are drawn above later ones, and labelled first."""

    points: Sequence[Point]
    colour: Colour = "blue"
    name: str = ""  # for the key; empty for none
    mark: Literal["dot", "hollow", "diamond", "none"] = "dot"  # how a point is drawn
    # how the points are joined; `steps` holds each height until the next point
    line: Literal["none", "straight", "steps"] = "none"
    strong: bool = False  # labels are bold and always drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class Rule:
    """A dashed line over the whole chart at one value of `axis`."""

    value: float
    label: str
    axis: Literal["x", "y"] = "y"
    colour: Colour = "grey"


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """One pair of axes with what they hold."""

    title: str  # above the chart: what the heights are
    across: str  # below the chart: what the horizontal axis is
    series: Sequence[Series]
    rules: Sequence[Rule] = ()
    logarithmic: bool = False  # of the horizontal axis
    amount: Callable[[float], str] = "{:g}".format  # how a value on the horizontal axis is written
    band: tuple[float, float] | None = None  # heights between which the chart is shaded
    least: float = 0.01  # the smallest range of the vertical axis


def svg(charts: Sequence[Chart], *, label: str) -> str:
    """The charts below each other; `label` names them for screen readers."""
    parts: list[Element] = []
    top = 0.0
    for chart in charts:
        drawn = _Drawing(chart, top)
        parts += drawn.parts()
        top = drawn.bottom
    return document(parts, kind="chart", size=(_WIDTH, top), style=STYLE, label=label)


class _Drawing:
    """A chart from `top` to `bottom`."""

    def __init__(self, chart: Chart, top: float) -> None:
        self._chart, self._top = chart, top
        self._heading = wrapped(chart.title)[:3]
        above = any(rule.axis == "x" for rule in chart.rules)
        upper = top + LINE * (len(self._heading) + 1 + above)
        points = [point for one in chart.series for point in one.points]
        ends = [end for p in points if p.y is not None for end in p.interval or (p.y,)]
        ends += [*(rule.value for rule in chart.rules if rule.axis == "y"), *(chart.band or ())]
        self._y = Axis.around(ends, start=upper + _PLOT, end=upper, least=chart.least)
        across = [point.x for point in points] or [1.0]
        across += [r.value for r in chart.rules if r.axis == "x" and not _is_far(r, across)]
        self._x = (
            Axis.decades(across, start=_LEFT, end=_RIGHT)
            if chart.logarithmic
            else Axis.around(across, start=_LEFT, end=_RIGHT, least=0.1 * max(across))
        )
        plot = Box(_LEFT, upper - 4, _WIDTH, upper + _PLOT)
        self._labels = Labels(within=plot)
        named = [series for series in chart.series if series.name]
        self._keys = [(s, wrapped(s.name)) for s in named]
        self._key_top = self._y.start + 66
        self.bottom = self._key_top + LINE * sum(len(lines) for _, lines in self._keys)

    def parts(self) -> Iterator[Element]:
        """All elements, those below others first."""
        for number, line in enumerate(self._heading):
            yield text(4, self._top + LINE * (number + 0.9), line, kind="strong")
        yield from self._axes()
        for series in reversed(self._chart.series):
            yield from self._marks(series)
        for series in self._chart.series:
            boxes = [self._around(series, point) for point in series.points]
            (self._labels.taken if series.strong else self._labels.points).extend(boxes)
            self._labels.points += self._bars(series)
        for rule in self._chart.rules:
            yield from self._rule(rule)
        for series in self._chart.series:
            for point in series.points:
                if point.label:
                    yield from self._label(series, point)
        yield from self._key()

    def _axes(self) -> Iterator[Element]:
        x, y = self._x, self._y
        if self._chart.band is not None:
            low, high = map(y.at, self._chart.band)
            yield element("path", "band", d=f"M{x.start} {low}H{x.end}V{high}H{x.start}z")
        for tick in x.ticks:
            yield element("path", "grid", d=f"M{x.at(tick)} {y.start}V{y.end}")
            amount = self._chart.amount(tick) if tick else "0"
            yield text(x.at(tick), y.start + LINE, amount, anchor="middle")
        decimals = max(0, -math.floor(math.log10(y.step) + 1e-9))
        for tick in y.ticks:
            yield element("path", "grid", d=f"M{x.start} {y.at(tick)}H{x.end}")
            yield text(x.start - 6, y.at(tick) + 4, f"{tick:.{decimals}f}", anchor="end")
        yield element("path", "axis", d=f"M{x.start} {y.end}V{y.start}H{x.end}")
        yield text((x.start + x.end) / 2, y.start + 40, self._chart.across, anchor="middle")

    def _marks(self, series: Series) -> Iterator[Element]:
        colour, y = series.colour, self._y
        places = [(self._x.at(p.x), y.at(p.y)) for p in series.points if p.y is not None]
        if series.line != "none" and places:
            joint = "L{} {}" if series.line == "straight" else "H{}V{}"
            path = "".join(joint.format(*place) for place in places[1:])
            start = "M{} {}".format(*places[0])
            yield element("path", f"{colour} line", d=start + path)
        for point in series.points:
            at = self._x.at(point.x)
            if point.interval is not None:
                low, high = map(y.at, point.interval)
                yield element("path", f"{colour} bar", d=f"M{at} {low}V{high}")
            if point.y is None:
                tick = f"M{at} {y.start}V{y.start - 12}"
                yield element("path", f"{colour} tick", point.title, d=tick)
            elif series.mark != "none":
                yield _mark(series, at, y.at(point.y), point.title)

    def _rule(self, rule: Rule) -> Iterator[Element]:
        x, y, kind = self._x, self._y, f"{rule.colour} dashed"
        if rule.axis == "y":
            at = y.at(rule.value)
            yield element("path", kind, rule.label, d=f"M{x.start} {at}H{x.end}")
            places: list[Place] = [
                (right, at + shift, "end")
                for right in (x.end, 0.8 * x.end, 0.6 * x.end, 0.5 * x.end, 0.4 * x.end)
                for shift in (-LINE / 2, LINE / 2)
            ]
            yield from self._labels.place(rule.label, places, required=True)
        elif rule.value > x.high:
            label = f"{rule.label}: beyond \u2192"
            yield text(x.end, y.end - 8, label, anchor="end")
        else:
            at = x.at(rule.value)
            yield element("path", kind, rule.label, d=f"M{at} {y.end - 4}V{y.start}")
            half = CHARACTER * len(rule.label) / 2
            yield text(min(at, _WIDTH - half), y.end - 8, rule.label, anchor="middle")

    def _label(self, series: Series, point: Point) -> Iterator[Element]:
        box = self._around(series, point)
        places = list(beside(box, rising=series.line == "straight"))
        kind = "strong" if series.strong else ""
        yield from self._labels.place(
            point.label, places, required=series.strong, kind=kind, point=box
        )

    def _around(self, series: Series, point: Point) -> Box:
        down = self._y.start - 6 if point.y is None else self._y.at(point.y)
        across, radius = self._x.at(point.x), 6.5 if series.strong else _RADIUS
        return Box(across - radius, down - radius, across + radius, down + radius)

    def _bars(self, series: Series) -> Iterator[Box]:
        for point in series.points:
            if point.interval is not None:
                at, (low, high) = self._x.at(point.x), map(self._y.at, point.interval)
                yield Box(at - 1, high, at + 1, low)

    def _key(self) -> Iterator[Element]:
        down = self._key_top
        for series, lines in self._keys:
            if series.points and all(point.y is None for point in series.points):
                yield element("path", f"{series.colour} tick", d=f"M{_LEFT} {down}V{down - 10}")
            else:
                yield _mark(series, _LEFT, down - 4)
            for line in lines:
                yield text(_LEFT + 12, down, line)
                down += LINE


def _mark(series: Series, x: float, y: float, title: str = "") -> Element:
    if series.mark == "diamond":
        d = f"M{x - 7:g} {y}l7 -7l7 7l-7 7z"
        return element("path", f"{series.colour} diamond", title, d=d)
    kind = f"{series.colour} hollow" if series.mark == "hollow" else series.colour
    return element("circle", kind, title, cx=x, cy=y, r=6.5 if series.strong else _RADIUS)


def _is_far(rule: Rule, across: Sequence[float]) -> bool:
    low, high = min(across), max(across)
    return rule.value > max(high + _FAR * (high - low), 2 * high)
