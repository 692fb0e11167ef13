"""What a controller is told: decisions, objective and exact costs of any batch of codes."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnas_search.architecture.cost.base import CONVENTION, MEMORY_CONVENTION
from mnas_search.architecture.cost.metrics import METRICS
from mnas_search.common.errors import UsageError
from mnas_search.nas.objective import Objective
from mnas_search.nas.space.choices import Codes, Decision
from mnas_search.nas.space.contract import BatchAccuracy, BatchBlocks, BatchCosts, SearchSpace
from mnas_search.nas.space.cost import SpaceCost, space_cost
from mnas_search.nas.space.cost_model import CostModel

_CONVENTIONS = {
    "flops": CONVENTION,
    "params": "trainable parameters",
    "memory": MEMORY_CONVENTION,
    "latency": "predicted by the table of latencies",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What a controller is told about the search.

    Attributes:
        decisions: what is open.
        objective: the reward, the target and the limits.
        costs: exact costs by name of any batch of codes, before any training.
        prior: accuracies predicted from other evidence than this search's own (`--prior`), on a
            scale of their own; None where there is none.
        blocks: number of blocks of any batch of codes; None where it is not known.
        validation_images: number of images that an accuracy is counted on; None where it is not
            known or accuracies are no counts.
    """

    decisions: tuple[Decision, ...]
    objective: Objective
    costs: BatchCosts
    prior: BatchAccuracy | None = None
    blocks: BatchBlocks | None = None
    validation_images: int | None = None

    def is_feasible(self, codes: Codes) -> NDArray[np.bool_]:
        """Return whether networks of these codes [N, D] keep the target and all limits [N]; no
        others can win."""
        bounded = self.objective.bounded(self.costs(codes))
        feasible: NDArray[np.bool_] = np.logical_and.reduce([n <= bound for n, bound in bounded])
        return feasible

    def constraint_violation(self, codes: Codes) -> NDArray[np.float64]:
        """Return how far networks of these codes [N, D] exceed the bound that they exceed most
        [N]: the logarithm of cost over bound, at most 0 where all are kept."""
        return self.objective.constraint_violation(self.costs(codes))

    def target_cost(self, codes: Codes) -> NDArray[np.int64 | np.float64]:
        """Return the costs of networks of these codes [N, D] in the target's unit [N]:
        multiply-adds, seconds or bytes."""
        return self.objective.target_cost(self.costs(codes))


def problem(
    space: SearchSpace,
    objective: Objective,
    prior: BatchAccuracy | None = None,
    model: CostModel | None = None,
) -> Problem:
    """Return what a controller of this space is told; `model` counts what the objective bounds,
    and is required where that is latency."""
    counter = space_cost(space, model or CostModel(metrics=tuple(objective.bounds)))
    return Problem(
        decisions=space.decisions,
        objective=objective,
        costs=counter,
        prior=prior,
        blocks=counter.blocks,
    )


def check_feasible(objective: Objective, counter: SpaceCost, space: str) -> None:
    """Raise `UsageError` for a bound below all networks of the space called `space`."""
    for name, bound in objective.bounds.items():
        found = counter.feasible_range(name)
        if found is None or bound >= found.low:
            continue
        metric = METRICS[name]
        ends = f"from {metric.text(found.low)}"
        if found.high is not None:
            ends = f"{metric.amount(found.low)} to {metric.amount(found.high)}"
        less = "fewer" if name in ("flops", "params") else "less"
        exact = "" if name == "latency" else f", from {found.low:,} exactly"
        raise UsageError(
            f"no network in space {space!r} has {metric.text(bound)} or {less} "
            f"(range: {ends}{exact}; {_CONVENTIONS[name]})"
        )
