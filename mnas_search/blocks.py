"""Everything that a block kind of a plug-in needs: its plan's parts and the builder of plans."""

from mnas_search.architecture.blocks.arithmetic import (
    make_divisible,
    padding,
    squeeze_channels,
    strided,
)
from mnas_search.architecture.blocks.plan_builder import PlanBuilder, finish_block
from mnas_search.architecture.kind import BlockKind, BlockPlan, BlockSpec, Layer

__all__ = [
    "BlockKind",
    "BlockPlan",
    "BlockSpec",
    "Layer",
    "PlanBuilder",
    "finish_block",
    "make_divisible",
    "padding",
    "squeeze_channels",
    "strided",
]
