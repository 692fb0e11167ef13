"""The conformance suites over the plug-ins of this package."""

import numpy as np
import pytest
import torch
from acme_nas.controller import HillClimbing
from acme_nas.evaluator import ParamsCurve
from acme_nas.exporter import NpzExporter
from acme_nas.space import NarrowSpace

from mnas_search import Architecture, build, cost, load_dataset, load_plugin
from mnas_search.testing import (
    ControllerContract,
    EvaluatorContract,
    ExporterContract,
    SearchSpaceContract,
)

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
