"""Axes and text of SVG figures."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from mnas_search.common.render.markup import escaped

_MOST_TICKS = 7


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


def text(x: float, y: float, said: str, *, anchor: str = "start", kind: str = "") -> str:
    """A line of text, escaped."""
    named = f' class="{kind}"' if kind else ""
    return f'<text{named} x="{x:g}" y="{y:g}" text-anchor="{anchor}">{escaped(said)}</text>'
