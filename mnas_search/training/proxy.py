"""The proxy of a candidate: the same blocks, narrower and on smaller images.

A total stride of 32 would leave maps of 1x1 on small images, on which a 5x5 kernel equals a 3x3
one: strides are dropped from the stem and the first stages until the last map is at least 4x4.
Batch-norm statistics with the papers' momentum of 0.01 would keep a third of their initial value
after 110 steps: a proxy uses 0.1. Stochastic depth and dropout are off.
"""

from dataclasses import replace

from mnas_search.architecture.adaptation import MIN_MAP_SIZE
from mnas_search.architecture.blocks import plan
from mnas_search.architecture.scaling import scale
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import UsageError
from mnas_search.nas.space.contract import SearchSpace

_BN_MOMENTUM = 0.1
# Pixels. On smaller images, such as the 8x8 digits, to keep the stem's stride would leave maps of
# 4x4 from the first layer on, which costs accuracy.
SMALLEST_ADAPTED = 32


def proxy_architecture(
    architecture: Architecture,
    *,
    width: float,
    resolution: int,
    num_classes: int,
    divisor: int = 8,
    ratio: float = 1.0,
    keeps_strides: bool = False,
) -> Architecture:
    """Scale a candidate to proxy width and resolution, with the classes of the data.

    Args:
        width: multiplier of every channel count, rounded to multiples of `divisor`.
        resolution: side of the proxy's images, at least 4 pixels.
        ratio: the candidate's resolution over that of the base it was scaled from: its images
            scale by the same factor, and it keeps the strides that the base keeps.
        keeps_strides: whether all are kept: those that pretrained weights need, or that were
            chosen for these images (`mnas_search.architecture.adaptation`).

    Raises:
        UsageError: the resolution is below 4 pixels.
    """
    if resolution < MIN_MAP_SIZE:
        raise UsageError(f"proxy resolution must be {MIN_MAP_SIZE} or more, got {resolution}")
    small = scale(
        architecture,
        width=width,
        resolution=max(MIN_MAP_SIZE, round(ratio * resolution)),
        dropout=0.0,
        name=architecture.name,
        divisor=divisor,
    )
    small = replace(
        small, num_classes=num_classes, stochastic_depth_rate=0.0, bn_momentum=_BN_MOMENTUM
    )
    if keeps_strides:
        return small
    halvings = (resolution // MIN_MAP_SIZE).bit_length() - 1
    return _keep_last_strides(small, halvings)


def _keep_last_strides(architecture: Architecture, count: int) -> Architecture:
    """Drop all but the last `count` strides, beginning with the stem's pooling and stride."""
    stages = list(architecture.stages)
    for index in reversed(range(len(stages))):
        if stages[index].stride == 2:
            if count > 0:
                count -= 1
            else:
                stages[index] = replace(stages[index], stride=1)
    stem = architecture.stem
    if stem.stride == 2 and count > 0:
        count -= 1
    else:
        stem = replace(stem, stride=1)
    return replace(
        architecture, stages=tuple(stages), stem=replace(stem, pool=stem.pool and count > 0)
    )


def check_distinct(space: SearchSpace, *, width: float, divisor: int) -> None:
    """Check that no two options of a decision become one network at this width.

    The other decisions have their first options, then their last.

    Raises:
        UsageError: two do, and a proxy could not rank them.
    """
    for end in (0, -1):
        others = {decision.name: decision.options[end] for decision in space.decisions}
        for decision in space.decisions:
            seen: dict[object, tuple[object, object]] = {}
            for option in decision.options:
                network = space.decode({**others, decision.name: option})
                if not isinstance(network, Architecture):
                    return
                whole = plan(network).parts
                narrow = plan(scale(network, width=width, divisor=divisor)).parts
                other, its_whole = seen.setdefault(narrow, (option, whole))
                if its_whole != whole:
                    raise UsageError(
                        f"proxy width must keep the options of {decision.name} apart, got "
                        f"width={width:g},divisor={divisor}, at which {other!r} and {option!r} "
                        "become one network"
                    )


def map_sizes(architecture: Architecture) -> tuple[int, ...]:
    """Compute the sides of the feature maps after the stem and each stage."""
    whole = plan(architecture)
    return (whole.stem.out_size, *(stage[-1].out_size for stage in whole.stages))
