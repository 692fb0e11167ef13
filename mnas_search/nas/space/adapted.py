"""Spaces on small images: every network is adapted once (`mnas_search.architecture.adaptation`).

A stagewise space stays one: the strides are dropped from its template and its stages, so that
cost tables, feasible ranges and encoding count the adapted networks.
"""

from dataclasses import replace
from functools import partial
from typing import final

from mnas_search.architecture.adaptation import FULL_STRIDES, adapt, halvings
from mnas_search.architecture.stage import Stage
from mnas_search.architecture.value import Architecture
from mnas_search.nas.space.choices import Choices
from mnas_search.nas.space.contract import SearchSpace, StagewiseSpace, first_network
from mnas_search.nas.space.mapped import ChangedStages, MappedNetworks


@final
class AdaptedStages(ChangedStages):
    """A stagewise space whose stages have the strides of one adapted network.

    Args:
        adapted: a network of `space`, adapted; all have the same strides.
    """

    def __init__(self, space: StagewiseSpace, adapted: Architecture) -> None:
        super().__init__(space, replace(space.template, stem=adapted.stem))
        self._strides = tuple(stage.stride for stage in adapted.stages)

    def stage(self, index: int, choices: Choices) -> Stage:
        """Return the space's stage, with the adapted stride."""
        return replace(self._space.stage(index, choices), stride=self._strides[index])


def adapt_space(space: SearchSpace, resolution: int) -> tuple[SearchSpace, str | None]:
    """Return the space with its networks adapted to a resolution, and a sentence on what changed.

    Spaces whose networks have another resolution, decide strides or are traced stay as they are,
    and the sentence says so; it is None where the images are large enough for all strides.
    """
    if resolution >= FULL_STRIDES:
        return space, None
    first = first_network(space)
    if first.resolution != resolution:
        return space, f"the space fixes its resolution, {first.resolution} pixels, and its strides"
    if not isinstance(first, Architecture):
        return space, "the strides of traced networks are the space's"
    if _decides_strides(space, first):
        return space, "the space decides strides: none is dropped for small images"
    adapted = adapt(first, resolution)
    if adapted == first:
        return space, None
    whole = halvings(first)
    dropped = whole - halvings(adapted)
    sentence = (
        f"images of {resolution} pixels: {dropped} of {whole} "
        "strides are dropped, those of the first stages first, so that the last map is not "
        "smaller than 4x4"
    )
    if isinstance(space, StagewiseSpace):
        return AdaptedStages(space, adapted), sentence
    return MappedNetworks(space, partial(adapt, resolution=resolution)), sentence


def _decides_strides(space: SearchSpace, first: Architecture) -> bool:
    """Tell whether strides depend on choices: of any combination in a stage of a stagewise space,
    of one decision after the other in another space."""
    if isinstance(space, StagewiseSpace):
        every = (space.stages_at(index) for index in range(len(space.stage_decisions)))
        return any(len({stage.stride for stage in stages}) > 1 for stages in every)
    plain = {decision.name: decision.options[0] for decision in space.decisions}
    for decision in space.decisions:
        for option in decision.options[1:]:
            network = space.decode({**plain, decision.name: option})
            if not isinstance(network, Architecture) or halvings(network) != halvings(first):
                return True
    return False
