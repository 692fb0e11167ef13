"""What a network costs: parameters, multiply-adds, memory.

FLOPs here and everywhere in mnas-search are multiply-adds (MACs) of convolutions and linear
layers, squeeze-and-excitation included, at batch 1 and the deployment resolution; biases, batch
norm, activations and pooling count nothing. This is the papers' convention, in which
EfficientNet-B0 has 385,814,752. Other tools count other things: fvcore adds batch norm and
pooling, torch's flop counter doubles (a multiply and an add).
"""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from mnas_search.architecture import Architecture
from mnas_search.blocks.network import plan_head, plan_stage, plan_stem

if TYPE_CHECKING:
    from mnas_search.traced_network import TracedNetwork

BYTES_PER_ELEMENT = 4
CONVENTION = "FLOPs are multiply-adds of convolutions and linear layers, batch 1"
MEMORY_CONVENTION = "fp32 inference at batch 1: weights, image and the peak of activations"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The cost of one network.

    Attributes:
        params: trainable parameters.
        macs: multiply-adds of one image (the module docstring says which).
        memory: peak bytes of activations in fp32 inference at batch 1: the largest sum over
            layers of the tensors alive while it runs, its input, its output and the input of its
            block; weights and images not included. None where unknown.
        inference_memory: bytes of fp32 inference at batch 1, all together: parameters, batch
            norm's buffers, the image, and the peak of activations. None where unknown.
    """

    params: int
    macs: int
    memory: int | None
    inference_memory: int | None = None


def cost(network: "Architecture | TracedNetwork") -> Cost:
    """Count one network: from its plan, or for a `TracedNetwork` by torch on the meta device."""
    if not isinstance(network, Architecture):
        from mnas_search.networks.traced import traced_cost

        return traced_cost(network)
    stem = plan_stem(network.stem, network.resolution, network.padding, network.activation)
    params, macs, held, peak = stem.params, stem.macs, stem.held, 0
    channels, size = stem.out_channels, stem.out_size
    for stage in network.stages:
        for block in plan_stage(stage, channels, size, network.padding):
            params += block.params
            macs += block.macs
            held += block.held
            peak = max(peak, block.peak)
            channels, size = block.out_channels, block.out_size
    head = plan_head(
        network.head_channels, network.num_classes, channels, size, network.activation
    )
    peak = max(peak, head.peak)
    image = 3 * network.resolution**2  # the stem's own input, which the caller holds
    return Cost(
        params=params + head.params,
        macs=macs + head.macs,
        memory=max(stem.peak, peak) * BYTES_PER_ELEMENT,
        inference_memory=held + head.held + max(stem.peak, image + peak) * BYTES_PER_ELEMENT,
    )
