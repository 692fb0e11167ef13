"""The reward: accuracy against FLOPs, and the constraint on FLOPs.

    soft      ACC(m) * [FLOPS(m) / T]^w          w = -0.07    EfficientNet section 4
    hard      ACC(m) * min([FLOPS(m) / T]^w, 1)  w = -1       MnasNet eq. 2, 3: alpha = 0, beta = w
    absolute  ACC(m) + b * |FLOPS(m) / T - 1|    b = -0.10    TuNAS, with its released default

under FLOPS(m) <= T (EfficientNet eq. 2): a network over the target cannot win.

T^-w is one factor on every soft reward, so that `soft` ranks networks the same for every target.
The target acts through the constraint alone, and the networks that `soft` likes best may lie far
below a generous one; `hard` spends the whole budget.
"""

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnas_search.errors import UsageError

DEFAULT_EXPONENTS = {"soft": -0.07, "hard": -1.0, "absolute": -0.10}


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """A reward with its target.

    Attributes:
        target: T, in multiply-adds at the deployment resolution.
        kind: `soft`, `hard` or `absolute`.
        exponent: w, hard's w above the target, or absolute's b; never positive. None takes the
            kind's default.
    """

    target: float
    kind: str = "soft"
    exponent: float | None = None

    def __post_init__(self) -> None:
        if self.kind not in DEFAULT_EXPONENTS:
            known = ", ".join(DEFAULT_EXPONENTS)
            raise UsageError(f"objective {self.kind!r}; allowed: {known}")
        if not (math.isfinite(self.target) and self.target > 0):
            raise UsageError(f"target FLOPs {self.target!r}; allowed: a positive number")
        if self.exponent is None:
            object.__setattr__(self, "exponent", DEFAULT_EXPONENTS[self.kind])
        if not (math.isfinite(self._w) and self._w <= 0):
            raise UsageError(
                f"exponent {self.exponent!r}; allowed: zero or below, as {-abs(self._w):g}: "
                "summaries print 0.07, but a positive exponent would reward more FLOPs"
            )

    @property
    def _w(self) -> float:
        assert self.exponent is not None  # set by __post_init__
        return self.exponent

    def reward(self, accuracy: float, macs: int) -> float:
        """The reward of a network; accuracy as a fraction."""
        slope, offset = self.line(np.array([macs]))
        return float(slope[0]) * accuracy + float(offset[0])

    def line(self, macs: NDArray[np.integer]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Slope [N] and offset [N] of the rewards in the accuracy, for networks of `macs` [N]."""
        ratio = macs / self.target
        if self.kind == "absolute":
            return np.ones(len(ratio)), self._w * np.abs(ratio - 1)
        factor = np.where((self.kind == "soft") | (ratio > 1), ratio**self._w, 1.0)
        return factor, np.zeros(len(ratio))

    def within(self, macs: int) -> bool:
        """Whether the network keeps the constraint FLOPS(m) <= T."""
        return macs <= self.target
