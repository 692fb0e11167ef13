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
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from mnas_search.architecture.cost.metrics import METRICS, TARGETS
from mnas_search.common.errors import UsageError
from mnas_search.nas.space.cost_model import Costs

DEFAULT_EXPONENTS = {"soft": -0.07, "hard": -1.0, "absolute": -0.10}

_Array = NDArray[np.integer | np.floating]
_Value = TypeVar("_Value")

_LIMITED = ("params", "memory", "latency")

_LARGEST = 1e300  # that arithmetic can still work with


def exponent_of(kind: str, exponent: float | None = None) -> float:
    """Return the exponent of a kind of reward; its default where none is given. Raises
    `UsageError` if there is no such kind, or its reward would grow with FLOPs."""
    if not isinstance(kind, str) or kind not in DEFAULT_EXPONENTS:
        raise UsageError(f"objective must be one of {', '.join(DEFAULT_EXPONENTS)}, got {kind!r}")
    if exponent is None:
        return DEFAULT_EXPONENTS[kind]
    if not isinstance(exponent, int | float) or not -_LARGEST < exponent <= 0:
        raise UsageError(
            f"exponent must be a number of at most 0, got {exponent!r}: summaries print 0.07 for "
            "-0.07, but a positive exponent would reward more FLOPs"
        )
    return exponent


@dataclass(frozen=True, slots=True, kw_only=True)
class Objective:
    """A reward with its target, and the limits besides.

    Attributes:
        target: T, in multiply-adds at the deployment resolution, seconds or bytes.
        metric: what T bounds: `flops`, `latency` or `memory`.
        kind: `soft`, `hard` or `absolute`.
        exponent: w, hard's w above the target, or absolute's b; never positive. None takes the
            kind's default.
        max_params: P, the most parameters; None for no limit.
        max_memory: M, the most bytes of fp32 inference at batch 1; None for no limit.
        max_latency: L, the most seconds of one forward pass; None for no limit.
    """

    target: float
    metric: str = "flops"
    kind: str = "soft"
    exponent: float | None = None
    max_params: float | None = None
    max_memory: float | None = None
    max_latency: float | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "exponent", exponent_of(self.kind, self.exponent))
        if self.metric not in TARGETS:
            raise UsageError(f"metric must be one of {', '.join(TARGETS)}, got {self.metric!r}")
        target = "target FLOPs" if self.metric == "flops" else f"target {self.metric}"
        for name, value in {target: self.target, **self.limits}.items():
            if not (isinstance(value, int | float) and 0 < value < _LARGEST):
                raise UsageError(f"{name} must be a positive number, got {value!r}")

    @property
    def _w(self) -> float:
        assert self.exponent is not None  # set by __post_init__
        return self.exponent

    def reward(self, accuracy: float, target_cost: float) -> float:
        """Return the reward of a network; accuracy as a fraction, `target_cost` in the target's
        unit (multiply-adds, seconds, bytes)."""
        slope, offset = self.affine_in_accuracy(np.array([target_cost]))
        return float(slope[0]) * accuracy + float(offset[0])

    def reward_of(self, accuracy: float, costs: Costs) -> float:
        """Return the reward of a network by all its costs."""
        return self.reward(accuracy, self.target_cost(costs))

    def affine_in_accuracy(
        self, target_costs: _Array
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Return slope [N] and offset [N] of the rewards in the accuracy, for networks with these
        costs [N] in the target's unit."""
        ratio = target_costs / self.target
        if self.kind == "absolute":
            return np.ones(len(ratio)), self._w * np.abs(ratio - 1)
        factor = np.where((self.kind == "soft") | (ratio > 1), ratio**self._w, 1.0)
        return factor, np.zeros(len(ratio))

    def target_cost(self, costs: Mapping[str, _Value]) -> _Value:
        """Return the cost that the target bounds."""
        return _cost(costs, METRICS[self.metric].count)

    @property
    def limits(self) -> dict[str, float]:
        """The limits besides the target that are given, by name."""
        given = {f"max_{name}": getattr(self, f"max_{name}") for name in _LIMITED}
        return {name: limit for name, limit in given.items() if limit is not None}

    @property
    def bounds(self) -> dict[str, float]:
        """The upper bound of each metric that has one: the target's, then the limits'."""
        limits = {name.removeprefix("max_"): limit for name, limit in self.limits.items()}
        return (
            {self.metric: self.target}
            | limits
            | {self.metric: min(self.target, limits.get(self.metric, math.inf))}
        )

    @property
    def constraint(self) -> str:
        """The bounds in words: 400M FLOPs, 4M params and 20MB of memory."""
        words = [METRICS[name].text(bound) for name, bound in self.bounds.items()]
        return ", ".join(words[:-1]) + " and " * (len(words) > 1) + words[-1]

    def bounded(self, costs: Mapping[str, _Value]) -> list[tuple[_Value, float]]:
        """Return the costs that are bounded, each with its bound."""
        return [(_cost(costs, METRICS[name].count), bound) for name, bound in self.bounds.items()]

    def is_feasible(self, costs: Costs) -> bool:
        """Return whether a network with these costs keeps the target and all limits."""
        return all(found <= bound for found, bound in self.bounded(costs))

    def constraint_violation(self, costs: Mapping[str, _Array]) -> NDArray[np.float64]:
        """Return how far networks exceed the bound that they exceed most [N]: the logarithm of
        cost over bound, at most 0 where all are kept."""
        violation: NDArray[np.float64] = np.max(
            [np.log(found / bound) for found, bound in self.bounded(costs)], axis=0
        )
        return violation


def _cost(costs: Mapping[str, _Value], name: str) -> _Value:
    if name not in costs:
        raise UsageError(f"the objective requires {name}, got {', '.join(costs)}")
    return costs[name]
