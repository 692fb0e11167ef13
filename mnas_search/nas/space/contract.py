"""The contract of search spaces."""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol, final

import numpy as np
from numpy.typing import NDArray

from mnas_search.architecture.stage import Stage
from mnas_search.architecture.traced_network import Network
from mnas_search.architecture.value import Architecture
from mnas_search.common import plugins
from mnas_search.common.checks import shown
from mnas_search.common.errors import UsageError, error_context
from mnas_search.nas.space.choices import Choices, Codes, Decision


class SearchSpace(ABC):
    """A finite set of networks."""

    @property
    @abstractmethod
    def decisions(self) -> tuple[Decision, ...]:
        """What is open, in a fixed order, with different names."""

    @abstractmethod
    def decode(self, choices: Choices) -> Network:
        """Return the network that the choices stand for."""


class StagewiseSpace(SearchSpace):
    """A search space whose stages are decided one by one.

    The framework composes `decode` from the parts, and counts whole batches of codes from one
    exact cost table a stage.
    """

    @property
    @abstractmethod
    def template(self) -> Architecture:
        """Everything but the stages: stem, head, resolution; its own stages are ignored."""

    @property
    @abstractmethod
    def stage_decisions(self) -> tuple[tuple[Decision, ...], ...]:
        """The decisions of each stage."""

    @abstractmethod
    def stage(self, index: int, choices: Choices) -> Stage:
        """Return stage `index` from the choices of its own decisions; others are ignored."""

    @property
    @final
    def decisions(self) -> tuple[Decision, ...]:
        """All stages' decisions, stage by stage."""
        return tuple(d for stage in self.stage_decisions for d in stage)

    @final
    def stages_at(self, index: int) -> list[Stage]:
        """Return stage `index` for every combination of its options, the last decision fastest."""
        names = [decision.name for decision in self.stage_decisions[index]]
        combinations = itertools.product(*(d.options for d in self.stage_decisions[index]))
        return [self.stage(index, dict(zip(names, c, strict=True))) for c in combinations]

    @final
    def decode(self, choices: Choices) -> Architecture:
        """Return the template with the stages of the choices."""
        stages = tuple(self.stage(i, choices) for i in range(len(self.stage_decisions)))
        return replace(self.template, stages=stages)


class BatchCosts(Protocol):
    """Exact costs of any batch of codes [N, D]."""

    def __call__(self, codes: Codes, /) -> Mapping[str, NDArray[np.int64 | np.float64]]:
        """Return each cost [N] by its name, as `CostModel.costs` names them."""


class BatchBlocks(Protocol):
    """Number of blocks of any batch of codes [N, D]."""

    def __call__(self, codes: Codes, /) -> NDArray[np.int64]:
        """Return numbers [N]."""


class BatchAccuracy(Protocol):
    """Predicted accuracy of any batch of codes [N, D]."""

    def __call__(self, codes: Codes, /) -> NDArray[np.float64]:
        """Return fractions [N]."""


_DEFAULTS = {"resolution": 224, "num_classes": 1000}


def decode(space: SearchSpace, choices: Choices) -> Network:
    """Return the network that a space's `decode` makes of choices.

    Raises:
        WorkFailed: `decode` raises, or returns something else than a network.
    """
    with error_context("the search space's decode"):
        network = space.decode(choices)
        if not isinstance(network, Network):
            raise TypeError(f"{shown(network)} is no Architecture or TracedNetwork")
    return network


def first_network(space: SearchSpace) -> Network:
    """Return the network of every decision's first option."""
    with error_context("the search space's decisions"):
        choices = {decision.name: decision.options[0] for decision in space.decisions}
    return decode(space, choices)


def fixed_resolution(name: str) -> int | None:
    """Return the resolution of a space that takes none; None for a space that takes one."""
    target = plugins.load("search_spaces", name)
    if isinstance(target, type) and "resolution" in plugins.parameters(target):
        return None
    return first_network(make_space(name)).resolution


def make_space(
    name: str, *, resolution: int | None = 224, num_classes: int | None = 1000
) -> SearchSpace:
    """Return the search space of a name, for deployment at a resolution and number of classes;
    None for the space's own.

    Raises:
        UsageError: a space that takes no such option, or is an instance, has other networks.
    """
    target = space = plugins.load("search_spaces", name)
    given = {"resolution": resolution, "num_classes": num_classes}
    accepted: set[str] = set()
    if isinstance(target, type) and issubclass(target, SearchSpace):
        accepted = given.keys() & set(plugins.parameters(target))
        fitting = {o: v for o, v in given.items() if o in accepted and v is not None}
        space = plugins.make(target, name, **fitting)
    if not isinstance(space, SearchSpace):
        raise UsageError(f"space must be a SearchSpace class, got {name!r}")
    _check_decisions(space, name)
    for option, value in given.items():
        if option not in accepted and value not in (None, _DEFAULTS[option]):
            own = getattr(first_network(space), option, None)
            if value != own:
                raise UsageError(f"{option} is fixed by space {name!r}, got {value}")
    return space


def _check_decisions(space: SearchSpace, name: str) -> None:
    """Refuse a space without decisions, or with something else in their place."""
    with error_context("the search space's decisions"):
        found = space.decisions
    if not isinstance(found, tuple) or not all(isinstance(one, Decision) for one in found):
        raise UsageError(
            f"decisions of space {name!r} must be a tuple of Decision, got {shown(found)}"
        )
    names = [decision.name for decision in found]
    if len(set(names)) < len(names) or not names:
        raise UsageError(
            f"space {name!r} must have decisions, all with different names, got "
            f"{', '.join(names) or 'none'}"
        )
