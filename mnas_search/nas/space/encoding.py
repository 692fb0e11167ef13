"""Encoding: the choices that decode to a given architecture."""

import itertools
from dataclasses import replace

from mnas_search.architecture.stage import Stage
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import InvalidArchitecture
from mnas_search.nas.space.choices import Option
from mnas_search.nas.space.contract import StagewiseSpace


def encode_architecture(
    space: StagewiseSpace, architecture: Architecture, *, any_activation: bool = False
) -> dict[str, Option]:
    """Return choices of `space` that give the architecture's stages, up to skips without effect.

    Only stages are compared. Where several choices give one network, the first in the decisions'
    order is taken. `any_activation` lets the space's activation stand for the architecture's.
    Raises `InvalidArchitecture`, naming the stage that the space does not have.
    """
    if len(architecture.stages) != len(space.stage_decisions):
        raise InvalidArchitecture(
            f"stages must be {len(space.stage_decisions)}, got {len(architecture.stages)}"
        )
    choices: dict[str, Option] = {}
    in_channels = architecture.stem.channels
    for index, (stage, decisions) in enumerate(
        zip(architecture.stages, space.stage_decisions, strict=True)
    ):
        wanted = _normal(stage, in_channels)
        for options in itertools.product(*(d.options for d in decisions)):
            local = dict(zip((d.name for d in decisions), options, strict=True))
            own = space.stage(index, local)
            if any_activation:
                own = replace(own, activation=stage.activation)
            if _normal(own, in_channels) == wanted:
                choices |= local
                break
        else:
            raise InvalidArchitecture(f"stage {index} is not in the space: {stage}")
        in_channels = stage.out_channels
    return choices


def _normal(stage: Stage, in_channels: int) -> Stage:
    return stage if stage.skip_acts(in_channels) else replace(stage, skip="none")
