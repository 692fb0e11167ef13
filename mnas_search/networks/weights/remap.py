"""Weights of one network for another: the parameter remapping of FNA (arXiv 2001.02525), made to
keep the function wherever that can be done.

kernels    smaller ones lie in the centre of larger ones, zeros around them; larger ones are
           cropped to their centre
depth      a stage's further blocks begin as its last block; where they have an identity shortcut,
           scale and bias of their last batch norm are zero, so that they add nothing yet. Of a
           shallower stage the first blocks are taken
width      of too many channels those with the largest batch-norm scales are taken. Channels that
           were not there are fresh, and what reads them begins with zeros
gates      a squeeze-and-excitation that was not there begins as 1/2 everywhere, and the
           convolution behind it is doubled

A block of another kind than the one it meets, and a classifier of other classes, are new. So a
network with larger kernels, further residual blocks, further channels and further gates computes
what the one that it comes from does; fewer or smaller of anything change it, as do another
activation, stride, skip, padding or epsilon.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor
from torch.nn import functional as F

from mnas_search.architecture import published
from mnas_search.architecture.blocks import Layer, padding
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import UsageError
from mnas_search.networks import build
from mnas_search.networks.weights.correspondence import Group, Place, groups, mixes, places
from mnas_search.networks.weights.loading import abbreviate, count_classes, fit

_WAYS = {
    "copied": "copied",
    "embedded": "embedded in larger kernels",
    "cropped": "cropped to smaller kernels",
    "selected": "with some of their channels",
    "widened": "with further channels",
    "repeated": "repeated from a stage's last block",
    "new": "new",
}
_PARTS = ("weight", "bias", "running_mean", "running_var")
_DIMENSIONS = {"conv": 4, "linear": 2, "batch_norm": 1}  # of a weight


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Remapped:
    """Weights for a network, and what became of those that they come from.

    Attributes:
        weights: by name of the network's state dict, all but the counters.
        ways: names by how their tensors came: `copied` as they were; or one or several of
            `embedded`, `cropped`, `selected`, `widened` and `repeated`; or `new`.
        left: names of what was there and is not used.
    """

    weights: dict[str, Tensor]
    ways: dict[str, tuple[str, ...]]
    left: tuple[str, ...]

    @property
    def text(self) -> str:
        """How many tensors came in which way, the first of the new ones, and what was left."""
        counts = [f"{len(names)} {_WAYS[way]}" for way, names in self.ways.items() if names]
        fresh = f" ({abbreviate(self.ways['new'])})" if self.ways["new"] else ""
        return (
            f"{len(self.weights)} tensors, {', '.join(counts)}{fresh}; left over: "
            f"{abbreviate(self.left)}"
        )


def remap(given: Mapping[str, Tensor], architecture: Architecture, *, seed: int = 0) -> Remapped:
    """The weights of any network of stages, fitted to an architecture.

    Args:
        given: a state dict with timm's names, which are ours; or with foreign ones, where it is
            that of a published network (`mnas_search.architecture.published`).
        seed: of what is new.

    Raises:
        UsageError: there is nothing in it that has a place.
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
            f"weights for {architecture.label!r}: none of {abbreviate(source)} has a place in it; "
            "allowed: those of a network of the same kinds of blocks"
        )
    left = tuple(n for n in source if n not in used and n.rpartition(".")[2] in _PARTS)
    return Remapped(weights=made, ways=ways, left=left)


def _in_our_names(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The state dict under timm's names, in single precision."""
    found = dict(given)
    if not any(name.startswith("blocks.") for name in given):
        found = _of_a_published_network(given)
    return {name: tensor.float() for name, tensor in found.items()}


def _of_a_published_network(given: Mapping[str, Tensor]) -> dict[str, Tensor]:
    for name in published.names():
        architecture = published.architecture(name)
        classes = count_classes(given) or architecture.num_classes
        try:
            return fit(given, replace(architecture, num_classes=classes)).weights
        except UsageError:
            continue
    raise UsageError(
        f"weights of foreign names ({abbreviate(given)}) are those of no network that is known; "
        f"allowed: timm's names, or the weights of {', '.join(published.names())}"
    )


def _tensors(
    place: Place,
    mode: str,
    channels: Mapping[str, Group],
    source: Mapping[str, Tensor],
    fresh: Mapping[str, Tensor],
) -> Iterator[tuple[str, Tensor, frozenset[str]]]:
    """Each tensor of a layer: its part's name, itself, and how it came."""
    found = {p: fresh[n].clone() for p in _PARTS if (n := f"{place.layer.path}.{p}") in fresh}
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
    """Whether the tensors there are those of such a layer, with the channels of its groups."""
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
    # Groups of several channels cannot be taken apart.
    return layer.op == "batch_norm" or (weight.shape[1] == 1 == layer.in_channels // layer.groups)


def _fill(
    new: Tensor, old: Tensor, layer: Layer, mode: str, made: Group, read: Group
) -> frozenset[str]:
    """Write an old tensor over a fresh one: rows that were there read columns that were there as
    before, and others with zeros; further rows stay fresh."""
    rows, ways = made.index, _ways(made)
    known = rows >= 0
    if old.ndim == 4:
        more = new.shape[-1] - old.shape[-1]
        ways |= {"embedded"} if more > 0 else {"cropped"} if more < 0 else set()
        # Where every weight meets the pixel that it met: the centre, but for a 1x1 convolution of
        # stride 2 whose padding is `same`.
        before = layer.pad[0] - padding(mode, layer.in_size, old.shape[-1], layer.stride)[0]
        old = F.pad(old, (before, more - before) * 2)  # what is negative crops
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
    """What happens to the channels of a group."""
    if group.there == group.width:
        return set()
    return {"selected" if group.width < (group.there or 0) else "widened"}
