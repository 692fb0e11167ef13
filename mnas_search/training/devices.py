"""What differs between training on a CPU and on a GPU.

What concerns GPUs follows torch's documentation and has not been run on one yet.
"""

import gc

import torch
from torch import nn

from mnas_search.training.fast.layers import use_fast_layers
from mnas_search.training.loop import Images
from mnas_search.training.recipe import Recipe

_WORTH_CAPTURING = 100  # steps; a capture costs about ten


def device() -> str:
    """The first GPU that this process may use, else the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def optimize_for_device(network: nn.Module, data: Images, recipe: Recipe) -> None:
    """Make training steps cheaper, in place; the state dict stays as it is."""
    if data.labels.device.type == "cpu":
        use_fast_layers(network)
        return
    batch = min(recipe.batch_size, len(data))
    if recipe.epochs * (len(data) // batch) >= _WORTH_CAPTURING:
        _capture(network, data.normalise(data.batch(slice(0, batch))))


def _capture(network: nn.Module, images: torch.Tensor) -> None:
    """Replay the forward and backward passes of training as CUDA graphs: small networks on small
    images wait for the launch of their kernels otherwise."""
    kept = [buffer.clone() for buffer in network.buffers()]  # capturing runs the network
    network.train()
    try:
        with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
            torch.cuda.make_graphed_callables(network, (images,))
    except torch.OutOfMemoryError:
        raise
    except RuntimeError:
        pass  # a block that waits for the device cannot be captured: it is trained as it is
    network.zero_grad(set_to_none=True)
    for buffer, old in zip(network.buffers(), kept, strict=True):
        buffer.copy_(old)


def out_of_memory(error: BaseException) -> bool:
    """Whether it says that memory ran out, the device's or the machine's."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def empty_cache() -> None:
    """Give back a GPU's memory: other workers may share it. Captured graphs are in cycles."""
    if torch.cuda.is_available():
        gc.collect()
        torch.cuda.empty_cache()
