"""Linear and logarithmic axes with few round ticks."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

_MAX_TICKS = 7


@dataclass(frozen=True, slots=True, kw_only=True)
class Axis:
    """Values from `low` to `high`, drawn from `start` to `end`."""

    low: float
    high: float
    start: float
    end: float
    logarithmic: bool = False

    @staticmethod
    def around(values: Sequence[float], *, start: float, end: float, least: float) -> "Axis":
        """A linear axis with room around the values, at least `least` wide and from 0 on."""
        middle = (max(values) + min(values)) / 2
        half = 0.56 * max(max(values) - min(values), least)
        low = middle - half if min(values) < 0 else max(0.0, middle - half)
        return Axis(low=low, high=middle + half, start=start, end=end)

    @staticmethod
    def decades(values: Sequence[float], *, start: float, end: float) -> "Axis":
        """A logarithmic axis with room around the values, more on the right: for labels."""
        room = max(1.15, (max(values) / min(values)) ** 0.06)
        low, high = min(values) / room, max(values) * room**2
        return Axis(low=low, high=high, start=start, end=end, logarithmic=True)

    def at(self, value: float) -> float:
        """Where a value is drawn."""
        low, high = self.low, self.high
        if self.logarithmic:
            value, low, high = map(math.log10, (value, low, high))
        return round(self.start + (value - low) / (high - low) * (self.end - self.start), 1)

    @property
    def step(self) -> float:
        """The smallest of 1, 2, 5, 10, ... that needs no more than seven ticks."""
        power = 10.0 ** math.floor(math.log10((self.high - self.low) / _MAX_TICKS))
        steps = (factor * power for factor in (1, 2, 5, 10))
        return next(s for s in steps if (self.high - self.low) / s <= _MAX_TICKS)

    @property
    def ticks(self) -> tuple[float, ...]:
        """Round values within: on a logarithmic axis powers of ten with their double and fivefold
        where these are few, or alone."""
        if self.logarithmic:
            for factors in ((1, 2, 5), (1,)):
                if 2 <= len(ticks := self._powers(factors)) <= _MAX_TICKS:
                    return ticks
        first, last = math.ceil(self.low / self.step), math.floor(self.high / self.step)
        return tuple(count * self.step for count in range(first, last + 1))

    def _powers(self, factors: Sequence[int]) -> tuple[float, ...]:
        exponents = range(math.floor(math.log10(self.low)), math.ceil(math.log10(self.high)) + 1)
        values = (factor * 10.0**exponent for exponent in exponents for factor in factors)
        return tuple(value for value in values if self.low <= value <= self.high)
