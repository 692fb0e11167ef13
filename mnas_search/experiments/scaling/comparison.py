"""One dimension against all three at equal FLOPs (EfficientNet figure 8, tables 3 and 7).

The paper's rows that scale one dimension do not recount to the FLOPs printed beside them: B0 with
depth 4, width 2 or resolution 2 has 1.45G to 1.58G multiply-adds where 1.8G and 1.9G are printed.
So coefficients are found here by counting: each dimension is scaled until the network has as many
as the budget, as nearly as whole blocks, channels and pixels allow.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from mnas_search.architecture.cost.base import Cost
from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.scaling.equations import (
    CompoundRule,
    Rounding,
    compound,
    compound_or_none,
    last_true,
)
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import UsageError
from mnas_search.common.units import format_size

BASE = "base"
_STEPS = 1000  # of phi or of the logarithm of a coefficient, a unit
_FAR = 12 * _STEPS
_CLOSE = 0.25  # largest deviation from the budget, as a share of it

_ALONE = {
    "depth": CompoundRule(alpha=2, beta=1, gamma=1),
    "width": CompoundRule(alpha=1, beta=2, gamma=1),
    "resolution": CompoundRule(alpha=1, beta=1, gamma=2),
}
DIMENSIONS = (*_ALONE, "compound")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaledNetwork:
    """The base, scaled in one dimension, or by all, to one budget."""

    dimension: str  # `depth`, `width`, `resolution` or `compound`; `base` for the base itself
    budget: float  # the FLOPs to reach
    # depth, width, resolution: coefficients of equation 3
    depth: float = 1.0
    width: float = 1.0
    resolution: float = 1.0
    network: Architecture

    @property
    def cost(self) -> Cost:
        """The network's cost."""
        return cost(self.network)


def budgets(base: Architecture, wanted: Sequence[float] = ()) -> tuple[float, ...]:
    """Return the wanted FLOPs, or 2, 4 and 8 times the base's. Raises `UsageError` if one is no
    more than the base has."""
    own = cost(base).macs
    found = tuple(wanted) or tuple(float(factor * own) for factor in (2, 4, 8))
    for budget in found:
        if budget <= own:
            raise UsageError(
                f"budget must be above the {own:,} FLOPs of the base, got {format_size(budget)}"
            )
    return tuple(sorted(set(found)))


def comparison(
    base: Architecture,
    wanted: Sequence[float] = (),
    rule: CompoundRule | None = None,
    rounding: Rounding | None = None,
) -> tuple[ScaledNetwork, ...]:
    """Scale the base by each dimension and by all three, to every budget. Raises `UsageError` if
    no network comes within a quarter of a budget."""
    rules = _ALONE | {"compound": rule or CompoundRule()}
    return tuple(
        _nearest(base, dimension, rules[dimension], budget, rounding)
        for budget in budgets(base, wanted)
        for dimension in DIMENSIONS
    )


def _nearest(
    base: Architecture,
    dimension: str,
    rule: CompoundRule,
    budget: float,
    rounding: Rounding | None,
) -> ScaledNetwork:
    def share(step: int) -> float:
        network = compound_or_none(base, step / _STEPS, rule, rounding)
        return math.inf if network is None else cost(network).macs / budget

    low = last_true(lambda step: share(step) <= 1, 0, _FAR)
    phi = min((low, low + 1), key=lambda step: abs(math.log(share(step)))) / _STEPS
    network = compound(base, phi, rule, rounding)
    macs = cost(network).macs
    if abs(macs / budget - 1) > _CLOSE:
        raise UsageError(
            f"no network scaled by {dimension} has about {format_size(budget)} FLOPs; the nearest "
            f"has {macs:,}"
        )
    return ScaledNetwork(
        dimension=dimension,
        budget=budget,
        depth=rule.alpha**phi,
        width=rule.beta**phi,
        resolution=rule.gamma**phi,
        network=replace(
            network,
            dropout_rate=base.dropout_rate,
            name=f"{base.label} {dimension} {format_size(budget)}",
        ),
    )
