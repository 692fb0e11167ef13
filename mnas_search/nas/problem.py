"""What a controller is told: decisions, objective and exact costs of any batch of codes."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnas_search.architecture.cost.base import CONVENTION, MEMORY_CONVENTION
from mnas_search.architecture.cost.metrics import METRICS
from mnas_search.common.errors import UsageError
from mnas_search.nas.objective import Objective
from mnas_search.nas.space.choices import Codes, Decision
from mnas_search.nas.space.contract import (
    BatchAccuracy,
    BatchCost,
    BatchLatency,
    BatchMemory,
    SearchSpace,
)
from mnas_search.nas.space.cost import Range, SpaceCost, space_cost


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What a controller is told about the search.

    Attributes:
        decisions: what is open.
        objective: the reward, the target and the limits.
        cost: exact multiply-adds and params of any batch of codes, before any training.
        memory: the same of inference memory; None where nothing bounds it.
        latency: predicted latency of any batch of codes; None where nothing bounds it.
        prior: accuracies predicted from other evidence than this search's own (`--prior`), on a
            scale of their own; None where there is none.
    """

    decisions: tuple[Decision, ...]
    objective: Objective
    cost: BatchCost
    memory: BatchMemory | None = None
    latency: BatchLatency | None = None
    prior: BatchAccuracy | None = None

    def __post_init__(self) -> None:
        for name, most in self.objective.bounds.items():
            if name in ("memory", "latency") and getattr(self, name) is None:
                raise UsageError(
                    f"at most {most:g} of {name} for a problem without `{name}`; allowed: with "
                    "it, as `mnas_search.nas.core.problem` makes it"
                )

    def within(self, codes: Codes) -> NDArray[np.bool_]:
        """Whether networks of these codes [N, D] keep the target and all limits [N]; no others
        can win."""
        return self.objective.keeps(self._bounded(codes))

    def constraint_violation(self, codes: Codes) -> NDArray[np.float64]:
        """How far networks of these codes [N, D] are beyond what they break most [N]: the
        logarithm of its count over what is allowed, at most 0 within."""
        return self.objective.constraint_violation(self._bounded(codes))

    def target_cost(self, codes: Codes) -> NDArray[np.int64 | np.float64]:
        """How much networks of these codes [N, D] have of what the target is of [N]:
        multiply-adds, seconds or bytes."""
        if self.objective.metric == "latency" and self.latency is not None:
            return self.latency(codes)
        if self.objective.metric == "memory" and self.memory is not None:
            return self.memory(codes)
        return self.cost(codes)[0]

    def _bounded(self, codes: Codes) -> dict[str, NDArray[np.int64 | np.float64]]:
        macs, params = self.cost(codes)
        counts: dict[str, NDArray[np.int64 | np.float64]] = {"macs": macs, "params": params}
        if "memory" in self.objective.bounds and self.memory is not None:
            counts["inference_memory"] = self.memory(codes)
        if "latency" in self.objective.bounds and self.latency is not None:
            counts["latency"] = self.latency(codes)
        return counts


def _memory(counter: SpaceCost) -> Range | None:
    least = counter.min_memory  # the most is not known
    return None if least is None else Range(low=least, high=least)


_REACHABLE: dict[str, Callable[[SpaceCost], Range | None]] = {
    "flops": lambda counter: counter.feasible_range,
    "params": lambda counter: counter.feasible_params,
    "memory": _memory,
    "latency": lambda counter: counter.feasible_latency,
}


_CONVENTIONS = {
    "flops": CONVENTION,
    "params": "trainable parameters",
    "memory": MEMORY_CONVENTION,
    "latency": "predicted by the table of latencies",
}


def problem(
    space: SearchSpace, objective: Objective, prior: BatchAccuracy | None = None
) -> Problem:
    """What a controller of this space is told."""
    counter = space_cost(space, objective.latency)
    return Problem(
        decisions=space.decisions,
        objective=objective,
        cost=counter,
        memory=counter.inference_memory,
        latency=counter.latency,
        prior=prior,
    )


def check_feasible(objective: Objective, counter: SpaceCost, space: str) -> None:
    """Raise `UsageError` for a target or limit that lies below all networks of the space called
    `space`; says what they have."""
    for name, most in objective.bounds.items():
        found = _REACHABLE[name](counter)
        if found is None or most >= found.low:
            continue
        amount, text = METRICS[name].amount, METRICS[name].text
        ends = text(found.low)
        if found.high > found.low:
            ends = f"{amount(found.low)} to {text(found.high)}"
        exact = "" if name == "latency" else f", from {found.low:,} exactly"
        raise UsageError(
            f"at most {text(most)} cannot be reached; allowed: space {space!r} goes from "
            f"{ends}{exact} ({_CONVENTIONS[name]})"
        )
