"""The reward: accuracy against FLOPs, and the constraints.

    soft      ACC(m) * [FLOPS(m) / T]^w          w = -0.07    EfficientNet section 4
    hard      ACC(m) * min([FLOPS(m) / T]^w, 1)  w = -1       MnasNet eq. 2, 3: alpha = 0, beta = w
    absolute  ACC(m) + b * |FLOPS(m) / T - 1|    b = -0.10    TuNAS, with its released default

under the constraints of EfficientNet's equation (2):

    FLOPS(m) <= T                       the target
    params(m) <= P,  memory(m) <= M     limits, where they are given

A network that breaks one cannot win. Rewards know of FLOPs alone. Memory is that of fp32 inference
at batch 1: weights, the image and the peak of activations (`Cost.inference_memory`).

T^-w is one factor on every soft reward, so that `soft` ranks networks the same for every target.
The target acts through the constraint alone, and the networks that `soft` likes best may lie far
below a generous one; `hard` spends the whole budget.
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mnas_search.errors import UsageError
from mnas_search.units import format_bytes, format_size

if TYPE_CHECKING:
    from mnas_search.cost import Cost

DEFAULT_EXPONENTS = {"soft": -0.07, "hard": -1.0, "absolute": -0.10}

_Array = NDArray[np.integer]

_LARGEST = 1e300  # that arithmetic can still work with


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """A reward with its target, and the limits beside it.

    Attributes:
        target: T, in multiply-adds at the deployment resolution.
        kind: `soft`, `hard` or `absolute`.
        exponent: w, hard's w above the target, or absolute's b; never positive. None takes the
            kind's default.
        max_params: P, the most parameters; None for no limit.
        max_memory: M, the most bytes of fp32 inference at batch 1; None for no limit.
    """

    target: float
    kind: str = "soft"
    exponent: float | None = None
    max_params: float | None = None
    max_memory: float | None = None

    def __post_init__(self) -> None:
        if not isinstance(self.kind, str) or self.kind not in DEFAULT_EXPONENTS:
            known = ", ".join(DEFAULT_EXPONENTS)
            raise UsageError(f"objective {self.kind!r}; allowed: {known}")
        positive = {"target FLOPs": self.target, **self.limits}
        for name, value in positive.items():
            number = isinstance(value, int | float) and value < _LARGEST
            if not (number and value > 0):
                raise UsageError(f"{name} {value!r}; allowed: a positive number")
        if self.exponent is None:
            object.__setattr__(self, "exponent", DEFAULT_EXPONENTS[self.kind])
        if not isinstance(self.exponent, int | float):
            raise UsageError(f"exponent {self.exponent!r}; allowed: a number, zero or below")
        if not -_LARGEST < self._w <= 0:
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

    @property
    def limits(self) -> dict[str, float]:
        """The limits beside the target that are given, by name."""
        given = {"max_params": self.max_params, "max_memory": self.max_memory}
        return {name: most for name, most in given.items() if most is not None}

    @property
    def constraint(self) -> str:
        """What a winner keeps, in words: 400M FLOPs, 4M params and 20MB of memory."""
        words = [f"{format_size(self.target)} FLOPs"]
        if self.max_params is not None:
            words.append(f"{format_size(self.max_params)} params")
        if self.max_memory is not None:
            words.append(f"{format_bytes(self.max_memory)} of memory")
        return ", ".join(words[:-1]) + " and " * (len(words) > 1) + words[-1]

    def keeps(
        self, macs: _Array, params: _Array | None = None, memory: _Array | None = None
    ) -> NDArray[np.bool_]:
        """Whether networks of so many multiply-adds [N], params [N] and bytes of inference [N]
        keep all constraints. A count that is not given is held against no limit."""
        bounded = self._bounded(macs, params, memory)
        kept: NDArray[np.bool_] = np.logical_and.reduce([count <= most for count, most in bounded])
        return kept

    def excess(
        self, macs: _Array, params: _Array | None = None, memory: _Array | None = None
    ) -> NDArray[np.float64]:
        """How far networks are beyond the constraint that they break most, as the logarithm of
        its count over what is allowed [N]; at most 0 where all are kept."""
        bounded = self._bounded(macs, params, memory)
        most: NDArray[np.float64] = np.max([np.log(n / most) for n, most in bounded], axis=0)
        return most

    def within(self, macs: int, params: int | None = None, memory: int | None = None) -> bool:
        """Whether one network keeps all constraints; see `keeps`."""
        limited = [None if count is None else np.array([count]) for count in (params, memory)]
        return bool(self.keeps(np.array([macs]), *limited)[0])

    def admits(self, counted: "Cost") -> bool:
        """Whether a network of this cost keeps all constraints."""
        counts = self.counts(counted)
        return self.within(counts["macs"], counts["params"], counts.get("inference_memory"))

    def counts(self, counted: "Cost") -> dict[str, int]:
        """What of a network's cost decides about it, as trials and journals hold it: `macs`,
        `params`, and `inference_memory` where that is limited."""
        counts = {"macs": counted.macs, "params": counted.params}
        if self.max_memory is not None:
            if counted.inference_memory is None:
                raise UsageError(
                    f"max_memory {format_bytes(self.max_memory)} for a network that is no chain "
                    "of stages, whose memory is not known; allowed: no such limit"
                )
            counts["inference_memory"] = counted.inference_memory
        return counts

    def _bounded(
        self, macs: _Array, params: _Array | None, memory: _Array | None
    ) -> list[tuple[_Array, float]]:
        """Counts [N] with what is allowed of them."""
        bounded = [(macs, self.target)]
        for count, most in ((params, self.max_params), (memory, self.max_memory)):
            if count is not None and most is not None:
                bounded.append((count, most))
        return bounded
