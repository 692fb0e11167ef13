"""The cost of a network, and the conventions it is counted by."""

from dataclasses import dataclass

BYTES_PER_ELEMENT = 4
CONVENTION = "FLOPs are multiply-adds of convolutions and linear layers, batch 1"
TABLE_CONVENTION = (
    f"{CONVENTION}, at the resolution shown; memory: peak of activations, fp32 inference"
)
MEMORY_CONVENTION = "fp32 inference at batch 1: weights, image and the peak of activations"


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """The cost of one network.

    Attributes:
        params: trainable parameters.
        macs: multiply-adds of one image, by `CONVENTION`.
        memory: peak bytes of activations in fp32 inference at batch 1, without weights and image:
            the largest sum, over layers, of the tensors that are live while the layer runs (its
            input, its output, the input of its block). None if unknown.
        inference_memory: total bytes of fp32 inference at batch 1: parameters, batch norm's
            buffers, the image, and the peak of activations. None if unknown.
    """

    params: int
    macs: int
    memory: int | None
    inference_memory: int | None = None
