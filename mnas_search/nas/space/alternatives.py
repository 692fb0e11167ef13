"""What the networks of a space consist of: every stage that can occur at each place.

The networks of a space are too many to list, but those of one stage are not: a stage depends on a
few decisions. In a stagewise space they are known; in another one they are found by changing one
decision after the other in some networks.
"""

import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace

import numpy as np

from mnas_search.architecture.stage import Stage
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import UsageError
from mnas_search.nas.space.choices import Choices, Decision, Option, sample
from mnas_search.nas.space.contract import SearchSpace, StagewiseSpace

_MAX_COMBINATIONS = 65_536  # of the options that one stage depends on
_PROBES = 16  # random networks in which decisions are changed


@dataclass(frozen=True, slots=True, kw_only=True)
class Alternatives:
    """The parts of a space's networks.

    Attributes:
        templates: networks that differ in something other than their stages, such as the stem.
        stages: the distinct stages at each place.
    """

    templates: tuple[Architecture, ...]
    stages: tuple[tuple[Stage, ...], ...]


def alternatives(
    space: SearchSpace, change: Callable[[Architecture], Architecture] = lambda network: network
) -> Alternatives:
    """Return the parts of the networks of a space, each network changed by `change`.

        alternatives(EfficientNetSpace()).stages[0]  # 36 stages

    Raises:
        UsageError: networks are traced, or differ in their number of stages or in their
            resolution, or a stage depends on too many options.
    """

    def network_of(choices: Choices) -> Architecture:
        return change(_checked(space, choices))

    first: dict[str, Option] = {d.name: d.options[0] for d in space.decisions}
    base = network_of(first)
    templates: dict[Architecture, None] = {}
    stages: list[dict[Stage, None]] = [{} for _ in base.stages]
    for place, decisions in enumerate(_decisions_of_parts(space, base)):
        for local in _combinations(decisions, place):
            network = network_of({**first, **local})
            _check_same(base, network)
            templates.setdefault(_without_stages(network, base))
            for own, stage in zip(stages, network.stages, strict=True):
                own.setdefault(stage)
    return Alternatives(templates=tuple(templates), stages=tuple(map(tuple, stages)))


def _decisions_of_parts(space: SearchSpace, base: Architecture) -> list[list[Decision]]:
    """Return the decisions that each stage depends on, and those that the rest depends on."""
    if isinstance(space, StagewiseSpace):
        return [list(decisions) for decisions in space.stage_decisions]
    places: list[dict[Decision, None]] = [{} for _ in range(len(base.stages) + 1)]
    for start in _probes(space.decisions):
        before = _checked(space, start)
        for decision in space.decisions:
            for option in decision.options:
                network = _checked(space, {**start, decision.name: option})
                _check_same(before, network)
                for place in _differences(before, network):
                    places[place].setdefault(decision)
    return [list(place) for place in places]


def _probes(decisions: Sequence[Decision]) -> Iterator[dict[str, Option]]:
    for end in (0, -1):
        yield {decision.name: decision.options[end] for decision in decisions}
    rng = np.random.default_rng(0)
    for _ in range(_PROBES):
        yield sample(decisions, rng)


def _differences(one: Architecture, two: Architecture) -> list[int]:
    """Return the places of different stages; the number of stages stands for the rest."""
    pairs = zip(one.stages, two.stages, strict=True)
    found = [place for place, (a, b) in enumerate(pairs) if a != b]
    return found + [len(one.stages)] * (_without_stages(two, one) != _without_stages(one, one))


def _without_stages(network: Architecture, base: Architecture) -> Architecture:
    return replace(network, stages=base.stages, name=None)


def _combinations(decisions: Sequence[Decision], place: int) -> Iterator[dict[str, Option]]:
    count = math.prod(len(decision.options) for decision in decisions)
    if count > _MAX_COMBINATIONS:
        raise UsageError(
            f"supernet requires stages that depend on at most {_MAX_COMBINATIONS:,} combinations "
            f"of options, got {count:,} for stage {place}"
        )
    names = [decision.name for decision in decisions]
    for options in itertools.product(*(decision.options for decision in decisions)):
        yield dict(zip(names, options, strict=True))


def _checked(space: SearchSpace, choices: Choices) -> Architecture:
    network = space.decode(choices)
    if not isinstance(network, Architecture):
        raise UsageError(
            f"supernet requires networks of stages, got the traced network {network.label!r}"
        )
    return network


def _check_same(one: Architecture, two: Architecture) -> None:
    """Refuse spaces whose networks share too little."""
    for what, a, b in (
        ("number of stages", len(one.stages), len(two.stages)),
        ("resolution", one.resolution, two.resolution),
    ):
        if a != b:
            raise UsageError(
                f"supernet requires a space whose networks have one {what}, got {a} and {b}"
            )
