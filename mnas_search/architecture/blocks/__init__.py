"""Architecture -> plans: every integer of a network, resolved once.

Stride, padding, rounding and channel arithmetic are here only. Cost, networks and exporters read
the plans, so that they cannot disagree.

    arithmetic    rounding rules and padding
    plan_builder  writes plans, tracking live and saved tensors
    kinds         the built-in block kinds, one plan function each
    network       a whole network: stem, blocks, head
"""

from mnas_search.architecture.blocks.arithmetic import drop_path_rates, make_divisible, padding
from mnas_search.architecture.blocks.network import NetworkPlan, PartPlan, plan
from mnas_search.architecture.kind import BlockPlan, Layer

__all__ = [
    "BlockPlan",
    "Layer",
    "NetworkPlan",
    "PartPlan",
    "drop_path_rates",
    "make_divisible",
    "padding",
    "plan",
]
