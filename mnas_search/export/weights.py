"""Weights on their way into a network and into a file."""

import json
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from mnas_search.architecture.cost.memory import check_room
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import UsageError
from mnas_search.networks import StagewiseNetwork, build

_COPIES = 4  # the network, its copy to compare with, the artefact, the file's content
UNTRAINED = "untrained: freshly initialised, no image was seen"
GIVEN = "as given to the export"
_PREFIX = 8  # bytes of a safetensors file before its header, whose length they say
COUNTER = "num_batches_tracked"  # of batch norms: only their own statistics' bookkeeping


def build_with_weights(
    architecture: Architecture, weights: Mapping[str, Tensor] | None
) -> StagewiseNetwork:
    """The network in eval mode with these weights, or freshly initialised from seed 0.

    Raises:
        UsageError: the weights do not fit, or the machine cannot hold what an export takes.
    """
    small = replace(architecture, resolution=1)  # what is run is checked with its images
    check_room(small, copies=_COPIES, batch_size=1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build(architecture).eval()
    if weights is None:
        return network
    for name, tensor in weights.items():
        if not name.endswith(COUNTER) and not tensor.is_floating_point():
            kind = str(tensor.dtype).removeprefix("torch.")
            raise UsageError(f"weights {name!r} are {kind}; allowed: floating-point numbers")
    try:
        missing, surplus = network.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise UsageError(f"the weights do not fit: {' '.join(str(error).split())[:300]}") from None
    wrong = [name for name in (*missing, *surplus) if not name.endswith(COUNTER)]
    if wrong:
        raise UsageError(
            f"the weights do not fit: {wrong[0]!r} and {len(wrong) - 1} others are missing or "
            f"have no place; allowed: those of {architecture.label!r}"
        )
    return network


def safetensors(weights: Mapping[str, Tensor], architecture: Architecture) -> bytes:
    """A safetensors file, marked as PyTorch's, with the settings that a state dict lacks."""
    from safetensors.torch import save

    told = {
        name: str(getattr(architecture, name)) for name in ("bn_eps", "bn_momentum", "padding")
    }
    tensors = {name: tensor.contiguous() for name, tensor in weights.items()}
    return _sorted(save(tensors, {"format": "pt", "written_by": "mnas-search", **told}))


def _sorted(content: bytes) -> bytes:
    """The same safetensors file with its settings in order: safetensors writes them in another
    one each time, and the same export would not give the same bytes."""
    end = _PREFIX + int.from_bytes(content[:_PREFIX], "little")
    header = json.loads(content[_PREFIX:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _PREFIX)  # so that the tensors are aligned
    return len(text).to_bytes(_PREFIX, "little") + text + content[end:]
