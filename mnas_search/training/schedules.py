"""Learning-rate schedules: pure functions of the step, independent of a training's length."""

import math
from dataclasses import dataclass
from typing import Protocol, final


class Schedule(Protocol):
    """A factor on the peak learning rate."""

    def __call__(self, step: int, /, *, steps: int, epochs: int) -> float:
        """The factor of step `step` (from 0) of a training of so many steps and epochs."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Triangular:
    """Linear up to 1 within the share `warmup` of the steps, then linear down to 0."""

    warmup: float = 0.3

    def __call__(self, step: int, /, *, steps: int, epochs: int) -> float:
        """See `Schedule`."""
        del epochs
        peak = max(1, round(self.warmup * steps))
        up = (step + 1) / peak
        down = (steps - step) / max(1, steps - peak)
        return min(up, down, 1.0)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Cosine:
    """Linear up to 1 within the share `warmup` of the training, then half a cosine down to 0
    (Loshchilov & Hutter 2017, eq. 5, without restarts), taken at the middle of each step."""

    warmup: float = 0.05

    def __call__(self, step: int, /, *, steps: int, epochs: int) -> float:
        """See `Schedule`."""
        del epochs
        time = (step + 0.5) / steps
        if time < self.warmup:
            return time / self.warmup
        return (1 + math.cos(math.pi * (time - self.warmup) / (1 - self.warmup))) / 2


_LONGEST_WARMUP = 0.1  # share of a training


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ExponentialDecay:
    """Multiplied by `factor` every `every` of `of` epochs, and as many times at other lengths.

    Before that a warm-up, linear from 0 to 1, of `warmup` epochs, or of a tenth of the training
    where that is less: a warm-up in proportion would be no step at all of a short training. The
    stairs count from the first step, warm-up included, so that the factor falls from 1 to theirs
    at its end (TensorFlow's EfficientNet, of which the defaults are).
    """

    factor: float = 0.97
    every: float = 2.4
    of: float = 350
    warmup: float = 5

    def __call__(self, step: int, /, *, steps: int, epochs: int) -> float:
        """See `Schedule`."""
        warmup = _whole(steps * min(self.warmup / epochs, _LONGEST_WARMUP))
        if step < warmup:
            return step / warmup
        return self.factor ** _whole(step * self.of / (steps * self.every))


def _whole(value: float) -> int:
    """Rounded down, but for what floating point has taken off a whole number."""
    return math.floor(value + 1e-9)
