"""The parts of a network that are timed one by one: stem, blocks, head.

A part's key holds everything that its time depends on: equal keys mean equal work in any network.
The time of a part that was not measured is estimated from its amounts of `WORK`.
"""

import functools
from dataclasses import dataclass
from typing import Literal

from mnas_search.architecture.blocks import BlockPlan, PartPlan, plan
from mnas_search.architecture.value import Architecture

Work = tuple[float, ...]
WORK = (
    "convolutions and linear layers",
    "MACs of 1x1 convolutions and linear layers",
    "MACs of wider convolutions",
    "MACs of depthwise convolutions",
    "elements of depthwise convolutions",
    "elements of other convolutions",
    "weights",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Part:
    """One part of a network."""

    key: str  # everything that its time depends on
    role: Literal["stem", "block", "head"]  # its place in the network
    plan: BlockPlan | PartPlan  # its layers
    size: int  # side of its input map
    architecture: Architecture  # a network that contains it, for the other settings of its module

    @property
    def shape(self) -> tuple[int, int, int]:
        """Shape of the input without the batch: channels, height, width."""
        if isinstance(self.plan, BlockPlan):  # a plug-in's kind may have no layers
            return self.plan.in_channels, self.size, self.size
        return self.plan.layers[0].in_channels, self.size, self.size


def parts_of(architecture: Architecture) -> list[Part]:
    """Return all parts of a network, in order of execution."""
    whole = plan(architecture)
    return [
        end_part("stem", whole.stem, architecture.resolution, architecture),
        *(block_part(block, architecture) for stage in whole.stages for block in stage),
        end_part("head", whole.head, whole.stages[-1][-1].out_size, architecture),
    ]


def end_part(
    role: Literal["stem", "head"], part: PartPlan, size: int, architecture: Architecture
) -> Part:
    """Return the stem or head as a part."""
    key = end_key(part, size, architecture.activation)
    return Part(key=key, role=role, plan=part, size=size, architecture=architecture)


def block_part(block: BlockPlan, architecture: Architecture) -> Part:
    """Return a block as a part."""
    key, size = block_key(block), block.in_size
    return Part(key=key, role="block", plan=block, size=size, architecture=architecture)


@functools.lru_cache(maxsize=65_536)
def block_key(block: BlockPlan) -> str:
    """Return the key of a block."""
    words = [
        block.kind,
        f"k{block.kernel}",
        f"s{block.stride}",
        f"{block.in_channels}-{block.mid_channels}-{block.out_channels}",
        f"se{block.se_channels}",
        f"{block.in_size}px",
        f"pad{block.pad[0]}+{block.pad[1]}",
        block.shortcut,
        block.activation,
        # Blocks of a plug-in's kind may differ in more than the fields of a plan.
        f"{block.macs}m",
        f"{block.params}p",
    ]
    return " ".join(words)


def end_key(part: PartPlan, size: int, activation: str) -> str:
    """Return the key of a stem or head whose input map has sides of `size`."""
    first, last = part.layers[0], part.layers[-1]
    name = "head" if last.op == "linear" else "stem"
    if first.op == "linear":  # or it would look like a head as wide as the number of classes
        name = "classifier"
    widths = f"{first.in_channels}-{first.out_channels}-{last.out_channels}"
    sizes = f"{size}px-{part.out_size}px"
    pad = f"pad{first.pad[0]}+{first.pad[1]}"
    return f"{name} k{first.kernel} s{first.stride} {widths} {sizes} {pad} {activation}"


def work_of(part: BlockPlan | PartPlan, batch_size: int) -> Work:
    """Compute the amounts of `WORK` of a part, in that order."""
    count, dense, wide, depthwise, spread, written, weights = (0,) * 7
    for layer in part.layers:
        if layer.op == "batch_norm":
            continue
        elements = layer.out_channels * layer.out_size**2
        count += 1
        weights += layer.weights
        if layer.groups > 1:
            depthwise += layer.macs
            spread += elements
            continue
        written += elements
        if layer.kernel == 1:
            dense += layer.macs
        else:
            wide += layer.macs
    many = (batch_size * n for n in (dense, wide, depthwise, spread, written))
    return (float(count), *map(float, many), float(weights))
