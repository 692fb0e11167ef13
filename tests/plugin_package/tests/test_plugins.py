"""The conformance suites over the plug-ins of this package."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from acme_nas.controller import HillClimbing
from acme_nas.evaluator import ParamsCurve
from acme_nas.exporter import NpzExporter
from acme_nas.space import NarrowSpace

from mnas_search import Architecture, build, cost, load_dataset, load_plugin
from mnas_search.nas.space.alternatives import alternatives
from mnas_search.nas.space.choices import decode, sample_codes
from mnas_search.networks.supernet import Supernet
from mnas_search.testing import (
    ControllerContract,
    EvaluatorContract,
    ExporterContract,
    SearchSpaceContract,
)
from mnas_search.training.supernet import inherit

NETWORK = Architecture.from_block_string(
    "pd_r2_k3_s1_c16 pd_r1_k5_s2_c24", resolution=32, num_classes=7
)


class TestSpace(SearchSpaceContract):
    @pytest.fixture
    def space(self):
        return NarrowSpace()


class TestController(ControllerContract):
    @pytest.fixture
    def controller(self):
        return HillClimbing


class TestEvaluator(EvaluatorContract):
    @pytest.fixture
    def evaluator(self):
        return ParamsCurve()

    @pytest.fixture
    def network(self):
        return NETWORK


class TestExporter(ExporterContract):
    architecture = NETWORK

    @pytest.fixture
    def exporter(self):
        return NpzExporter()

    def logits(self, folder, images):
        with np.load(folder / "network.npz") as file:
            network = build(Architecture.from_json(str(file["architecture"])))
            state = {n: torch.from_numpy(file[n]) for n in file.files if n != "architecture"}
        network.load_state_dict(state)
        return network.eval()(images)


def test_the_block_is_what_its_plan_says():
    network = build(NETWORK)
    assert cost(NETWORK).params == sum(p.numel() for p in network.parameters())
    names = {name.rpartition(".")[0] for name in network.state_dict()}
    assert {"blocks.0.1.conv_pw", "blocks.0.1.bn2", "blocks.1.0.conv_dw"} <= names
    assert NETWORK == Architecture.from_json(NETWORK.to_json())


def test_a_supernet_has_slices_of_the_block():
    """With the weights of its slice, a network computes what the supernet does for it."""
    space = NarrowSpace()
    found = alternatives(space)
    supernet = Supernet(found.templates, found.stages)
    images = torch.randn(8, 3, 32, 32)
    for code in sample_codes(space.decisions, 3, np.random.default_rng(0)):
        network = space.decode(decode(space.decisions, code))
        network = replace(network, dropout_rate=0.0, stochastic_depth_rate=0.0)
        logits = supernet.logits(network, images).detach()
        built = build(network)
        built.load_state_dict(supernet.slice(network))
        assert torch.allclose(built(images), logits, atol=1e-5)
        built.load_state_dict(inherit(supernet, network, images))
        assert torch.allclose(built.eval()(images), logits, atol=1e-5)


def test_the_data_set():
    data = load_dataset("acme_squares", side=8)
    assert (data.num_classes, data.class_names) == (3, ("red", "green", "blue"))
    assert data.train.images.shape == (240, 8, 8, 3)


@pytest.mark.parametrize(
    ("group", "name"),
    [
        ("search_spaces", "acme_narrow"),
        ("controllers", "acme_climb"),
        ("evaluators", "acme_params"),
        ("exporters", "acme_npz"),
        ("datasets", "acme_squares"),
    ],
)
def test_each_is_found_by_its_entry_point(group, name):
    assert load_plugin(group, name).__module__.startswith("acme_nas.")
