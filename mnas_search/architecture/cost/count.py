"""Cost of a network: parameters, multiply-adds, memory.

FLOPs here and everywhere in mnas-search are multiply-adds (MACs) of convolutions and linear
layers, squeeze-and-excitation included, at batch 1 and the deployment resolution; biases, batch
norm, activations and pooling count nothing. By this convention, the papers', EfficientNet-B0 has
385,814,752. Other tools differ: fvcore adds batch norm and pooling, torch's flop counter counts a
multiply-add twice.
"""

from typing import TYPE_CHECKING

from mnas_search.architecture.blocks.network import plan
from mnas_search.architecture.cost.base import BYTES_PER_ELEMENT, Cost
from mnas_search.architecture.value import Architecture

if TYPE_CHECKING:
    from mnas_search.architecture.traced_network import TracedNetwork


def blocks(network: "Architecture | TracedNetwork") -> int:
    """Return the number of blocks; those that are no more than a shortcut are not counted, and
    the blocks of a `TracedNetwork` are not known: 0."""
    if not isinstance(network, Architecture):
        return 0
    return sum(not block.is_shortcut for stage in plan(network).stages for block in stage)


def cost(network: "Architecture | TracedNetwork") -> Cost:
    """Count one network: from its plan, or a `TracedNetwork` by torch on the meta device.

        cost(reference.architecture("efficientnet_b0")).macs  # 385_814_752

    MACs are those of arXiv 1905.11946, table 2.
    """
    if not isinstance(network, Architecture):
        from mnas_search.architecture.cost.traced import traced_cost

        return traced_cost(network)
    stem, *others = parts = plan(network).parts
    peak = max([part.peak for part in others])
    image = 3 * network.resolution**2  # the stem's input, which the caller holds
    state = sum([part.state_bytes for part in parts])
    return Cost(
        params=sum([part.params for part in parts]),
        macs=sum([part.macs for part in parts]),
        memory=max(stem.peak, peak) * BYTES_PER_ELEMENT,
        inference_memory=state + max(stem.peak, image + peak) * BYTES_PER_ELEMENT,
    )
