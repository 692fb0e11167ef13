"""Equation (2): the largest network of a family that meets its constraints.

max over phi  of  the network scaled by phi
subject to    FLOPs <= T,  params <= P,  memory <= M
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.cost.memory import inference_memory, training_memory
from mnas_search.architecture.scaling.equations import (
    CompoundRule,
    Rounding,
    compound,
    compound_or_none,
    last_true,
)
from mnas_search.architecture.value import Architecture
from mnas_search.common.checks import check_integer
from mnas_search.common.errors import UsageError
from mnas_search.common.units import format_size

STEPS = 1000  # steps of the search per unit of phi
_MAX_STEP = 100 * STEPS


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A constraint."""

    name: str  # of the metric
    maximum: float  # the largest feasible value
    measure: Callable[[Architecture], float]  # computes the value of a network

    def is_met(self, network: Architecture) -> bool:
        """Tell whether a network meets the constraint."""
        return self.measure(network) <= self.maximum


def limits(
    *,
    max_flops: float | None = None,
    max_params: float | None = None,
    max_memory: float | None = None,
    batch_size: int | None = None,
) -> list[Limit]:
    """Return the given constraints.

    Args:
        max_flops: multiply-adds of one image.
        max_params: trainable parameters.
        max_memory: bytes of inference at batch 1, or of training if `batch_size` is given
            (`mnas_search.architecture.cost.memory`).
        batch_size: images per training step.
    """
    if batch_size is not None:
        check_integer("batch size", batch_size, 1)

    def memory(network: Architecture) -> float:
        if batch_size is None:
            return inference_memory(network)
        return training_memory(network, batch_size)

    named = "memory" if batch_size is None else f"memory of training at batch {batch_size}"
    wanted: list[tuple[str, float | None, Callable[[Architecture], float]]] = [
        ("FLOPs", max_flops, lambda network: cost(network).macs),
        ("params", max_params, lambda network: cost(network).params),
        (named, max_memory, memory),
    ]
    return [
        Limit(name=name, maximum=maximum, measure=measure)
        for name, maximum, measure in wanted
        if maximum is not None
    ]


@dataclass(frozen=True, slots=True, kw_only=True)
class LargestMember:
    """The largest member of a family that meets all limits."""

    phi: float  # in steps of 0.001
    member: Architecture  # the base scaled by it
    # names of the limits that the next step breaks; empty if the base cannot be scaled further
    binding: tuple[str, ...]


def largest_member(
    base: Architecture,
    limits: Sequence[Limit],
    rule: CompoundRule | None = None,
    rounding: Rounding | None = None,
) -> LargestMember:
    """Find the largest phi, in steps of 0.001, at which every limit is met, by bisection.

    FLOPs, params and memory do not fall as phi grows, except memory at the smallest widths, where
    two widths become equal and a shortcut appears. The result meets its limits there too.

    Raises:
        UsageError: no member of the family meets them.
    """
    rule = rule or CompoundRule()
    if rule.product == 1:
        raise UsageError("one of alpha, beta and gamma must be above 1, got 1 for each")

    def member(step: int) -> Architecture | None:
        return compound_or_none(base, step / STEPS, rule, rounding)

    def fits(step: int) -> bool:
        network = member(step)
        return network is not None and all(limit.is_met(network) for limit in limits)

    smallest = -last_true(lambda step: member(-step) is not None, 0, _MAX_STEP)
    if not fits(smallest):
        least = compound(base, smallest / STEPS, rule, rounding)
        limit = next(limit for limit in limits if not limit.is_met(least))
        raise UsageError(
            f"max {limit.name} must be {format_size(limit.measure(least))} or more (the smallest "
            f"member, at phi {smallest / STEPS:g}), got {format_size(limit.maximum)}"
        )
    step = last_true(fits, smallest, _MAX_STEP)
    network, larger = member(step), member(step + 1)
    assert network is not None
    broken = [limit.name for limit in limits if larger is not None and not limit.is_met(larger)]
    return LargestMember(phi=step / STEPS, member=network, binding=tuple(broken))
