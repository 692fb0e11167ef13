"""Weights of one network for another: the parameter remapping of FNA (arXiv 2001.02525), extended
to preserve the function where possible.

kernels    embedded in the centre of larger ones with zeros around, or cropped to their centre
depth      additional blocks of a stage copy its last block; with an identity shortcut, scale and
           bias of their last batch norm are zero, so that they add nothing. A shallower stage
           takes the first blocks
width      a narrower layer takes the channels with the largest batch-norm scales. Additional
           channels are random, with zero weights in the layers that read them
gates      a new squeeze-and-excitation gates with 1/2, and the next convolution is doubled

Blocks of different kinds and classifiers of different classes are initialised randomly. A network
with larger kernels and additional residual blocks, channels or gates computes the same function as
its source; anything smaller changes it, as do other activations, strides, skips, padding, epsilon.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import final

import torch
from torch import Tensor
from torch.nn import functional as F

from mnas_search.architecture.blocks import Layer, padding
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import UsageError
from mnas_search.networks import build
from mnas_search.networks.weights.correspondence import Group, Place, groups, mixes, places
from mnas_search.networks.weights.loading import abbreviate, identify
from mnas_search.networks.weights.reading import PARTS

_WAYS = {
    "copied": "copied",
    "embedded": "embedded in larger kernels",
    "cropped": "cropped to smaller kernels",
    "selected": "with some of their channels",
    "widened": "with further channels",
    "repeated": "repeated from a stage's last block",
    "new": "new",
}
_DIMENSIONS = {"conv": 4, "linear": 2, "batch_norm": 1}  # of a weight


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Remapped:
    """Remapped weights for a network.

    Attributes:
        weights: by name in the network's state dict, without counters.
        ways: names of tensors by how they were made: `copied`, one or several of `embedded`,
            `cropped`, `selected`, `widened` and `repeated`, or `new`.
        left: names of unused tensors of the source.
    """

    weights: dict[str, Tensor]
    ways: dict[str, tuple[str, ...]]
    left: tuple[str, ...]

    @property
    def text(self) -> str:
        """Summary: the number of tensors by way, the first new and unused ones."""
        counts = [f"{len(names)} {_WAYS[way]}" for way, names in self.ways.items() if names]
        fresh = f" ({abbreviate(self.ways['new'])})" if self.ways["new"] else ""
        return (
            f"{len(self.weights)} tensors, {', '.join(counts)}{fresh}; left over: "
            f"{abbreviate(self.left)}"
        )


def remap(given: Mapping[str, Tensor], architecture: Architecture, *, seed: int = 0) -> Remapped:
    """Adapt the weights of any network of stages to an architecture.

    Args:
        given: a state dict with timm's names, which are ours, or with other names if it is that of
            a published network (`mnas_search.architecture.published`).
        seed: of new weights.

    Raises:
        UsageError: nothing in it fits.
    """
    source = _in_our_names(given)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = build(architecture).state_dict()
    chain = tuple(places(architecture, source))
    channels = groups(chain, source)
    made: dict[str, Tensor] = {}
    ways: dict[str, tuple[str, ...]] = dict.fromkeys(_WAYS, ())
    used = set()
    for place in chain:
        for part, tensor, how in _tensors(place, architecture.padding, channels, source, fresh):
            name = f"{place.layer.path}.{part}"
            made[name] = tensor
            for way in how:
                ways[way] += (name,)
            if "new" not in how:
                used.add(f"{place.source}.{part}")
    if not used:
        raise UsageError(
            f"weights for {architecture.label!r} must be those of a network with the same block "
            f"kinds, got {abbreviate(source)}"
        )
    left = tuple(name for name in source if name not in used)
    return Remapped(weights=made, ways=ways, left=left)


def _in_our_names(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the state dict under timm's names, in single precision."""
    found = dict(given)
    if not any(name.startswith("blocks.") for name in given):
        found = identify(given)[1].weights
    return {n: tensor.float() for n, tensor in found.items() if n.rpartition(".")[2] in PARTS}


def _tensors(
    place: Place,
    mode: str,
    channels: Mapping[str, Group],
    source: Mapping[str, Tensor],
    fresh: Mapping[str, Tensor],
) -> Iterator[tuple[str, Tensor, frozenset[str]]]:
    """Yield name, tensor and ways of each parameter of a layer."""
    found = {p: fresh[n].clone() for p in PARTS if (n := f"{place.layer.path}.{p}") in fresh}
    old = {p: t for p in found if (t := source.get(f"{place.source}.{p}")) is not None}
    made, read = channels[place.makes], channels[place.reads]
    fits = _fits(place.layer, old, made, read) and old.keys() == found.keys()
    for part, tensor in found.items():
        how: frozenset[str] = frozenset({"new"})
        if fits:
            how = frozenset({"repeated"} if place.repeated else ())
            how |= _fill(tensor, old[part], place.layer, mode, made, read)
            how = how or frozenset({"copied"})
            if place.doubled and part == "weight":
                tensor *= 2
        if place.half or (place.silent and part in ("weight", "bias")):
            tensor.zero_()
        yield part, tensor, how


def _fits(layer: Layer, old: Mapping[str, Tensor], made: Group, read: Group) -> bool:
    """Tell whether the source's tensors have the form of the layer and its groups' channels."""
    weight = old.get("weight")
    if weight is None or weight.ndim != _DIMENSIONS[layer.op] or len(weight) != made.there:
        return False
    if any(t.shape != weight.shape[:1] for part, t in old.items() if part != "weight"):
        return False
    if layer.op == "linear" and len(weight) != layer.out_channels:
        return False  # other classes
    if layer.op == "conv" and (weight.shape[2] != weight.shape[3] or weight.shape[2] % 2 == 0):
        return False
    if mixes(layer):
        return weight.shape[1] == read.there
    # Channels of a grouped convolution cannot be selected one by one.
    return layer.op == "batch_norm" or (weight.shape[1] == 1 == layer.in_channels // layer.groups)


def _fill(
    new: Tensor, old: Tensor, layer: Layer, mode: str, made: Group, read: Group
) -> frozenset[str]:
    """Copy an old tensor into a new one: known rows get zeros in new columns; new rows stay
    random."""
    rows, ways = made.index, _ways(made)
    known = rows >= 0
    if old.ndim == 4:
        more = new.shape[-1] - old.shape[-1]
        ways |= {"embedded"} if more > 0 else {"cropped"} if more < 0 else set()
        # So that every weight sees the same pixel: the centre, except for a 1x1 convolution of
        # stride 2 with `same` padding.
        before = layer.pad[0] - padding(mode, layer.in_size, old.shape[-1], layer.stride)[0]
        old = F.pad(old, (before, more - before) * 2)  # negative padding crops
    chosen = old[rows[known]]
    if old.ndim > 1 and mixes(layer):
        columns = read.index
        ways |= _ways(read)
        spread = chosen.new_zeros(len(chosen), *new.shape[1:])
        spread[:, columns >= 0] = chosen[:, columns[columns >= 0]]
        chosen = spread
    new[known] = chosen
    return frozenset(ways)


def _ways(group: Group) -> set[str]:
    """Return how the channels of a group change."""
    if group.there == group.width:
        return set()
    return {"selected" if group.width < (group.there or 0) else "widened"}
