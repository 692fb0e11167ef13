"""Training on a CPU or a GPU: device, optimised layers, CUDA graphs, memory."""

import gc

import torch
from torch import nn

from mnas_search.training.fast.layers import use_fast_layers, use_lean_layers
from mnas_search.training.loop import Images
from mnas_search.training.recipe import Recipe

_MIN_STEPS_TO_CAPTURE = 100  # a capture costs about ten steps


def device() -> str:
    """Return the first GPU that this process may use, else the CPU."""
    return "cuda" if torch.cuda.is_available() else "cpu"


def optimize_for_device(network: nn.Module, data: Images, recipe: Recipe) -> None:
    """Make training steps faster, in place; the state dict keeps its names and values."""
    if data.labels.device.type == "cpu":
        use_fast_layers(network)
        return
    use_lean_layers(network)
    batch = min(recipe.batch_size, len(data))
    if recipe.epochs * (len(data) // batch) >= _MIN_STEPS_TO_CAPTURE:
        capture(network, data.normalise(data.batch(slice(0, batch))))


def capture(network: nn.Module, images: torch.Tensor) -> None:
    """Capture forward and backward passes as CUDA graphs, in place: the time of small networks on
    small images is dominated by kernel launches otherwise.

    Args:
        images: normalised [N, 3, R, R], as in every step.
    """
    kept = [buffer.clone() for buffer in network.buffers()]  # capturing runs the network
    network.train()
    try:
        with torch.autocast("cuda", torch.bfloat16, cache_enabled=False):
            torch.cuda.make_graphed_callables(network, (images,))
    except torch.OutOfMemoryError:
        raise
    except RuntimeError:
        pass  # a block that synchronises with the device cannot be captured
    network.zero_grad(set_to_none=True)
    for buffer, old in zip(network.buffers(), kept, strict=True):
        buffer.copy_(old)


def out_of_memory(error: BaseException) -> bool:
    """Tell whether an exception means that the device or the machine ran out of memory."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def empty_cache() -> None:
    """Release cached GPU memory for other workers, once no captured graph is in use: graphs are in
    reference cycles, and cuBLAS keeps a workspace for the stream of each, which keeps the graph's
    whole pool (https://github.com/pytorch/pytorch/issues/99196)."""
    if torch.cuda.is_available():
        gc.collect()
        torch._C._cuda_clearCublasWorkspaces()
        torch.cuda.empty_cache()
