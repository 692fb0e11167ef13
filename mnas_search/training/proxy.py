"""From a candidate to what a proxy trains: the same blocks, smaller and on smaller images.

Two things make short proxies meaningless, and are avoided here. Downsampling a small image by the
candidate's full stride of 32 leaves maps of 1x1, on which a 5x5 kernel equals a 3x3 one: strides
are dropped from the stem and the first stages until the last map is at least 4x4. And batch-norm
statistics with the papers' momentum of 0.01 keep a third of their initial value after 110 steps:
a proxy uses 0.1. Stochastic depth and dropout are off.
"""

from dataclasses import replace

from mnas_search.architecture.blocks import plan
from mnas_search.architecture.scaling import scale
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import UsageError

SMALLEST_MAP = 4
_BN_MOMENTUM = 0.1


def proxy_architecture(
    architecture: Architecture,
    *,
    width: float,
    resolution: int,
    num_classes: int,
    divisor: int = 8,
    ratio: float = 1.0,
) -> Architecture:
    """The candidate at proxy width and resolution, for the data's classes.

    Args:
        width: multiplier of every channel count, rounded to multiples of `divisor`.
        resolution: side of the proxy's images, at least 4 pixels.
        ratio: of the candidate's resolution to that of the base that it was scaled from: its
            images are as much larger or smaller, and it keeps the strides that the base does.
    """
    if resolution < SMALLEST_MAP:
        raise UsageError(f"proxy resolution {resolution}; allowed: {SMALLEST_MAP} and above")
    small = scale(
        architecture,
        width=width,
        resolution=max(SMALLEST_MAP, round(ratio * resolution)),
        dropout=0.0,
        name=architecture.name,
        divisor=divisor,
    )
    small = replace(
        small, num_classes=num_classes, stochastic_depth_rate=0.0, bn_momentum=_BN_MOMENTUM
    )
    halvings = (resolution // SMALLEST_MAP).bit_length() - 1
    return _keep_last_strides(small, halvings)


def _keep_last_strides(architecture: Architecture, count: int) -> Architecture:
    """Drop all but the last `count` strides; a stem's pooling is the first to go, then its own."""
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


def map_sizes(architecture: Architecture) -> tuple[int, ...]:
    """Sides of the feature maps after the stem and each stage."""
    whole = plan(architecture)
    return (whole.stem.out_size, *(stage[-1].out_size for stage in whole.stages))
