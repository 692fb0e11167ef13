"""A whole network's plan: stem, blocks by stage, head."""

import functools
from collections.abc import Iterator
from dataclasses import dataclass, replace

from mnas_search.architecture.blocks.plan_builder import PlanBuilder
from mnas_search.architecture.kind import BlockPlan, BlockSpec, Layer, block_kind
from mnas_search.architecture.stage import Stage, Stem
from mnas_search.architecture.value import Architecture


@dataclass(frozen=True, slots=True, kw_only=True)
class PartPlan:
    """Stem or head; the fields are as in `BlockPlan`."""

    layers: tuple[Layer, ...]
    out_channels: int
    out_size: int
    params: int
    macs: int
    state_bytes: int
    peak: int
    saved_for_backward: int
    saves_input: bool
    saves_output: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPlan:
    """Every layer of a network."""

    architecture: Architecture
    stem: PartPlan  # `conv_stem`, `bn1`
    stages: tuple[tuple[BlockPlan, ...], ...]  # the blocks of each stage
    head: PartPlan  # `conv_head` and `bn2` where the architecture has them, `classifier`

    @property
    def parts(self) -> tuple[PartPlan | BlockPlan, ...]:
        """Stem, blocks and head, in order of execution."""
        return (self.stem, *(block for stage in self.stages for block in stage), self.head)

    def layers(self) -> Iterator[Layer]:
        """Yield all layers with parameters, with full paths, in order of execution."""
        yield from self.stem.layers
        for s, stage in enumerate(self.stages):
            for b, block in enumerate(stage):
                for layer in block.layers:
                    yield replace(layer, path=f"blocks.{s}.{b}.{layer.path}")
        yield from self.head.layers


def plan(architecture: Architecture) -> NetworkPlan:
    """Resolve every integer of a network."""
    activation = architecture.activation
    stem = plan_stem(architecture.stem, architecture.resolution, architecture.padding, activation)
    channels, size = stem.out_channels, stem.out_size
    stages = []
    for stage in architecture.stages:
        blocks = plan_stage(stage, channels, size, architecture.padding)
        stages.append(blocks)
        channels, size = blocks[-1].out_channels, blocks[-1].out_size
    head = plan_head(
        architecture.head_channels, architecture.num_classes, channels, size, activation
    )
    return NetworkPlan(architecture=architecture, stem=stem, stages=tuple(stages), head=head)


@functools.lru_cache(maxsize=1024)
def plan_stem(stem: Stem, resolution: int, padding: str, activation: str) -> PartPlan:
    """Plan the stem over a 3-channel image."""
    builder = PlanBuilder(3, resolution, padding)
    builder.conv("conv_stem", stem.channels, kernel=stem.kernel, stride=stem.stride)
    builder.batch_norm("bn1", activation)
    if stem.pool:
        builder.max_pool(2)
    return _part(builder)


@functools.lru_cache(maxsize=4096)
def plan_head(
    head_channels: int | None, num_classes: int, channels: int, size: int, activation: str
) -> PartPlan:
    """Plan 1x1 convolution, global average pool and classifier."""
    builder = PlanBuilder(channels, size, "symmetric")
    if head_channels is not None:
        builder.conv("conv_head", head_channels)
        builder.batch_norm("bn2", activation)
    builder.global_pool()
    builder.linear("classifier", num_classes)
    return _part(builder)


@functools.lru_cache(maxsize=65_536)
def plan_stage(
    stage: Stage, in_channels: int, in_size: int, padding: str
) -> tuple[BlockPlan, ...]:
    """Plan the blocks of a stage; the first one strides and changes the width."""
    first = BlockSpec(
        kind=stage.kind,
        in_channels=in_channels,
        out_channels=stage.out_channels,
        in_size=in_size,
        kernel=stage.kernel,
        stride=stage.stride,
        expansion=stage.expansion,
        se_ratio=stage.se_ratio,
        skip=stage.skip,
        activation=stage.activation,
        padding=padding,
    )
    blocks = [_plan_block(first)]
    if stage.repeats > 1:
        size = blocks[0].out_size
        later = replace(first, in_channels=stage.out_channels, in_size=size, stride=1)
        blocks += [_plan_block(later)] * (stage.repeats - 1)
    return tuple(blocks)


@functools.lru_cache(maxsize=65_536)
def _plan_block(spec: BlockSpec) -> BlockPlan:
    return block_kind(spec.kind).plan(spec)


def _part(builder: PlanBuilder) -> PartPlan:
    return PartPlan(
        layers=tuple(builder.layers),
        out_channels=builder.channels,
        out_size=builder.size,
        params=sum(layer.params for layer in builder.layers),
        macs=sum(layer.macs for layer in builder.layers),
        state_bytes=sum(layer.state_bytes for layer in builder.layers),
        peak=builder.peak,
        saved_for_backward=builder.saved_for_backward,
        saves_input=builder.saves_input,
        saves_output=builder.saves_output,
    )
