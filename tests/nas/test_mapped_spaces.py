"""Spaces whose networks are all changed in the same way."""

from dataclasses import replace

import numpy as np

from mnas_search.architecture.cost.count import cost
from mnas_search.nas.space.choices import decode, sample_codes
from mnas_search.nas.space.contract import SearchSpace, StagewiseSpace
from mnas_search.nas.space.cost import space_cost
from mnas_search.nas.space.mapped import map_space
from mnas_search.testing.toy import ToySpace


class Plain(SearchSpace):
    """The toy space without its stages."""

    decisions = ToySpace().decisions

    def decode(self, choices):
        return ToySpace().decode(choices)


def with_relu(network):
    stages = tuple(replace(stage, activation="relu", kernel=7) for stage in network.stages)
    return replace(network, stages=stages, activation="relu")


def test_every_network_is_changed_and_counted_as_changed():
    spaces = [map_space(space, with_relu) for space in (ToySpace(), Plain())]
    assert [isinstance(space, StagewiseSpace) for space in spaces] == [True, False]
    codes = sample_codes(spaces[0].decisions, 8, np.random.default_rng(0))
    for space in spaces:
        networks = [space.decode(decode(space.decisions, code)) for code in codes]
        originals = [ToySpace().decode(decode(space.decisions, code)) for code in codes]
        assert networks == [with_relu(network) for network in originals]
        macs = space_cost(space)(codes)["macs"]
        assert macs.tolist() == [cost(network).macs for network in networks]
        assert macs.tolist() != [cost(network).macs for network in originals]
