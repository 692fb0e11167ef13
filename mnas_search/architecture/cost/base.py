"""The cost of a network, and the conventions it is counted by."""

from dataclasses import dataclass

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
