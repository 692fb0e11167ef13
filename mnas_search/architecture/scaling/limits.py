"""Equation (2): the largest network of a family that keeps its constraints.

max over phi  of  the network scaled by phi
subject to    FLOPs <= T,  params <= P,  memory <= M
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.cost.memory import inference_memory, training_memory
from mnas_search.architecture.scaling.equations import CompoundRule, Rounding, compound
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import InvalidArchitecture, UsageError
from mnas_search.common.units import format_size

STEPS = 1000  # of phi, a unit
_FAR = 100 * STEPS


@dataclass(frozen=True, slots=True, kw_only=True)
class Limit:
    """A constraint.

    Attributes:
        name: of what is limited.
        maximum: its largest value.
        measure: the value of a network.
    """

    name: str
    maximum: float
    measure: Callable[[Architecture], float]

    def is_met(self, network: Architecture) -> bool:
        """Whether the network keeps it."""
        return self.measure(network) <= self.maximum


def limits(
    *,
    max_flops: float | None = None,
    max_params: float | None = None,
    max_memory: float | None = None,
    batch_size: int | None = None,
) -> list[Limit]:
    """The constraints that are given.

    Args:
        max_flops: multiply-adds of one image.
        max_params: trainable parameters.
        max_memory: bytes, of inference at batch 1, or of training where there is a batch size
            (`mnas_search.architecture.cost.memory`).
        batch_size: images a training step.
    """
    if batch_size is not None and batch_size < 1:
        raise UsageError(f"batch size {batch_size}; allowed: a whole number from 1")

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
    """The largest member of a family within all limits.

    Attributes:
        phi: in steps of 0.001.
        member: the base scaled by it.
        binding: names of the limits that the next step breaks; none where a larger network cannot
            be scaled at all.
    """

    phi: float
    member: Architecture
    binding: tuple[str, ...]


def largest_member(
    base: Architecture,
    limits: Sequence[Limit],
    rule: CompoundRule | None = None,
    rounding: Rounding | None = None,
) -> LargestMember:
    """The largest phi, in steps of 0.001, at which every limit is kept.

    FLOPs, params and memory do not fall as phi grows, so that it is found by bisection. (Where
    channels are down to the smallest multiple, memory can: two widths become equal and a shortcut
    appears. What is returned keeps its limits there too.)

    Raises:
        UsageError: no member keeps them.
    """
    rule = rule or CompoundRule()
    if rule.product == 1:
        raise UsageError("alpha, beta and gamma are all 1; allowed: one of them above 1")

    def member(step: int) -> Architecture | None:
        try:
            return compound(base, step / STEPS, rule, rounding)
        except (UsageError, InvalidArchitecture):
            return None

    def exists(step: int) -> bool:
        return member(step) is not None

    def fits(step: int) -> bool:
        network = member(step)
        return network is not None and all(limit.is_met(network) for limit in limits)

    smallest = -last_true(lambda step: exists(-step), 0, _FAR)
    if not fits(smallest):
        least = compound(base, smallest / STEPS, rule, rounding)
        broken = next(limit for limit in limits if not limit.is_met(least))
        raise UsageError(
            f"{broken.name} of at most {format_size(broken.maximum)} cannot be kept; allowed: at "
            f"least {format_size(broken.measure(least))}, at phi {smallest / STEPS:g}"
        )
    step = last_true(fits, smallest, _FAR)
    network, larger = member(step), member(step + 1)
    assert network is not None
    return LargestMember(
        phi=step / STEPS,
        member=network,
        binding=()
        if larger is None
        else tuple(limit.name for limit in limits if not limit.is_met(larger)),
    )


def last_true(holds: Callable[[int], bool], low: int, high: int) -> int:
    """The last number up to `high` at which something holds that holds at `low`, and nowhere again
    once it does not."""
    if holds(high):
        return high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low
