"""What every search space must do."""

import json

import numpy as np
import pytest

from mnas_search.architecture.cost.count import cost
from mnas_search.nas.space.choices import decode, encode, sample, sample_codes
from mnas_search.nas.space.contract import SearchSpace
from mnas_search.nas.space.cost import PerNetworkCost, space_cost
from mnas_search.nas.space.cost_model import CostModel


class SearchSpaceContract:
    """What every search space must do. Inherit it and give the fixture `space`."""

    @pytest.fixture
    def space(self) -> SearchSpace:
        """Return the space; to be overridden."""
        raise NotImplementedError("give a fixture `space`")

    def test_decisions_have_different_names(self, space: SearchSpace) -> None:
        """And there is at least one."""
        names = [d.name for d in space.decisions]
        assert names
        assert len(set(names)) == len(names)

    def test_every_choice_decodes(self, space: SearchSpace) -> None:
        """Random ones, and every option of every decision at least once."""
        rng = np.random.default_rng(0)
        for decision in space.decisions:
            for option in decision.options:
                network = space.decode({**sample(space.decisions, rng), decision.name: option})
                assert network.fingerprint

    def test_decode_is_a_function(self, space: SearchSpace) -> None:
        """The same choices, the same network; through JSON too."""
        rng = np.random.default_rng(0)
        for _ in range(5):
            choices = sample(space.decisions, rng)
            one, two = space.decode(choices), space.decode(json.loads(json.dumps(choices)))
            assert one.fingerprint == two.fingerprint
            assert cost(one) == cost(two)

    def test_batch_cost_is_each_networks(self, space: SearchSpace) -> None:
        """The counter of batches agrees with the count of each network."""
        rng = np.random.default_rng(0)
        codes = sample_codes(space.decisions, 20, rng)
        batch, walked = space_cost(space)(codes), PerNetworkCost(space)(codes)
        assert set(batch) == set(walked)
        for name, found in batch.items():
            np.testing.assert_array_equal(found, walked[name])

    def test_batch_memory_is_each_networks(self, space: SearchSpace) -> None:
        """And so do both about memory, where it is known."""
        rng = np.random.default_rng(0)
        codes = sample_codes(space.decisions, 20, rng)
        networks = (space.decode(decode(space.decisions, row)) for row in codes)
        memory = [cost(network).inference_memory for network in networks]
        if None in memory:
            pytest.skip("has networks that are no chains of stages")
        counter = space_cost(space, CostModel(metrics=("memory",)))
        np.testing.assert_array_equal(counter(codes)["inference_memory"], memory)

    def test_codes_and_choices_agree(self, space: SearchSpace) -> None:
        """`encode` and `decode` are inverse."""
        choices = sample(space.decisions, np.random.default_rng(0))
        assert decode(space.decisions, encode(space.decisions, choices)) == choices
