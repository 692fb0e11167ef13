"""Learning-rate schedules: pure functions of the step, independent of a training's length."""

from dataclasses import dataclass
from typing import Protocol, final


class Schedule(Protocol):
    """A factor on the peak learning rate."""

    def __call__(self, step: int, /, *, steps: int, epochs: int) -> float:
        """The factor of step `step` (from 0) of a training of so many steps and epochs."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Triangle:
    """Linear up to 1 within the share `warmup` of the steps, then linear down to 0."""

    warmup: float = 0.3

    def __call__(self, step: int, /, *, steps: int, epochs: int) -> float:
        """See `Schedule`."""
        del epochs
        peak = max(1, round(self.warmup * steps))
        up = (step + 1) / peak
        down = (steps - step) / max(1, steps - peak)
        return min(up, down, 1.0)
