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
from mnas_search.architecture.scaling.equations import CompoundRule, Rounding, compound
from mnas_search.architecture.scaling.limits import last_true
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import InvalidArchitecture, UsageError
from mnas_search.common.units import format_size

BASE = "base"
_STEPS = 1000  # of phi or of the logarithm of a coefficient, a unit
_FAR = 12 * _STEPS
_CLOSE = 0.25  # share of the budget beyond which a network is none for it

_ALONE = {
    "depth": CompoundRule(alpha=2, beta=1, gamma=1),
    "width": CompoundRule(alpha=1, beta=2, gamma=1),
    "resolution": CompoundRule(alpha=1, beta=1, gamma=2),
}
DIMENSIONS = (*_ALONE, "compound")


@dataclass(frozen=True, slots=True, kw_only=True)
class ScaledNetwork:
    """The base, scaled in one way to one budget.

    Attributes:
        dimension: `depth`, `width`, `resolution` or `compound`; `base` of the base itself.
        budget: FLOPs that it was to have.
        depth, width, resolution: coefficients of equation 3.
        network, cost: what came out.
    """

    dimension: str
    budget: float
    depth: float
    width: float
    resolution: float
    network: Architecture
    cost: Cost


def budgets(base: Architecture, wanted: Sequence[float] = ()) -> tuple[float, ...]:
    """Return the wanted FLOPs, or 2, 4 and 8 times the base's.

    Raises:
        UsageError: one is no more than the base has.
    """
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
    """Scale the base by each dimension and by all three, to every budget.

    Raises:
        UsageError: no network comes within a quarter of a budget.
    """
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
    def scaled(step: int) -> Architecture | None:
        try:
            return compound(base, step / _STEPS, rule, rounding)
        except (UsageError, InvalidArchitecture):
            return None

    def within(step: int) -> bool:
        network = scaled(step)
        return network is not None and cost(network).macs <= budget

    low = last_true(within, 0, _FAR)
    networks = {step: network for step in (low, low + 1) if (network := scaled(step)) is not None}
    step = min(networks, key=lambda step: abs(math.log(cost(networks[step]).macs / budget)))
    network, phi = networks[step], step / _STEPS
    counted = cost(network)
    if abs(counted.macs / budget - 1) > _CLOSE:
        raise UsageError(
            f"no network scaled by {dimension} has about {format_size(budget)} FLOPs; the nearest "
            f"has {counted.macs:,}"
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
        cost=counted,
    )
