"""Weights in a network and in a safetensors file."""

import json
from collections.abc import Mapping
from dataclasses import replace

import torch
from torch import Tensor

from mnas_search.architecture.cost.memory import check_room
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import UsageError
from mnas_search.networks import StagewiseNetwork, build
from mnas_search.networks.weights import metadata

_COPIES = 4  # network, copy for the comparison, artefact, content of the file
UNTRAINED = "untrained: freshly initialised, no image was seen"
GIVEN = "as given to the export"
_PREFIX = 8  # bytes of a safetensors file that hold the length of its header
COUNTER = "num_batches_tracked"  # of batch norms; not used in inference


def build_with_weights(
    architecture: Architecture, weights: Mapping[str, Tensor] | None
) -> StagewiseNetwork:
    """Build the network in eval mode with these weights, or initialised from seed 0.

    Raises:
        UsageError: the weights do not fit, or the machine does not have the memory for an export.
    """
    small = replace(architecture, resolution=1)  # activations are checked with the images
    check_room(small, copies=_COPIES, batch_size=1)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        network = build(architecture).eval()
    if weights is None:
        return network
    for name, tensor in weights.items():
        if not name.endswith(COUNTER) and not tensor.is_floating_point():
            kind = str(tensor.dtype).removeprefix("torch.")
            raise UsageError(f"weights {name!r} must be floating-point numbers, got {kind}")
    try:
        missing, surplus = network.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise UsageError(f"the weights do not fit: {' '.join(str(error).split())[:300]}") from None
    wrong = [name for name in (*missing, *surplus) if not name.endswith(COUNTER)]
    if wrong:
        raise UsageError(
            f"weights must be those of {architecture.label!r}: {wrong[0]!r} and {len(wrong) - 1} "
            "others are missing or have no place"
        )
    return network


def safetensors(weights: Mapping[str, Tensor], architecture: Architecture) -> bytes:
    """Return a safetensors file whose metadata hold what a state dict lacks: the architecture, and
    its settings by name."""
    from safetensors.torch import save

    told = {
        name: str(getattr(architecture, name)) for name in ("bn_eps", "bn_momentum", "padding")
    }
    told["architecture"] = architecture.to_json()
    tensors = {name: tensor.contiguous() for name, tensor in weights.items()}
    told |= {"format": "pt", "written_by": "mnas-search", **metadata.NO_CHECKSUM}
    return metadata.with_checksum(_sorted(save(tensors, told)))


def _sorted(content: bytes) -> bytes:
    """Sort the metadata, which safetensors writes in random order, so that equal exports are equal
    byte by byte."""
    end = _PREFIX + int.from_bytes(content[:_PREFIX], "little")
    header = json.loads(content[_PREFIX:end])
    header["__metadata__"] = dict(sorted(header["__metadata__"].items()))
    text = json.dumps(header, separators=(",", ":"), ensure_ascii=False).encode()
    text += b" " * (-len(text) % _PREFIX)  # so that the tensors are aligned
    return len(text).to_bytes(_PREFIX, "little") + text + content[end:]
