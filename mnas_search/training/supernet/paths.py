"""The networks of a supernet's training steps."""

from collections.abc import Callable
from dataclasses import replace
from typing import final

import numpy as np

from mnas_search.architecture.blocks.network import plan_stage
from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import UsageError
from mnas_search.nas.space.alternatives import Alternatives, alternatives
from mnas_search.nas.space.choices import Option
from mnas_search.nas.space.contract import SearchSpace

_ATTEMPTS = 1_000  # to draw a network that is allowed
_SIZE = 8  # pixels, of any map
Key = Callable[[Architecture], tuple[float, ...]]


@final
class Paths:
    """The largest and smallest networks of a space, and random ones.

    Args:
        space: of networks of stages.
        seed: of the random networks.
        allows: whether a network may be drawn at random; None for all.
    """

    def __init__(
        self,
        space: SearchSpace,
        *,
        seed: int,
        allows: Callable[[Architecture], bool] | None = None,
    ) -> None:
        self._space, self._seed, self._allows = space, seed, allows
        self.smallest = self._extreme(lambda network: (-cost(network).macs,))
        kinds = _kinds_with_layers(alternatives(space)) or ("",)
        self._largest = [self._extreme(_most_of(kind)) for kind in kinds]

    def largest(self, step: int) -> Architecture:
        """Return the largest network of a step: that of most multiply-adds among those with most
        stages of a block kind, of each kind in turn. Of all networks it would always be one of the
        most expensive kind, and the others would learn from no label."""
        return self._largest[step % len(self._largest)]

    def random(self, number: int) -> Architecture:
        """Return random network `number`, always the same.

        Where all are allowed, numbers 0 to n - 1 use each of the n options of a decision once, n
        to 2n - 1 again, and so on. A network that is not allowed is drawn anew.

        Raises:
            UsageError: none of 1,000 is allowed.
        """
        for attempt in range(_ATTEMPTS):
            choices: dict[str, Option] = {}
            for index, decision in enumerate(self._space.decisions):
                turn, place = divmod(number, len(decision.options))
                rng = np.random.default_rng((self._seed, index, attempt, turn))
                order = rng.permutation(len(decision.options))
                choices[decision.name] = decision.options[order[place]]
            network = self._decode(choices)
            if self._allows is None or self._allows(network):
                return network
        raise UsageError(
            "supernet requires networks near the target: of the space's random networks, none was "
            f"allowed in {_ATTEMPTS:,} draws"
        )

    def _extreme(self, key: Key) -> Architecture:
        """Climb to the network with the largest key by changing one decision after the other."""
        choices: dict[str, Option] = {d.name: d.options[0] for d in self._space.decisions}
        best = key(self._decode(choices))
        while True:
            before = best
            for decision in self._space.decisions:
                for option in decision.options:
                    changed = {**choices, decision.name: option}
                    if (found := key(self._decode(changed))) > best:
                        choices, best = changed, found
            if best == before:
                return self._decode(choices)

    def _decode(self, choices: dict[str, Option]) -> Architecture:
        network = self._space.decode(choices)
        assert isinstance(network, Architecture)
        return network


def _kinds_with_layers(found: Alternatives) -> tuple[str, ...]:
    """Return the block kinds of a space, but those that can be an identity: blocks without any
    layer where the shape stays the same."""
    padding = found.templates[0].padding
    stages = [replace(stage, stride=1) for own in found.stages for stage in own]
    identities = {
        stage.kind
        for stage in stages
        if not plan_stage(stage, stage.out_channels, _SIZE, padding)[0].layers
    }
    return tuple(sorted({stage.kind for stage in stages} - identities))


def _most_of(kind: str) -> Key:
    def key(network: Architecture) -> tuple[float, ...]:
        return sum(stage.kind == kind for stage in network.stages), cost(network).macs

    return key
