"""The shared parameters of a space's networks: their names and largest shapes, from plans.

A parameter of a block is shared by all networks that have a block of this kind at this place, at
the largest shape that any of them needs. Weight and bias of a batch norm are shared only by blocks
of one kernel size and expansion.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from mnas_search.architecture.blocks import BlockPlan, NetworkPlan, PartPlan
from mnas_search.architecture.blocks.network import plan_head, plan_stage, plan_stem
from mnas_search.architecture.kind import Layer
from mnas_search.architecture.stage import Stage
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import UsageError

Shape = tuple[int, ...]
Block = tuple[int, int, Stage, BlockPlan]  # stage, position in it, what it was planned from


class Need(NamedTuple):
    """A parameter that a part of a network needs."""

    name: str  # in the state dict of the part
    shared: str  # name of the shared parameter
    shape: Shape
    layer: Layer


@dataclass(frozen=True, slots=True, kw_only=True)
class Shared:
    """A shared parameter.

    Attributes:
        shape: the largest that any network needs, axis by axis.
        layer: one with the largest weight of those that it is a parameter of.
        name: its name in that layer, `weight` or `bias`.
    """

    shape: Shape
    layer: Layer
    name: str


def largest(
    templates: Collection[Architecture], stages: Sequence[Collection[Stage]]
) -> dict[str, Shared]:
    """Compute the shared parameters of all networks with one of the templates' stems and heads
    and any combination of the stages, by name."""
    found: dict[str, Shared] = {}
    # By their identity: plans are cached, and to hash one takes longer than to make it.
    seen: dict[tuple[object, ...], BlockPlan] = {}
    for template in templates:
        for part in _parts(template, stages):
            if isinstance(part, PartPlan):
                needs = needs_of_end(part)
            else:
                index, position, stage, block = part
                key = (index, position, stage.kernel, stage.expansion, id(block))
                if key in seen:
                    continue
                seen[key] = block
                needs = needs_of_block(*part)
            for need in needs:
                _add(found, need)
    return found


def _parts(
    template: Architecture, stages: Sequence[Collection[Stage]]
) -> Iterator[PartPlan | Block]:
    """Yield the plans of stem, blocks and heads for every input that they can have."""
    activation, padding = template.activation, template.padding
    stem = plan_stem(template.stem, template.resolution, padding, activation)
    yield stem
    inputs = {(stem.out_channels, stem.out_size)}
    for index, own in enumerate(stages):
        outputs = set()
        for stage in own:
            for channels, size in inputs:
                blocks = plan_stage(stage, channels, size, padding)
                outputs.add((blocks[-1].out_channels, blocks[-1].out_size))
                for position, block in enumerate(blocks):
                    yield index, position, stage, block
        inputs = outputs
    for channels, size in inputs:
        yield plan_head(template.head_channels, template.num_classes, channels, size, activation)


def parts_of(plan: NetworkPlan) -> Iterator[PartPlan | Block]:
    """Yield the parts of one network, in order of execution."""
    yield plan.stem
    for index, (stage, blocks) in enumerate(
        zip(plan.architecture.stages, plan.stages, strict=True)
    ):
        for position, block in enumerate(blocks):
            yield index, position, stage, block
    yield plan.head


def needs_of_end(part: PartPlan) -> list[Need]:
    """Return the parameters of a stem or head."""
    return [
        Need(f"{layer.path}.{name}", _attribute(f"{layer.path}/{name}"), shape, layer)
        for layer in part.layers
        for name, shape in layer.shapes.items()
    ]


def needs_of_block(index: int, position: int, stage: Stage, block: BlockPlan) -> list[Need]:
    """Return the parameters of a block."""
    place = f"blocks/{index}/{position}/{block.kind}"
    option = f"{place}/kernel {stage.kernel} expansion {stage.expansion:g}"
    return [
        Need(
            f"{layer.path}.{name}",
            _attribute(f"{option if layer.op == 'batch_norm' else place}/{layer.path}/{name}"),
            shape,
            layer,
        )
        for layer in block.layers
        for name, shape in layer.shapes.items()
    ]


def _attribute(name: str) -> str:
    return name.replace(".", "/")  # torch allows no point in a parameter's name


def _add(found: dict[str, Shared], need: Need) -> None:
    shape, name = need.shape, need.name.rpartition(".")[2]
    old = found.get(need.shared)
    if old is None:
        found[need.shared] = Shared(shape=shape, layer=need.layer, name=name)
        return
    if len(old.shape) != len(shape):
        raise UsageError(
            f"supernet requires parameters with one number of axes each, got {list(old.shape)} "
            f"and {list(shape)} for {need.shared}"
        )
    layer = max(old.layer, need.layer, key=lambda layer: layer.weights)
    if any(new > known for new, known in zip(shape, old.shape, strict=True)) or layer != old.layer:
        both = tuple(map(max, shape, old.shape))
        found[need.shared] = replace(old, shape=both, layer=layer)


def slices(shared: Shape, wanted: Shape) -> tuple[slice, ...]:
    """Return the part of a shared parameter that a network uses: the leading channels, the centre
    of the kernel."""
    centred = [(large - small) // 2 for large, small in zip(shared, wanted, strict=True)]
    starts = (0, 0, *centred[2:])
    pairs = zip(starts[: len(wanted)], wanted, strict=True)
    return tuple(slice(start, start + length) for start, length in pairs)
