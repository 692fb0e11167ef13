"""Pairs of layers of two networks, and groups of channels that several layers share.

Stages and blocks are paired by index; a block beyond the source's last is paired with the last of
the stage. Layers are paired if both blocks have the same ones, except squeeze-and-excitation.

A group of channels runs through several layers: between an expansion and a projection, or along
the blocks of a stage, which add to it. All layers of a group select the same channels.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import final

import torch
from torch import Tensor

from mnas_search.architecture.blocks import BlockPlan, Layer, plan
from mnas_search.architecture.value import Architecture

_REDUCE, _EXPAND = ".conv_reduce", ".conv_expand"  # a gate's two layers, in this order
_GATE = ".gate"
_PROJECTION = "downsample."


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """A layer of the new network.

    Attributes:
        layer: the layer, with its full path.
        source: path of the source's layer; None for a new layer.
        reads, makes: groups of its input and output channels.
        repeated: whether the source does not have its block.
        silent: whether it is the last batch norm of such a block with an identity shortcut.
        half: whether it is the second layer of a gate that the source does not have.
        doubled: whether it reads the output of such a gate.
    """

    layer: Layer
    source: str | None
    reads: str
    makes: str
    repeated: bool = False
    silent: bool = False
    half: bool = False
    doubled: bool = False


@final
@dataclass(slots=True, kw_only=True)
class Group:
    """Channels that several layers share.

    Attributes:
        width: number of channels in the new network.
        there: number of channels in the source; None if no layer comes from there.
        size: float [there], sum of the absolute scales of a channel's batch norms, as the scale of
            a convolution before a batch norm is arbitrary (arXiv 1708.06519); inside a gate, of
            the weights of the channel.
    """

    width: int
    there: int | None = None
    size: Tensor | None = None

    @property
    def index(self) -> Tensor:
        """Index of the source's channel for each channel, -1 for none; int64 [width], ascending
        except for -1."""
        there = self.there or 0
        if there <= self.width:
            return torch.cat([torch.arange(there), torch.full((self.width - there,), -1)])
        if self.size is None:
            return torch.arange(self.width)
        largest = self.size.argsort(descending=True, stable=True)[: self.width]
        return largest.sort().values


def places(architecture: Architecture, source: Mapping[str, Tensor]) -> Iterator[Place]:
    """Yield every layer of the architecture, in order of execution."""
    layers = {name.rpartition(".")[0] for name in source}
    network = plan(architecture)
    yield from _chain(network.stem.layers, layers, "image", "stem")
    stream = "stem"
    for s, stage in enumerate(network.stages):
        depth = 0
        while any(path.startswith(f"blocks.{s}.{depth}.") for path in layers):
            depth += 1
        for b, block in enumerate(stage):
            path = f"blocks.{s}.{b}"
            # The only block of a stage reads the previous stage: no further block can copy it.
            taken = b if b < depth else depth - 1 if depth > 1 else None
            there = None if taken is None else f"blocks.{s}.{taken}"
            if there is None or not _alike(block, there, layers):
                there = None
            # A block with a shortcut adds to the group that it reads, unless its source begins a
            # new one, as a projection always does.
            adds = block.shortcut not in ("none", "projection") and (
                not depth or _keeps_width(block, there, source)
            )
            shared = b > 0 or adds
            makes = stream if shared else f"blocks.{s}"
            yield from _block(block, path, there, layers, stream, makes, further=b >= depth)
            stream = makes
    yield from _chain(network.head.layers, layers, stream, "head")


def groups(chain: Sequence[Place], source: Mapping[str, Tensor]) -> dict[str, Group]:
    """Return the channel groups of the layers, by name."""
    found = {"image": Group(width=3, there=3)}
    for place in chain:
        group = found.setdefault(place.makes, Group(width=place.layer.out_channels))
        weight = source.get(f"{place.source}.weight")
        if weight is None or not weight.ndim:
            continue
        if group.there is None:
            group.there = len(weight)
        if mixes(place.layer) and weight.ndim > 1 and found[place.reads].there is None:
            found[place.reads].there = weight.shape[1]
        if len(weight) != group.there or place.silent:
            continue
        if place.layer.op == "batch_norm" or place.makes.endswith(_GATE):
            size = weight.abs().flatten(1).sum(1) if weight.ndim > 1 else weight.abs()
            group.size = size if group.size is None else group.size + size
    return found


def mixes(layer: Layer) -> bool:
    """Tell whether each output channel of the layer depends on all input channels."""
    return layer.op != "batch_norm" and layer.groups == 1


def _chain(chain: tuple[Layer, ...], layers: set[str], reads: str, makes: str) -> Iterator[Place]:
    """Yield the layers of stem or head."""
    for layer in chain:
        yield Place(
            layer=layer,
            source=layer.path if layer.path in layers else None,
            reads=reads,
            makes="classes" if layer.op == "linear" else makes,
        )
        reads = makes


def _block(
    block: BlockPlan,
    path: str,
    there: str | None,
    layers: set[str],
    reads: str,
    makes: str,
    *,
    further: bool,
) -> Iterator[Place]:
    last_mixing = _last(block, "mixing")
    last_norm = _last(block, "batch_norm")
    current = reads
    waiting = False  # for the convolution that reads a new gate
    for position, layer in enumerate(block.layers):
        source = None if there is None else f"{there}.{layer.path}"
        missing = source is not None and source not in layers
        doubled = False
        if _of_gate(layer):
            gate = path + _GATE
            ends = (current, gate) if layer.path.endswith(_REDUCE) else (gate, current)
            follows = any(mixes(x) for x in block.layers[position + 1 :])
            waiting = waiting or missing
        else:
            before = current
            if mixes(layer):
                ends_branch = layer.path == last_mixing or _of_projection(layer)
                current = makes if ends_branch else f"{path}.{layer.path}"
                doubled, waiting = waiting, False
            if _of_projection(layer):  # parallel to the branch, from the block's input
                before = reads if mixes(layer) else makes
            ends, follows = (before, current), False
        yield Place(
            layer=replace(layer, path=f"{path}.{layer.path}"),
            source=None if missing else source,
            reads=ends[0],
            makes=ends[1],
            repeated=further,
            silent=further and block.shortcut == "identity" and layer.path == last_norm,
            half=missing and follows and layer.path.endswith(_EXPAND),
            doubled=doubled,
        )


def _last(block: BlockPlan, what: str) -> str | None:
    """Return the path of the last batch norm of a block's branch, or of its last mixing layer
    outside gates."""
    branch = [layer for layer in block.layers if not _of_projection(layer)]
    if what == "batch_norm":
        found = [x.path for x in branch if x.op == "batch_norm"]
    else:
        found = [x.path for x in branch if mixes(x) and not _of_gate(x)]
    return found[-1] if found else None


def _alike(block: BlockPlan, there: str, layers: set[str]) -> bool:
    """Tell whether the source's block has the same layers, except the gate."""
    found = {path for path in layers if path.startswith(f"{there}.")}
    mine = {f"{there}.{layer.path}" for layer in block.layers if not _of_gate(layer)}
    return mine == {path for path in found if not path.endswith((_REDUCE, _EXPAND))}


def _keeps_width(block: BlockPlan, there: str | None, source: Mapping[str, Tensor]) -> bool:
    """Tell whether the source's block has as many output as input channels."""
    first, last = block.layers[0], _last(block, "mixing")
    weights = [source.get(f"{there}.{path}.weight") for path in (first.path, last)]
    shapes = [tuple(w.shape) for w in weights if w is not None and w.ndim > 1]
    return len(shapes) == 2 and shapes[0][1 if mixes(first) else 0] == shapes[1][0]


def _of_projection(layer: Layer) -> bool:
    return layer.path.startswith(_PROJECTION)


def _of_gate(layer: Layer) -> bool:
    return layer.path.endswith((_REDUCE, _EXPAND))
