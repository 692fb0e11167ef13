"""Learning-rate schedules: pure functions of the step, independent of the number of epochs."""

import math
from dataclasses import dataclass
from typing import Protocol, final


class Schedule(Protocol):
    """A factor on the peak learning rate."""

    def __call__(self, step: int, /, *, steps: int, epochs: int) -> float:
        """Return the factor at step `step` (from 0) of `steps` in `epochs`."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Triangular:
    """One cycle: linear up to 1 within the share `warmup` of the steps, then linear down to 0."""

    warmup: float = 0.3

    def __call__(self, step: int, /, *, steps: int, epochs: int) -> float:
        """Return the factor on the peak."""
        del epochs
        peak = max(1, round(self.warmup * steps))
        up = (step + 1) / peak
        down = (steps - step) / max(1, steps - peak)
        return min(up, down, 1.0)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Cosine:
    """Linear up to 1 within the share `warmup` of the training, then half a cosine down to 0
    (Loshchilov & Hutter 2017, eq. 5, without restarts), evaluated at the middle of each step."""

    warmup: float = 0.05

    def __call__(self, step: int, /, *, steps: int, epochs: int) -> float:
        """Return the factor on the peak."""
        del epochs
        time = (step + 0.5) / steps
        if time < self.warmup:
            return time / self.warmup
        return (1 + math.cos(math.pi * (time - self.warmup) / (1 - self.warmup))) / 2


_MAX_WARMUP = 0.1  # share of a training


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ExponentialDecay:
    """Multiplied by `factor` every `every` of `of` epochs, and as often at other lengths.

    The warm-up is linear from 0 to 1 over `warmup` epochs, or over a tenth of the training if that
    is less. Decay counts from the first step, so that the factor drops at the end of the warm-up.
    The defaults are those of TensorFlow's EfficientNet.
    """

    factor: float = 0.97
    every: float = 2.4
    of: float = 350
    warmup: float = 5

    def __call__(self, step: int, /, *, steps: int, epochs: int) -> float:
        """Return the factor on the peak."""
        warmup = _whole(steps * min(self.warmup / epochs, _MAX_WARMUP))
        if step < warmup:
            return step / warmup
        return self.factor ** _whole(step * self.of / (steps * self.every))


def _whole(value: float) -> int:
    """Round down, tolerating floating-point error just below a whole number."""
    return math.floor(value + 1e-9)
