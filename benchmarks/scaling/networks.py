"""Base networks at 16 pixels, scaled by one dimension and by all three to the same FLOPs.

At so few pixels `mnas_search.experiments.scaling.comparison` misses a budget by up to a quarter:
a pixel more is 10 % of the FLOPs, ceil(depth * repeats) adds a block to several stages at once,
and channels are multiples of 8. Here the budget is what a whole number of pixels gives, the
nearest one to the wanted FLOPs that depth can reach, too; blocks are added one at a time, to the
stage that has the fewest in proportion; channels are whole numbers, and where a resolution is
rounded it is to an even one, because a stride of 2 computes an odd one as if it had a pixel more.
"""

import math
from collections.abc import Iterator
from dataclasses import replace

from mnas_search.architecture.adaptation import adapt
from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.scaling import CompoundRule, scale, widest
from mnas_search.architecture.scaling.equations import last_true
from mnas_search.architecture.stage import Stem
from mnas_search.architecture.value import MAX_BLOCKS, Architecture
from mnas_search.experiments.resolve import resolve_architecture
from mnas_search.experiments.scaling.comparison import ScaledNetwork

PIXELS = 16
RESNET = "resnet20"  # that of arXiv 1512.03385, section 4.2, for images of 32 pixels
BASES = ("mobilenet_v2", "efficientnet_b0", RESNET, "mobilenet_v1")
EQUAL = 0.02  # largest deviation from the budget, as a share of it
_FAR = 1.25  # largest ratio of a budget to the wanted FLOPs, or of these to it
_NEAR = 1.5  # blocks: the nearest number, or one more or less
_STEPS = 10_000  # of a width factor, a unit
_RESNET_STAGES = "basic_r3_k3_s1_e1_c16_nre basic_r3_k3_s2_e1_c32_nre basic_r3_k3_s2_e1_c64_nre"


def make_base(name: str, *, flops: float, num_classes: int) -> Architecture:
    """Return a network at 16 pixels, as wide as `flops` allows.

    Args:
        name: `resnet20`, or what `resolve_architecture` reads: a name, a file, a run's folder.

    Raises:
        UsageError: it cannot be made so small.
    """
    own = _resnet() if name == RESNET else resolve_architecture(name)
    small = replace(adapt(own, PIXELS), num_classes=num_classes)
    return widest(small, lambda network: cost(network).macs <= flops)


def _resnet() -> Architecture:
    return Architecture.from_block_string(
        _RESNET_STAGES,
        name=RESNET,
        stem=Stem(channels=16, stride=1),
        head_channels=None,
        activation="relu",
        resolution=32,
    )


def reached(one: ScaledNetwork) -> bool:
    """Return whether a network has the FLOPs of its budget, within 2 %."""
    return _missed(one.network, one.budget) <= EQUAL


def compare(
    base: Architecture, factor: float, rule: CompoundRule | None = None
) -> tuple[ScaledNetwork, ...]:
    """Scale a base by each dimension, and by all three, to about `factor` times its FLOPs.

    The budget is what a resolution has: the nearest to `factor` times the base's FLOPs at which
    depth is within 2 % of it; without one, that at which depth is nearest.
    """
    rule, own, blocks = rule or CompoundRule(), cost(base).macs, _count_blocks(base)
    deep = {cost(one).macs: one for one in _deeper(base, _FAR**2 * factor * own)}
    resolutions = dict(_larger(base, factor * own))

    def preference(budget: int) -> tuple[float, float]:
        missed = min(abs(macs / budget - 1) for macs in deep)
        return max(missed, EQUAL), abs(math.log(budget / own / factor))

    budget = min(resolutions, key=preference)
    phi = math.log(budget / own) / math.log(rule.product)
    pixels = _even(rule.gamma**phi * base.resolution)
    parts = [
        replace(one, resolution=pixels)
        for one in deep.values()
        if abs(_count_blocks(one) - rule.alpha**phi * blocks) < _NEAR
    ]
    found = {
        "depth": (1.0, min(deep.values(), key=lambda one: _missed(one, budget))),
        "width": _widened(base, budget),
        "resolution": (1.0, resolutions[budget]),
        "compound": min(
            (_widened(one, budget) for one in parts), key=lambda one: _missed(one[1], budget)
        ),
    }
    return tuple(
        ScaledNetwork(
            dimension=dimension,
            budget=float(budget),
            depth=_count_blocks(network) / blocks,
            width=width,
            resolution=network.resolution / base.resolution,
            network=replace(network, name=f"{base.label} {dimension} x{budget / own:.3g}"),
        )
        for dimension, (width, network) in found.items()
    )


def realise(base: Architecture, rule: CompoundRule) -> Architecture:
    """Scale a base by equation 3 at phi = 1, with the blocks added one at a time, and with whole
    channels and pixels."""
    wanted = rule.alpha * _count_blocks(base)
    chain = _deeper(base, cost(base).macs * (rule.alpha + 1))
    deep = min(chain, key=lambda one: abs(_count_blocks(one) - wanted))
    resolution = _even(rule.gamma * base.resolution)
    return scale(deep, width=rule.beta, resolution=resolution, name=base.name, divisor=1)


def _even(pixels: float) -> int:
    return 2 * round(pixels / 2)


def _count_blocks(network: Architecture) -> int:
    return sum(stage.repeats for stage in network.stages)


def _missed(network: Architecture, budget: float) -> float:
    return abs(cost(network).macs / budget - 1)


def _deeper(base: Architecture, most: float) -> Iterator[Architecture]:
    """Yield the base, and it with more and more blocks, up to `most` FLOPs. Each block is added to
    the stage whose repeats are the smallest multiple of the base's; of several, to the one with
    the most repeats, and then to the last."""
    own = [stage.repeats for stage in base.stages]
    repeats, network = list(own), base
    while cost(network).macs <= most:
        yield network
        if sum(repeats) == MAX_BLOCKS:
            return
        index = min(range(len(own)), key=lambda i: (repeats[i] / own[i], -own[i], -i))
        repeats[index] += 1
        stages = zip(base.stages, repeats, strict=True)
        network = replace(base, stages=tuple(replace(one, repeats=n) for one, n in stages))


def _larger(base: Architecture, wanted: float) -> Iterator[tuple[int, Architecture]]:
    """Yield networks of larger resolutions whose FLOPs are near the wanted ones, with those; of
    several with the same FLOPs, the one with the most pixels is last."""
    pixels, macs = base.resolution, 0
    while macs <= _FAR * wanted:
        pixels += 1
        network = replace(base, resolution=pixels)
        macs = cost(network).macs
        if wanted / _FAR <= macs <= _FAR * wanted:
            yield macs, network


def _widened(base: Architecture, budget: int) -> tuple[float, Architecture]:
    """Return the width factor with which a network is nearest to a budget, and the network."""

    def wide(step: int) -> Architecture:
        return scale(base, width=step / _STEPS, divisor=1)

    def macs(step: int) -> int:
        return cost(wide(step)).macs

    high = _STEPS
    while macs(high) <= budget:
        high *= 2
    low = last_true(lambda step: macs(step) <= budget, 1, high)
    best = min((low, low + 1), key=lambda step: _missed(wide(step), budget))
    return best / _STEPS, wide(best)
