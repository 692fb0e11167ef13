"""Learning-rate schedules: pure functions of the step, independent of the number of epochs.

A training that is shortened on its way follows the rest of its schedule faster (`Length`).
"""

import math
from dataclasses import dataclass, replace
from typing import Protocol, final


class Schedule(Protocol):
    """A factor on the peak learning rate."""

    def __call__(self, step: float, /, *, steps: float, epochs: int) -> float:
        """Return the factor at step `step` (from 0) of `steps` in `epochs`; both are whole unless
        the training was shortened."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Triangular:
    """One cycle: linear up to 1 within the share `warmup` of the steps, then linear down to 0."""

    warmup: float = 0.3

    def __call__(self, step: float, /, *, steps: float, epochs: int) -> float:
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

    def __call__(self, step: float, /, *, steps: float, epochs: int) -> float:
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

    def __call__(self, step: float, /, *, steps: float, epochs: int) -> float:
        """Return the factor on the peak."""
        warmup = _whole(steps * min(self.warmup / epochs, _MAX_WARMUP))
        if step < warmup:
            return step / warmup
        return self.factor ** _whole(step * self.of / (steps * self.every))


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Length:
    """The steps of a training, and where they became fewer.

    The schedule is a function of progress. From each change on, what is left of it is passed
    through in the steps that are left: the learning rate is continuous, and ends where it would
    have ended.

    Attributes:
        planned: number of epochs at the beginning.
        per_epoch: steps of an epoch; the last one may have fewer.
        changes: pairs (step, steps), in sequence: since `step` steps were done, the training ends
            after `steps`.
    """

    planned: int
    per_epoch: int
    changes: tuple[tuple[int, int], ...] = ()

    @property
    def steps(self) -> int:
        """Number of steps after which the training ends."""
        return self.changes[-1][1] if self.changes else self.planned * self.per_epoch

    @property
    def epochs(self) -> int:
        """Number of epochs, the last one whole or not."""
        return math.ceil(self.steps / self.per_epoch)

    def shortened(self, step: int, steps: int) -> "Length":
        """Return the length with another change, after the changes that there are.

        Raises:
            ValueError: it leaves no step, or no fewer than before.
        """
        since = self.changes[-1][0] if self.changes else 0
        if not since <= step < steps < self.steps:
            raise ValueError(f"after {step} steps, {self.steps} cannot become {steps}")
        return replace(self, changes=(*self.changes, (step, steps)))

    def position(self, step: int) -> tuple[float, float]:
        """Return the step, and the number of steps, of an unchanged training that at this step is
        as far as this one at `step` (from 0), and moves on as fast."""
        since, passed, steps = 0, 0.0, float(self.planned * self.per_epoch)
        for change, end in self.changes:
            if step < change:
                break
            progress = (passed + change - since) / steps
            steps = (end - change) / (1 - progress)
            since, passed = change, progress * steps
        return passed + step - since, steps


def _whole(value: float) -> int:
    """Round down, tolerating floating-point error just below a whole number."""
    return math.floor(value + 1e-9)
