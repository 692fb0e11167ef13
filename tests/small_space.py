"""A small search space for deployment at any resolution and number of classes."""

from dataclasses import replace
from typing import final

from mnas_search.architecture.value import Architecture
from mnas_search.nas.space.contract import StagewiseSpace
from mnas_search.testing import ToySpace


@final
class SmallSpace(StagewiseSpace):
    """The toy space's stages."""

    def __init__(self, *, resolution: int = 32, num_classes: int = 10) -> None:
        toy = ToySpace()
        self._toy = toy
        self._template = replace(toy.template, resolution=resolution, num_classes=num_classes)

    @property
    def template(self) -> Architecture:
        return self._template

    @property
    def stage_decisions(self):
        return self._toy.stage_decisions

    def stage(self, index, choices):
        return self._toy.stage(index, choices)
