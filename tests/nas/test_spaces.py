"""Search spaces, and what they contain."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from strategies import SPACES

from mnas_search import reference
from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import InvalidArchitecture
from mnas_search.nas.space.choices import sizes
from mnas_search.nas.space.encoding import encode_architecture
from mnas_search.testing import EvaluatorContract, SearchSpaceContract

GOLDEN = Path(__file__).parents[1] / "golden" / "mnasnet_a1.json"


@pytest.mark.parametrize("name", SPACES)
class TestEverySpace(SearchSpaceContract):
    @pytest.fixture
    def space(self, name):
        return SPACES[name]


class TestProxyTraining(EvaluatorContract):
    @pytest.fixture
    def evaluator(self):
        from mnas_search.evaluators.proxy_training import ProxyTraining

        return ProxyTraining()

    @pytest.fixture
    def network(self):
        return Architecture.from_block_string("ds_r1_k3_s2_c16 ir_r1_k3_s2_e4_c24_se0.25")


def test_the_efficientnet_space():
    space = SPACES["efficientnet"]
    assert len(space.decisions) == 28
    assert math.prod(sizes(space.decisions)) == 36**6 * 48
    b0 = reference.architecture("efficientnet_b0")
    choices = encode_architecture(space, b0)
    assert space.decode(choices).fingerprint == b0.fingerprint


@pytest.mark.parametrize("name", ["mnasnet", "mnasnet_published"])
def test_the_mnasnet_spaces_have_432_choices_a_block(name):
    space = SPACES[name]
    assert [math.prod(sizes(d)) for d in space.stage_decisions] == [432] * 7
    for network in (space.decode({d.name: d.options[0] for d in space.decisions}),):
        assert min(stage.repeats for stage in network.stages) == 1


PUBLISHED = ("mnasnet_a1", "mnasnet_b1", "efficientnet_b0")


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_published_networks_encode_and_decode(name):
    network = reference.architecture(name)
    space = SPACES["mnasnet_published"]
    choices = encode_architecture(space, network, any_activation=True)
    decoded = space.decode(choices)
    assert cost(decoded) == cost(network)
    same = replace(
        decoded,
        stages=tuple(replace(s, activation=network.activation) for s in decoded.stages),
        activation=network.activation,
    )
    assert same.fingerprint == network.fingerprint


@pytest.mark.parametrize("name", PUBLISHED)
def test_the_literal_ratios_contain_none_of_them(name):
    with pytest.raises(InvalidArchitecture, match="is not in the space"):
        encode_architecture(SPACES["mnasnet"], reference.architecture(name), any_activation=True)


def test_mobilenet_v2_is_in_the_literal_space():
    network = reference.architecture("mobilenet_v2")
    choices = encode_architecture(SPACES["mnasnet"], network, any_activation=True)
    assert cost(SPACES["mnasnet"].decode(choices)) == cost(network)


def test_skips_act_where_the_paper_says():
    space = SPACES["mnasnet"]
    choices = encode_architecture(
        space, reference.architecture("mobilenet_v2"), any_activation=True
    )
    from mnas_search.architecture.blocks import plan

    def shortcuts(skip, stage):
        network = space.decode({**choices, **{f"block{i}.skip": skip for i in range(7)}})
        return [block.shortcut for block in plan(network).stages[stage]]

    assert shortcuts("identity", 1) == ["none", "identity"]  # 16 -> 24 at stride 2, then 24 -> 24
    assert shortcuts("pool", 1) == ["none", "pool"]  # widths differ in the first layer
    assert shortcuts("none", 1) == ["none", "none"]


def test_golden_mnasnet_a1():
    """Layer by layer, with the choices that give it; the file holds its own configuration."""
    from mnas_search.architecture.blocks import plan

    golden = json.loads(GOLDEN.read_text())
    network = SPACES[golden["space"]].decode(golden["choices"])
    assert network.block_string == golden["block_string"]
    counted = cost(network)
    assert [counted.params, counted.macs] == [golden["params"], golden["macs"]]
    table = [
        [x.path, x.op, x.in_channels, x.out_channels, x.kernel, x.stride, x.out_size, x.macs]
        for x in plan(network).layers()
    ]
    assert table == golden["layers"]
    # Against the paper's figure 7(a): widths, kernels and repeats of A1
    assert [s.out_channels for s in network.stages] == [16, 24, 40, 80, 112, 160, 320]
    assert [s.repeats for s in network.stages] == [1, 2, 3, 4, 2, 3, 1]
    assert [bool(s.se_ratio) for s in network.stages] == [0, 0, 1, 0, 1, 1, 0]


def test_spaces_take_resolution_and_classes():
    from mnas_search.search_spaces.mnasnet import MnasNetSpace

    space = MnasNetSpace(resolution=96, num_classes=7)
    network = space.decode({d.name: d.options[0] for d in space.decisions})
    assert (network.resolution, network.num_classes) == (96, 7)
