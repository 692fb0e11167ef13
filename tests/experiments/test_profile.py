"""`mnas-search profile`: other counters beside ours, drawings."""

import json
import re
from itertools import pairwise
from xml.etree import ElementTree

import pytest
from hypothesis import given
from strategies import architectures

from mnas_search import reference
from mnas_search.experiments.profile import tables as profiles
from mnas_search.experiments.profile.drawing import drawing


def test_other_counters_agree(run_cli):
    code, out, _ = run_cli(
        "profile", "efficientnet_b0", "mobilenet_v2", "--verify", "--format", "json"
    )
    assert code == 0
    for row in json.loads(out):
        found = row["verified"]
        assert found["agree"]
        assert (found["params"], found["fvcore"]) == (row["params"], row["macs"])
        assert found["torch"] == 2 * row["macs"]
        assert found["fvcore_all"] > row["macs"]
    code, out, _ = run_cli("profile", "efficientnet_b1", "--verify")
    assert code == 0
    assert "agree" in out


def test_a_count_that_differs_is_a_failure(run_cli, monkeypatch):
    real = profiles.cost
    monkeypatch.setattr(
        profiles, "cost", lambda a: type(real(a))(params=1, macs=real(a).macs, memory=0)
    )
    code, out, err = run_cli("profile", "efficientnet_b0", "--verify")
    assert code == 1
    assert "DIFFER" in out
    assert "fvcore or PyTorch count differently: efficientnet_b0" in err


@given(architectures())
def test_any_architecture_can_be_drawn(architecture):
    root = ElementTree.fromstring(drawing(architecture))
    assert len(root.findall("{*}g")) == len(architecture.stages) + 2


def test_operators_do_not_run_into_each_other():
    """ResNet's have the longest names."""
    drawn = drawing(reference.architecture("resnet50"))
    places = [
        (float(x), text)
        for x, text in re.findall(
            r'<text x="([\d.]+)"[^>]*>((?:stem|bottleneck|head)[^<]*)<', drawn
        )
    ]
    assert [text.split()[0] for _, text in places] == ["stem", *["bottleneck"] * 4, "head"]
    for (left, text), (right, _) in pairwise(places):
        assert left + 6.5 * len(text) < right


def test_a_drawing_is_written_once(run_cli, tmp_path):
    path = tmp_path / "b0.svg"
    code, _, _ = run_cli("profile", "efficientnet_b0", "--draw", path)
    assert code == 0
    assert path.read_text() == drawing(reference.architecture("efficientnet_b0"))
    code, _, err = run_cli("profile", "efficientnet_b0", "--draw", path)
    assert (code, "exists; overwriting it requires --force" in err) == (2, True)
    code, _, _ = run_cli("profile", "efficientnet_b0", "--draw", path, "--force")
    assert code == 0
    code, _, err = run_cli("profile", "efficientnet_b0", "mnasnet_a1", "--draw", tmp_path / "x")
    assert (code, "--draw requires a single ARCH, got 2" in err) == (2, True)


@pytest.mark.parametrize("name", ["efficientnet_b0", "efficientnet_b7", "mobilenet_v1"])
def test_shares_add_up(name):
    (row,) = profiles.profiles([reference.architecture(name)], layers=False)
    assert sum(stage["macs"] for stage in row["stages"]) == row["macs"]
