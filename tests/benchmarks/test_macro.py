"""NAS-Bench-Macro: its space and block kind against the recorded networks and the built ones."""

import gzip
import json
import os
import subprocess
import sys

import numpy as np
import pytest
import torch

from mnas_search.architecture.blocks import plan
from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.cost.memory import saved_elements
from mnas_search.architecture.value import Architecture
from mnas_search.benchmarks.fidelity.macro import build as make_data
from mnas_search.benchmarks.fidelity.macro import recorded
from mnas_search.benchmarks.fidelity.macro.space import NasBenchMacro
from mnas_search.common import plugins
from mnas_search.common.errors import InvalidArchitecture, UsageError
from mnas_search.nas.space.choices import decode
from mnas_search.nas.space.cost import space_cost
from mnas_search.networks import build
from mnas_search.networks.reference_counters import count

SPACE = NasBenchMacro()


def network(code):
    return SPACE.decode(decode(SPACE.decisions, [int(digit) for digit in code]))


@pytest.mark.parametrize(("split", "networks"), [("choose", 540), ("confirm", 660)])
def test_counts_equal_the_recorded_ones(split, networks):
    known = recorded.networks(split)
    costs = space_cost(SPACE)(known.codes)
    assert len(known) == networks
    np.testing.assert_array_equal(costs["macs"], known.macs)
    np.testing.assert_array_equal(costs["params"], known.params)


def test_no_network_is_in_both_parts():
    codes = np.concatenate([recorded.networks(split).codes for split in recorded.SPLITS])
    assert len(np.unique(codes, axis=0)) == len(codes) == 1_200


def test_accuracies_to_choose_by_are_fractions_of_test_images():
    accuracies = recorded.accuracies("choose")
    assert accuracies.shape == (540, 3)
    assert 0.5 < accuracies.min() < accuracies.max() < 0.95
    np.testing.assert_allclose(accuracies * 10_000, np.round(accuracies * 10_000), atol=1e-9)
    with pytest.raises(UsageError, match="split must be one of choose, confirm, got 'all'"):
        recorded.accuracies("all")


def test_the_data_file_holds_what_the_json_says(tmp_path):
    made = {
        "choose": {
            "01200221": {"test_acc": [91.97999572753906, 90, 89.5], "params": 7, "flops": 8}
        },
        "confirm": {"22222222": {"test_acc": [93, 93.5, 94], "params": 9, "flops": 10}},
    }
    source = tmp_path / "networks.json.gz"
    source.write_bytes(gzip.compress(json.dumps(made).encode()))
    make_data.main([str(source), str(tmp_path)])
    with np.load(tmp_path / recorded.DATA) as data:
        assert data["choose_codes"].tolist() == [[0, 1, 2, 0, 0, 2, 2, 1]]
        assert data["choose_accuracy"].tolist() == [[9198, 9000, 8950]]
        assert (data["confirm_params"].item(), data["confirm_macs"].item()) == (9, 10)


@pytest.mark.parametrize("code", ["00000000", "22222222", "10021200"])
def test_the_built_network_is_the_planned_one(code):
    architecture = network(code)
    counts, counted = count(architecture), cost(architecture)
    assert (counts.params, counts.fvcore) == (counted.params, counted.macs)
    layers = plan(architecture).layers()
    shapes = {f"{x.path}.{name}": s for x in layers for name, s in x.shapes.items()}
    parameters = build(architecture).named_parameters()
    assert {name: tuple(p.shape) for name, p in parameters} == shapes


def test_autograd_saves_what_the_plan_says():
    torch.manual_seed(0)
    architecture = network("10021200")
    built = build(architecture).train()
    images = torch.rand(2, 3, 32, 32)
    own = {t.untyped_storage().data_ptr() for t in built.state_dict().values()}
    saved = {images.untyped_storage().data_ptr(): images.untyped_storage().nbytes()}

    def pack(tensor):
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in own:
            saved[storage.data_ptr()] = storage.nbytes()
        return tensor

    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        built(images).sum()
    norms = [x for x in plan(architecture).layers() if x.op == "batch_norm"]
    statistics = sum(2 * x.out_channels for x in norms)
    assert sum(saved.values()) == 4 * (2 * saved_elements(architecture) + statistics)


def test_an_identity_of_the_same_shape_has_no_layer_and_returns_its_input():
    stages = plan(network("01000000")).stages
    assert [layer.path for layer in stages[0][0].layers] == ["conv", "bn1"]
    assert stages[3][0].layers == ()
    assert (stages[3][0].macs, stages[3][0].params, stages[3][0].out_channels) == (0, 0, 128)
    block = build(network("01000000")).blocks[3]
    x = torch.rand(1, 128, 4, 4)
    assert block(x) is x
    assert list(block.parameters()) == []


def test_block_strings_hold_the_kind():
    text = network("01200221").block_string
    assert text.startswith("id_r1_k1_s2_e1_c64 ir_r1_k3_s1_e3_c64_nre ir_r1_k5_s2_e6_c128_nre id_")
    again = Architecture.from_block_string(text)
    assert again.block_string == text
    with pytest.raises(InvalidArchitecture, match="of 'id' must be 1, 1 and 0, got 3, 1 and 0"):
        Architecture.from_block_string("id_r1_k3_s1_c64")


def test_an_exported_model_imports_torch_only(tmp_path):
    exporter = plugins.load("exporters", "pytorch")()
    exporter.export(network("01000021"), None, tmp_path)
    done = subprocess.run(
        [sys.executable, "model.py"],
        cwd=tmp_path,
        env={k: v for k, v in os.environ.items() if k != "PYTHONPATH"},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert "mnas_search" not in (tmp_path / "model.py").read_text().replace("mnas-search", "")
