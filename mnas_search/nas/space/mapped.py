"""Spaces each of whose networks is changed in the same way, such as in its activation."""

from collections.abc import Callable
from dataclasses import replace
from typing import final

from mnas_search.architecture.stage import Stage
from mnas_search.architecture.traced_network import Network
from mnas_search.architecture.value import Architecture
from mnas_search.nas.space.choices import Choices, Decision
from mnas_search.nas.space.contract import SearchSpace, StagewiseSpace

Change = Callable[[Architecture], Architecture]


class ChangedStages(StagewiseSpace):
    """A stagewise space with the decisions of another one, whose template and stages differ.

    Args:
        template: the changed one.
    """

    def __init__(self, space: StagewiseSpace, template: Architecture) -> None:
        self._space, self._template = space, template

    @property
    def template(self) -> Architecture:
        """The changed one."""
        return self._template

    @property
    def stage_decisions(self) -> tuple[tuple[Decision, ...], ...]:
        """The space's."""
        return self._space.stage_decisions


@final
class MappedStages(ChangedStages):
    """A stagewise space whose networks are changed, each stage apart.

    Args:
        change: changes a stage without regard to the others.
    """

    def __init__(self, space: StagewiseSpace, change: Change) -> None:
        super().__init__(space, change(space.template))
        self._change = change

    def stage(self, index: int, choices: Choices) -> Stage:
        """Return the space's stage, changed."""
        stage = self._space.stage(index, choices)
        return self._change(replace(self._space.template, stages=(stage,))).stages[0]


@final
class MappedNetworks(SearchSpace):
    """A space whose networks are changed as they are decoded; traced ones stay as they are."""

    def __init__(self, space: SearchSpace, change: Change) -> None:
        self._space, self._change = space, change

    @property
    def decisions(self) -> tuple[Decision, ...]:
        """The space's."""
        return self._space.decisions

    def decode(self, choices: Choices) -> Network:
        """Return the space's network, changed."""
        network = self._space.decode(choices)
        return self._change(network) if isinstance(network, Architecture) else network


def map_space(space: SearchSpace, change: Change) -> SearchSpace:
    """Return the space with its networks changed; a stagewise space stays one."""
    if isinstance(space, StagewiseSpace):
        return MappedStages(space, change)
    return MappedNetworks(space, change)
