"""The reward: accuracy against FLOPs, latency or memory, and the constraints.

    soft      ACC(m) * [FLOPS(m) / T]^w          w = -0.07    EfficientNet section 4
    hard      ACC(m) * min([FLOPS(m) / T]^w, 1)  w = -1       MnasNet eq. 2, 3: alpha = 0, beta = w
    absolute  ACC(m) + b * |FLOPS(m) / T - 1|    b = -0.10    TuNAS, with its released default

under the constraints of EfficientNet's equation (2):

    FLOPS(m) <= T                                       the target
    params(m) <= P,  memory(m) <= M,  latency(m) <= L   limits, where they are given

A network that breaks one cannot win. The target may be one on latency (as in MnasNet) or on memory
instead: `metric` says which, and that stands for FLOPS(m) above. Rewards know of the target alone.
Memory is that of fp32 inference at batch 1: weights, the image and the peak of activations
(`Cost.inference_memory`). Latency is what a table of the device predicts.

T^-w is one factor on every soft reward, so that `soft` ranks networks the same for every target.
The target acts through the constraint alone, and the networks that `soft` likes best may lie far
below a generous one; `hard` spends the whole budget.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.cost.metrics import METRICS, TARGETS
from mnas_search.architecture.traced_network import Network
from mnas_search.common.errors import UsageError
from mnas_search.common.units import format_bytes

if TYPE_CHECKING:
    from mnas_search.architecture.cost.latency.table import LatencyTable

DEFAULT_EXPONENTS = {"soft": -0.07, "hard": -1.0, "absolute": -0.10}

_Array = NDArray[np.integer | np.floating]
Counts = dict[str, float]


_LIMITED = ("params", "memory", "latency")

_LARGEST = 1e300  # that arithmetic can still work with


def exponent_of(kind: str, exponent: float | None = None) -> float:
    """The exponent of a kind of reward; its default where none is given.

    Raises:
        UsageError: there is no such kind, or its reward would grow with FLOPs.
    """
    if not isinstance(kind, str) or kind not in DEFAULT_EXPONENTS:
        raise UsageError(f"objective {kind!r}; allowed: {', '.join(DEFAULT_EXPONENTS)}")
    if exponent is None:
        return DEFAULT_EXPONENTS[kind]
    if not isinstance(exponent, int | float):
        raise UsageError(f"exponent {exponent!r}; allowed: a number, zero or below")
    if not -_LARGEST < exponent <= 0:
        raise UsageError(
            f"exponent {exponent!r}; allowed: zero or below, as {-abs(exponent):g}: "
            "summaries print 0.07, but a positive exponent would reward more FLOPs"
        )
    return exponent


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """A reward with its target, and the limits beside it.

    Attributes:
        target: T, in multiply-adds at the deployment resolution, seconds or bytes.
        metric: what T is of: `flops`, `latency` or `memory`.
        kind: `soft`, `hard` or `absolute`.
        exponent: w, hard's w above the target, or absolute's b; never positive. None takes the
            kind's default.
        max_params: P, the most parameters; None for no limit.
        max_memory: M, the most bytes of fp32 inference at batch 1; None for no limit.
        max_latency: L, the most seconds of one forward pass; None for no limit.
        latency: the table that predicts latencies; needed where they are limited.
    """

    target: float
    metric: str = "flops"
    kind: str = "soft"
    exponent: float | None = None
    max_params: float | None = None
    max_memory: float | None = None
    max_latency: float | None = None
    latency: "LatencyTable | None" = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "exponent", exponent_of(self.kind, self.exponent))
        if self.metric not in TARGETS:
            raise UsageError(f"metric {self.metric!r}; allowed: {', '.join(TARGETS)}")
        name = "FLOPs" if self.metric == "flops" else self.metric
        positive = {f"target {name}": self.target, **self.limits}
        for name, value in positive.items():
            number = isinstance(value, int | float) and value < _LARGEST
            if not (number and value > 0):
                raise UsageError(f"{name} {value!r}; allowed: a positive number")
        if "latency" in self.bounds and self.latency is None:
            raise UsageError("a bound on latency without a table of latencies; allowed: with one")

    @property
    def _w(self) -> float:
        assert self.exponent is not None  # set by __post_init__
        return self.exponent

    def reward(self, accuracy: float, count: float) -> float:
        """The reward of a network with so much of what is targeted (multiply-adds, seconds,
        bytes); accuracy as a fraction."""
        slope, offset = self.line(np.array([count]))
        return float(slope[0]) * accuracy + float(offset[0])

    def reward_of(self, accuracy: float, network: Network) -> float:
        """The reward of a network."""
        return self.reward(accuracy, self.counts(network)[self.count])

    def line(self, counts: _Array) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Slope [N] and offset [N] of the rewards in the accuracy, for networks with so much of
        what is targeted [N]."""
        ratio = counts / self.target
        if self.kind == "absolute":
            return np.ones(len(ratio)), self._w * np.abs(ratio - 1)
        factor = np.where((self.kind == "soft") | (ratio > 1), ratio**self._w, 1.0)
        return factor, np.zeros(len(ratio))

    @property
    def count(self) -> str:
        """What is targeted, by its name in counts and trials."""
        return METRICS[self.metric].count

    def target_cost(self, counted: object) -> float:
        """How much there is of what is targeted: an attribute of a trial."""
        found: float | None = getattr(counted, self.count)
        if found is None:
            raise UsageError(f"a trial without {self.count}; allowed: with it")
        return found

    @property
    def limits(self) -> dict[str, float]:
        """The limits beside the target that are given, by name."""
        given = {f"max_{name}": getattr(self, f"max_{name}") for name in _LIMITED}
        return {name: most for name, most in given.items() if most is not None}

    @property
    def bounds(self) -> dict[str, float]:
        """What is allowed of each metric that is bounded: the target, then the limits."""
        limits = {name.removeprefix("max_"): most for name, most in self.limits.items()}
        most = min(self.target, limits.get(self.metric, math.inf))
        return {self.metric: most} | {n: m for n, m in limits.items() if n != self.metric}

    @property
    def constraint(self) -> str:
        """What a winner keeps, in words: 400M FLOPs, 4M params and 20MB of memory."""
        words = [METRICS[name].text(most) for name, most in self.bounds.items()]
        return ", ".join(words[:-1]) + " and " * (len(words) > 1) + words[-1]

    def keeps(self, counts: Mapping[str, _Array]) -> NDArray[np.bool_]:
        """Whether networks keep all constraints [N], by their counts [N] (`macs`, `params`,
        `inference_memory`, `latency`). What is not counted is held against no limit."""
        kept: NDArray[np.bool_] = np.logical_and.reduce(
            [count <= most for count, most in self._bounded(counts)]
        )
        return kept

    def constraint_violation(self, counts: Mapping[str, _Array]) -> NDArray[np.float64]:
        """How far networks are beyond the constraint that they break most, as the logarithm of
        its count over what is allowed [N]; at most 0 where all are kept."""
        bounded = self._bounded(counts)
        most: NDArray[np.float64] = np.max([np.log(n / most) for n, most in bounded], axis=0)
        return most

    def within(
        self,
        macs: float,
        params: float | None = None,
        inference_memory: float | None = None,
        latency: float | None = None,
    ) -> bool:
        """Whether one network keeps all constraints; see `keeps`."""
        given = (macs, params, inference_memory, latency)
        names = (metric.count for metric in METRICS.values())
        counts = {n: np.array([c]) for n, c in zip(names, given, strict=True) if c is not None}
        return bool(np.all(self.keeps(counts)))

    def admits(self, network: Network) -> bool:
        """Whether a network keeps all constraints."""
        return self.within(**self.counts(network))

    def counts(self, network: Network) -> Counts:
        """What decides about a network, as trials and journals hold it: `macs`, `params`, and
        `inference_memory` and `latency` where they are bounded."""
        counted = cost(network)
        counts: Counts = {"macs": counted.macs, "params": counted.params}
        if "memory" in self.bounds:
            if counted.inference_memory is None:
                raise UsageError(
                    f"a bound of {format_bytes(self.bounds['memory'])} on the memory of a network "
                    "that is no chain of stages, which is not known; allowed: no such bound"
                )
            counts["inference_memory"] = counted.inference_memory
        if "latency" in self.bounds and self.latency is not None:
            counts["latency"] = self.latency.predict(network).seconds
        return counts

    def _bounded(self, counts: Mapping[str, _Array]) -> list[tuple[_Array, float]]:
        """Counts [N] with what is allowed of them."""
        pairs = [(METRICS[name].count, most) for name, most in self.bounds.items()]
        return [(counts[count], most) for count, most in pairs if count in counts]
