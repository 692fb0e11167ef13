"""The parts that occur in a search space."""

from mnas_search.architecture.blocks.network import plan_head, plan_stage, plan_stem
from mnas_search.architecture.cost.latency.parts import Part, block_part, end_part
from mnas_search.nas.space.contract import StagewiseSpace


def parts_of_space(space: StagewiseSpace) -> list[Part]:
    """Return the distinct parts that occur in a space, stage by stage."""
    template = space.template
    activation, padding = template.activation, template.padding
    stem = plan_stem(template.stem, template.resolution, padding, activation)
    parts = [end_part("stem", stem, template.resolution, template)]
    states = {(stem.out_channels, stem.out_size)}
    for index in range(len(space.stage_decisions)):
        planned = [
            plan_stage(stage, *state, padding)
            for stage in space.stages_at(index)
            for state in sorted(states)
        ]
        parts += [block_part(block, template) for blocks in planned for block in blocks]
        states = {(blocks[-1].out_channels, blocks[-1].out_size) for blocks in planned}
    for channels, size in sorted(states):
        head = plan_head(template.head_channels, template.num_classes, channels, size, activation)
        parts.append(end_part("head", head, size, template))
    return distinct(parts)


def distinct(parts: list[Part]) -> list[Part]:
    """Keep one part per key, in order."""
    return list({part.key: part for part in parts}.values())
