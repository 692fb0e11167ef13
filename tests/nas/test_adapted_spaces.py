"""Spaces on small images: exact counts, encoding, and the spaces that stay as they are."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from listed_spaces import Listed, every, random_space, stage
from strategies import codes

from mnas_search import reference
from mnas_search.architecture.adaptation import adapt
from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.traced_network import TracedNetwork
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import UsageError
from mnas_search.nas.space.adapted import AdaptedStages, adapt_space
from mnas_search.nas.space.choices import Decision, decode
from mnas_search.nas.space.contract import SearchSpace, fixed_resolution, make_space
from mnas_search.nas.space.cost import space_cost
from mnas_search.nas.space.cost_model import CostModel
from mnas_search.nas.space.encoding import encode_architecture
from mnas_search.nas.space.mapped import MappedNetworks
from mnas_search.testing import SearchSpaceContract

NAMES = ("efficientnet", "mnasnet", "mnasnet_published")
SIZES = (16, 32, 64, 96)


def plain(name, resolution):
    return make_space(name, resolution=resolution, num_classes=10)


ADAPTED = {(n, r): adapt_space(plain(n, r), r)[0] for n in NAMES for r in SIZES}


@pytest.mark.parametrize("name", NAMES)
class TestAdaptedStages(SearchSpaceContract):
    @pytest.fixture
    def space(self, name):
        return ADAPTED[name, 32]


class Walked(SearchSpace):
    """A space that only decodes."""

    decisions = plain("efficientnet", 224).decisions

    def __init__(self, *, resolution):
        self._space = plain("efficientnet", resolution)

    def decode(self, choices):
        return self._space.decode(choices)


class TestAdaptedNetworks(SearchSpaceContract):
    @pytest.fixture
    def space(self):
        return adapt_space(Walked(resolution=32), 32)[0]


@settings(deadline=None)
@given(st.sampled_from(sorted(ADAPTED)), st.data())
def test_batches_count_the_adapted_networks(which, data):
    """Counts from tables are those of the networks, adapted one by one."""
    name, resolution = which
    rows = np.array([data.draw(codes(ADAPTED[which])) for _ in range(3)])
    counter = space_cost(ADAPTED[which], CostModel(metrics=("memory",)))
    assert counter.vectorised
    counted = counter(rows)
    whole = plain(name, resolution)
    for index, row in enumerate(rows):
        network = adapt(whole.decode(decode(whole.decisions, row)), resolution)
        assert ADAPTED[which].decode(decode(whole.decisions, row)) == network
        found = cost(network)
        assert counted["macs"][index] == found.macs
        assert counted["params"][index] == found.params
        assert counted["inference_memory"][index] == found.inference_memory


def test_the_range_of_an_adapted_space_is_exact():
    space = Listed(
        (stage("ir", 3, 4, 8), stage("ds", 5, 1, 12)),
        (stage("ir", 5, 2, 16), stage("cn", 3, 1, 10)),
        (stage("ds", 3, 1, 20), stage("ir", 3, 3, 20)),
    )
    adapted, _ = adapt_space(space, 32)
    assert isinstance(adapted, AdaptedStages)
    assert [adapted.stage(i, {f"s{i}": 0}).stride for i in range(3)] == [1, 2, 2]
    macs = [cost(adapted.decode(decode(adapted.decisions, row))).macs for row in every(adapted)]
    found = space_cost(adapted).feasible_range()
    assert (found.low, found.high) == (min(macs), max(macs))


@pytest.mark.parametrize("resolution", SIZES)
def test_adapted_networks_encode(resolution):
    space, sentence = adapt_space(plain("efficientnet", resolution), resolution)
    b0 = replace(adapt(reference.architecture("efficientnet_b0"), resolution), num_classes=10)
    assert space.decode(encode_architecture(space, b0)).fingerprint == b0.fingerprint
    assert f"images of {resolution} pixels" in sentence


def test_a_space_without_stages_is_adapted_as_it_decodes():
    space, sentence = adapt_space(Walked(resolution=32), 32)
    assert isinstance(space, MappedNetworks)
    assert "2 of 5 strides are dropped" in sentence
    choices = decode(space.decisions, [0] * 28)
    assert space.decode(choices) == adapt(Walked(resolution=32).decode(choices), 32)
    assert not space_cost(space).vectorised


@pytest.mark.parametrize("resolution", [128, 160, 224])
def test_large_images_keep_every_stride(resolution):
    space = plain("efficientnet", resolution)
    assert adapt_space(space, resolution) == (space, None)


class Strided(SearchSpace):
    """A space without stages that decides a stride."""

    decisions = (Decision(name="stride", options=(1, 2)),)

    def decode(self, choices):
        text = f"ds_r1_k3_s{choices['stride']}_c8 ir_r1_k3_s2_e4_c8 ir_r1_k3_s2_e4_c16"
        return Architecture.from_block_string(text, resolution=16)


class Traced(SearchSpace):
    """A space of one network that is no chain of stages."""

    decisions = (Decision(name="width", options=(8, 16)),)

    def decode(self, choices):
        return TracedNetwork(build=lambda: None, key=str(choices["width"]), resolution=32)


@pytest.mark.parametrize(
    ("space", "resolution", "reason"),
    [
        (Strided(), 16, "decides strides"),
        (random_space(3), 32, "decides strides"),
        (Traced(), 32, "strides of traced networks"),
        (plain("efficientnet", 224), 32, "fixes its resolution, 224 pixels"),
    ],
)
def test_other_spaces_stay_as_they_are(space, resolution, reason):
    same, sentence = adapt_space(space, resolution)
    assert same is space
    assert reason in sentence


def test_the_resolution_of_a_space_that_takes_none(tmp_path):
    file = tmp_path / "own.py"
    file.write_text(
        "from dataclasses import replace\n"
        "from mnas_search.search_spaces.efficientnet import EfficientNetSpace\n"
        "class Own(EfficientNetSpace):\n"
        "    def __init__(self):\n"
        "        super().__init__(resolution=48)\n"
    )
    name = f"{file}:Own"
    assert fixed_resolution(name) == 48
    assert fixed_resolution("efficientnet") is None
    assert make_space(name, resolution=None).template.resolution == 48
    with pytest.raises(UsageError, match="resolution is fixed by space"):
        make_space(name, resolution=32)
