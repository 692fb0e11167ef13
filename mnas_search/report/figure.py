"""Accuracy against FLOPs of all candidates of a run, as SVG for the inside of a page.

Colours are the page's: classes and variables that `page` defines.
"""

import math
import textwrap
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from mnas_search.report.markup import escaped
from mnas_search.result import Result
from mnas_search.trials import Trial
from mnas_search.units import format_size

_WIDTH, _HEIGHT = 640, 430
_LEFT, _RIGHT, _BOTTOM = 64, 624, 374
_LINE = 17  # height of a line of text
_LABEL = 84  # characters that fit above the figure
_MOST_TICKS = 7
_FAR = 1.5  # a target beyond the candidates by so many of their ranges is told, not drawn


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """Values from `low` to `high`, drawn from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float

    @staticmethod
    def around(values: Sequence[float], *, start: float, end: float, least: float) -> "Axis":
        """An axis with room around the values, and no narrower than `least`."""
        middle = (max(values) + min(values)) / 2
        half = 0.56 * max(max(values) - min(values), least)
        return Axis(low=max(0.0, middle - half), high=middle + half, start=start, end=end)

    def at(self, value: float) -> float:
        """Where a value is drawn."""
        share = (value - self.low) / (self.high - self.low)
        return round(self.start + share * (self.end - self.start), 1)

    @property
    def step(self) -> float:
        """The smallest of 1, 2, 5, 10, ... that needs no more than so many ticks."""
        power = 10.0 ** math.floor(math.log10((self.high - self.low) / _MOST_TICKS))
        steps = (factor * power for factor in (1, 2, 5, 10))
        return next(s for s in steps if (self.high - self.low) / s <= _MOST_TICKS)

    @property
    def ticks(self) -> tuple[float, ...]:
        """Round values within."""
        first, last = math.ceil(self.low / self.step), math.floor(self.high / self.step)
        return tuple(count * self.step for count in range(first, last + 1))


def decimal_ticks(axis: Axis) -> tuple[float, ...]:
    """1, 2, 5, 10, ... within an axis of decimal logarithms; the middle where none is."""
    powers = range(math.floor(axis.low), math.ceil(axis.high) + 1)
    steps = [step * 10.0**power for power in powers for step in (1, 2, 5)]
    within = tuple(s for s in steps if axis.low <= math.log10(s) <= axis.high)
    return within or (10 ** ((axis.low + axis.high) / 2),)


def figure(result: Result) -> str:
    """The figure of a run that has a winner."""
    best, baseline = result.best, result.baseline
    assert best is not None
    assert best.accuracy is not None
    points = [(t.macs, t.accuracy or 0.0) for t in result.good]
    marked = [("winner", best.macs, best.accuracy)]
    if baseline is not None:
        marked.append((baseline.network.label, baseline.macs, baseline.searched.accuracy))
    drawn = points + [(macs, accuracy) for _, macs, accuracy in marked]
    target = result.objective.target
    lines = textwrap.wrap(axis_label(result.evaluator), _LABEL)[:3] or ["accuracy"]
    top = _LINE * (len(lines) + 2)
    macs, accuracies = zip(*drawn, strict=True)
    far = target > max(macs) + _FAR * (max(macs) - min(macs)) and target > 2 * max(macs)
    reached = [*macs, *([] if far else [target])]
    x = Axis.around(reached, start=_LEFT, end=_RIGHT, least=0.1 * max(reached))
    y = Axis.around(accuracies, start=_BOTTOM, end=top, least=0.01)
    parts = [
        *_axes(x, y, lines),
        *_target(x, top, target),
        *(_dot(x, y, trial) for trial in result.good),
        _front(x, y, result.pareto),
        *_marks(x, y, marked),
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        'aria-label="Accuracy against FLOPs of all candidates">\n' + "\n".join(parts) + "\n</svg>"
    )


def axis_label(evaluator: Any) -> str:
    """What the accuracies are, where the evaluator says it."""
    return str(getattr(evaluator, "label", "accuracy"))


def _axes(x: Axis, y: Axis, label: Sequence[str]) -> Iterator[str]:
    for number, line in enumerate(label):
        yield text(0, _LINE * (number + 0.75), line)
    for tick in x.ticks:
        at = x.at(tick)
        yield f'<path class="grid" d="M{at} {y.start}V{y.end}"/>'
        yield text(at, y.start + 18, format_size(tick) if tick else "0", anchor="middle")
    decimals = max(0, -math.floor(math.log10(y.step) + 1e-9))
    for tick in y.ticks:
        at = y.at(tick)
        yield f'<path class="grid" d="M{x.start} {at}H{x.end}"/>'
        yield text(x.start - 8, at + 4, f"{tick:.{decimals}f}", anchor="end")
    yield f'<path class="axis" d="M{x.start} {y.end}V{y.start}H{x.end}"/>'
    middle = (x.start + x.end) / 2
    yield text(middle, y.start + 44, "FLOPs (multiply-adds)", anchor="middle")


def _target(x: Axis, top: float, target: float) -> Iterator[str]:
    said, above = f"target {format_size(target)}", top - 10
    if target > x.high:
        yield text(x.end, above, f"{said}: beyond \u2192", anchor="end", kind="target")
        return
    at = x.at(target)
    yield f'<path class="target" d="M{at} {above + 4}V{_BOTTOM}"/>'
    yield text(min(at, _WIDTH - 60), above, said, anchor="middle", kind="target")


def _dot(x: Axis, y: Axis, trial: Trial) -> str:
    accuracy = trial.accuracy or 0.0
    said = f"trial {trial.number}: {accuracy:.4f}, {format_size(trial.macs)}"
    return (
        f'<circle class="dot" cx="{x.at(trial.macs)}" cy="{y.at(accuracy)}" r="3.2">'
        f"<title>{escaped(said)}</title></circle>"
    )


def _front(x: Axis, y: Axis, front: Sequence[Trial]) -> str:
    """Steps: what could be had for so many FLOPs."""
    steps = "".join(f"H{x.at(t.macs)}V{y.at(t.accuracy or 0.0)}" for t in front[1:])
    first = front[0]
    start = f"M{x.at(first.macs)} {y.at(first.accuracy or 0.0)}"
    return f'<path class="front" d="{start}{steps}"/>'


def _marks(x: Axis, y: Axis, marked: Sequence[tuple[str, float, float]]) -> Iterator[str]:
    """The winner, and the baseline where there is one, the upper one labelled above."""
    highest = max(accuracy for _, _, accuracy in marked)
    upper = next(name for name, _, accuracy in marked if accuracy == highest)
    for number, (name, macs, accuracy) in enumerate(marked):
        kind = "baseline" if number else "winner"
        across, down = x.at(macs), y.at(accuracy)
        yield (
            f'<path class="{kind}" d="M{across - 7} {down}l7 -7l7 7l-7 7z"/>'
            if number
            else f'<circle class="{kind}" cx="{across}" cy="{down}" r="6.5"/>'
        )
        left = across > (x.start + x.end) / 2
        yield text(
            across - 8 if left else across + 8,
            down - 12 if name == upper else down + 22,
            name,
            anchor="end" if left else "start",
            kind=kind,
        )


def text(x: float, y: float, said: str, *, anchor: str = "start", kind: str = "") -> str:
    """A line of text, escaped."""
    named = f' class="{kind}"' if kind else ""
    return f'<text{named} x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escaped(said)}</text>'
