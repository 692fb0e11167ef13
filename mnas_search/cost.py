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
    from mnas_search.interfaces import TracedNetwork

BYTES_PER_ELEMENT = 4
CONVENTION = "FLOPs are multiply-adds of convolutions and linear layers, batch 1"
MEMORY_CONVENTION = "fp32 inference at batch 1: weights and the peak of activations"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The cost of one network.

    Attributes:
        params: trainable parameters.
        macs: multiply-adds of one image (the module docstring says which).
        memory: peak bytes of activations in fp32 inference at batch 1: the largest sum over
            layers of the tensors alive while it runs, its input, its output and what is kept for
            a shortcut; weights not included (they add 4 bytes a parameter). None where unknown.
    """

    params: int
    macs: int
    memory: int | None

    @property
    def inference_memory(self) -> int | None:
        """Bytes of fp32 inference at batch 1: parameters and the peak of activations. The running
        means and variances of batch norm (less than 1 %) are left out. None where unknown."""
        if self.memory is None:
            return None
        return BYTES_PER_ELEMENT * self.params + self.memory


def cost(network: "Architecture | TracedNetwork") -> Cost:
    """Count one network: from its plan, or for a `TracedNetwork` by torch on the meta device."""
    if not isinstance(network, Architecture):
        from mnas_search.networks.traced import traced_cost

        return traced_cost(network)
    part = plan_stem(network.stem, network.resolution, network.padding)
    params, macs, peak = part.params, part.macs, part.peak
    channels, size = part.out_channels, part.out_size
    for stage in network.stages:
        for block in plan_stage(stage, channels, size, network.padding):
            params += block.params
            macs += block.macs
            peak = max(peak, block.peak)
            channels, size = block.out_channels, block.out_size
    part = plan_head(network.head_channels, network.num_classes, channels, size)
    return Cost(
        params=params + part.params,
        macs=macs + part.macs,
        memory=max(peak, part.peak) * BYTES_PER_ELEMENT,
    )
