"""The figures of `mnas-search scale`, each one SVG that stands alone."""

import math
from collections.abc import Iterator, Sequence
from typing import Any

from mnas_search.common.render.markup import escaped
from mnas_search.common.render.svg import Axis, text
from mnas_search.common.units import format_size
from mnas_search.experiments.scaling.comparison import BASE, DIMENSIONS
from mnas_search.experiments.scaling.grid import PAPER, Choice

_STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1b2530; }
.page { fill: #ffffff; }
.grid { stroke: #d7dee5; fill: none; }
.axis { stroke: #556372; fill: none; }
.band { fill: #e3edf6; }
.bar { stroke: #1f6fb2; stroke-width: 1.5; fill: none; }
.dot { fill: #1f6fb2; }
.paper .bar { stroke: #bf3f0a; }
.paper .dot { fill: #bf3f0a; }
.paper text, .chosen text { font-weight: 600; }
.title { font-weight: 600; }
.s0 { stroke: #8a5cb8; fill: #8a5cb8; }
.s1 { stroke: #2f7d32; fill: #2f7d32; }
.s2 { stroke: #b26b00; fill: #b26b00; }
.s3 { stroke: #1f6fb2; fill: #1f6fb2; }
path.line { fill: none; stroke-width: 1.8; }
"""

_WIDTH = 680
_ROW = 19  # height of a triple
_TOP, _FOOT = 40, 48
_LEFT, _RIGHT = 220, 650
_PLOT_LEFT, _PLOT_RIGHT, _PLOT_TOP, _PLOT_BOTTOM = 64, 540, 40, 320
_APART = 15  # least distance of two labels


def grid_figure(choice: Choice) -> str:
    """A row a triple, best mean first: mean, standard error, and the band of equals."""
    rows = [
        (one, mean)
        for one in choice.candidates
        if (mean := choice.scores.mean(one.network)) is not None
    ]
    height = _TOP + _ROW * len(rows) + _FOOT
    means = [mean for _, mean in rows]
    error = choice.error
    x = Axis.around([min(means) - error, max(means) + error], start=_LEFT, end=_RIGHT, least=0.01)
    bottom = _TOP + _ROW * len(rows)
    start, end = x.at(max(x.low, means[0] - error)), x.at(means[0])
    parts = [
        text(8, 16, "accuracy at phi = 1 of each (alpha, beta, gamma), best first", kind="title"),
        f'<rect class="band" x="{start:g}" y="{_TOP - 6}" width="{end - start:g}" '
        f'height="{bottom - _TOP + 6}"/>',
        *_across(
            x,
            _TOP - 6,
            bottom,
            "mean accuracy and its standard error; shaded: within one of the best",
        ),
    ]
    for number, (one, mean) in enumerate(rows):
        y = _TOP + _ROW * (number + 0.5)
        kinds = [
            *(["paper"] if one.rule == PAPER else []),
            *(["chosen"] if one is choice.chosen else []),
        ]
        rule = one.rule
        said = f"{rule.alpha:g}, {rule.beta:g}, {rule.gamma:g}"
        if kinds:
            said += f" ({', '.join(kinds)})"
        parts.append(
            f'<g class="{" ".join(kinds)}"><title>{escaped(f"{said}: {mean:.4f}")}</title>'
            + text(_LEFT - 10, y + 4, said, anchor="end")
            + f'<path class="bar" d="M{x.at(mean - error)} {y:g}H{x.at(mean + error)}"/>'
            + f'<circle class="dot" cx="{x.at(mean)}" cy="{y:g}" r="4"/></g>'
        )
    return _svg(_WIDTH, height, "Accuracy of each triple of the grid", parts)


def comparison_figure(rows: Sequence[dict[str, Any]]) -> str:
    """Accuracy against FLOPs, a line a way of scaling; the axis of FLOPs is logarithmic."""
    known = [row for row in rows if row["accuracy"] is not None]
    logs = [math.log10(row["macs"]) for row in known]
    room = 0.06 * max(max(logs) - min(logs), 0.1)
    x = Axis(low=min(logs) - room, high=max(logs) + room, start=_PLOT_LEFT, end=_PLOT_RIGHT)
    spread = [
        row["accuracy"] + sign * (row["standard_error"] or 0) for row in known for sign in (-1, 1)
    ]
    y = Axis.around(spread, start=_PLOT_BOTTOM, end=_PLOT_TOP, least=0.01)
    parts = [text(8, 16, "accuracy against FLOPs, by what is scaled", kind="title")]
    for budget in sorted({row["budget"] for row in known}):
        at = x.at(math.log10(budget))
        parts.append(f'<path class="grid" d="M{at} {_PLOT_BOTTOM}V{_PLOT_TOP}"/>')
        parts.append(text(at, _PLOT_BOTTOM + 18, format_size(budget), anchor="middle"))
    for tick in y.ticks:
        parts.append(f'<path class="grid" d="M{_PLOT_LEFT} {y.at(tick)}H{_PLOT_RIGHT}"/>')
        parts.append(text(_PLOT_LEFT - 8, y.at(tick) + 4, f"{tick:.3g}", anchor="end"))
    parts.append(
        f'<path class="axis" d="M{_PLOT_LEFT} {_PLOT_TOP}V{_PLOT_BOTTOM}H{_PLOT_RIGHT}"/>'
    )
    middle = (_PLOT_LEFT + _PLOT_RIGHT) / 2
    parts.append(
        text(middle, _PLOT_BOTTOM + 38, "FLOPs (multiply-adds), as recounted", anchor="middle")
    )
    parts += _lines(x, y, known)
    return _svg(_WIDTH, _PLOT_BOTTOM + 52, "Accuracy against FLOPs by what is scaled", parts)


def _lines(x: Axis, y: Axis, known: Sequence[dict[str, Any]]) -> Iterator[str]:
    ends = []
    base = next((row for row in known if row["dimension"] == BASE), None)
    for number, dimension in enumerate(DIMENSIONS):
        own = sorted(
            (row for row in known if row["dimension"] in (BASE, dimension)),
            key=lambda row: row["macs"],
        )
        if own[-1:] in ([], [base]):
            continue
        places = [(x.at(math.log10(row["macs"])), y.at(row["accuracy"])) for row in own]
        path = "L".join(f"{across} {down}" for across, down in places)
        yield f'<path class="line s{number}" d="M{path}"/>'
        for row, (across, down) in zip(own, places, strict=True):
            error = row["standard_error"] or 0
            low, high = y.at(row["accuracy"] - error), y.at(row["accuracy"] + error)
            yield f'<path class="line s{number}" d="M{across} {low}V{high}"/>'
            yield (
                f'<circle class="s{number}" cx="{across}" cy="{down}" r="4">'
                f"<title>{escaped(row['name'])}: {row['accuracy']:.4f}</title></circle>"
            )
        ends.append((places[-1][1], dimension, number))
    last = -math.inf
    for down, dimension, number in sorted(ends):
        last = max(down, last + _APART)
        yield f'<circle class="s{number}" cx="{_PLOT_RIGHT + 14}" cy="{last:g}" r="4"/>'
        yield text(_PLOT_RIGHT + 24, last + 4, dimension)


def _across(x: Axis, top: float, bottom: float, label: str) -> Iterator[str]:
    for tick in x.ticks:
        at = x.at(tick)
        yield f'<path class="grid" d="M{at} {top}V{bottom}"/>'
        yield text(at, bottom + 16, f"{tick:.3g}", anchor="middle")
    yield f'<path class="axis" d="M{x.start} {bottom}H{x.end}"/>'
    yield text((x.start + x.end) / 2, bottom + 36, label, anchor="middle")


def _svg(width: int, height: float, label: str, parts: Sequence[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height:g}" role="img" '
        f'aria-label="{escaped(label)}">\n<style>{_STYLE}</style>\n'
        f'<rect class="page" width="{width}" height="{height:g}"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )
