import json
from dataclasses import replace

import pytest
from hypothesis import given
from strategies import architectures, of_any_space

from mnas_search import reference
from mnas_search.architecture.stage import Stage
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import InvalidArchitecture

B0 = reference.architecture("efficientnet_b0")


@given(of_any_space | architectures())
def test_json_and_block_string_round_trip(architecture):
    assert Architecture.from_json(architecture.to_json()) == architecture
    again = Architecture.from_block_string(architecture.block_string)
    assert again.stages == architecture.stages
    assert again.block_string == architecture.block_string


@given(of_any_space | architectures())
def test_fingerprint_sees_the_network_alone(architecture):
    same = replace(
        architecture, name="other", dropout_rate=0.5, stochastic_depth_rate=0.5
    ).normalise()
    assert same.fingerprint == architecture.fingerprint
    other = replace(architecture, resolution=architecture.resolution + 1)
    assert other.fingerprint != architecture.fingerprint


def test_block_string_is_canonical_and_read_in_any_order():
    text = B0.block_string
    assert text.startswith("ds_r1_k3_s1_e1_c16_se0.25 ir_r2_k3_s2_e6_c24_se0.25 ")
    shuffled = "ds_c16_se0.25_k3_r1_s1 " + text.partition(" ")[2]
    assert Architecture.from_block_string(shuffled).block_string == text
    alone = Architecture.from_block_string(text)
    assert (alone.stem.channels, alone.head_channels, alone.activation) == (32, 1280, "silu")
    assert (alone.resolution, alone.num_classes) == (224, 1000)
    assert alone.fingerprint == B0.fingerprint


def test_ir_without_expansion_is_ds():
    stage = Stage(kind="ir", kernel=3, stride=1, expansion=1, out_channels=16, repeats=1)
    assert stage.kind == "ds"
    assert Architecture.from_block_string("ir_r1_k3_s1_e1_c16").block_string == (
        "ds_r1_k3_s1_e1_c16"
    )


def test_what_a_kind_means_where_the_text_says_nothing():
    (stage,) = Architecture.from_block_string("bottleneck_r1_k3_s1_c256").stages
    assert (stage.expansion, stage.skip) == (0.25, "projection")
    resnet = reference.architecture("resnet50")
    assert resnet.block_string.startswith("bottleneck_r3_k3_s1_e0.25_c256_nre bottleneck_r4_k3_s2")
    assert reference.architecture("resnet18").block_string.startswith("basic_r2_k3_s1_e1_c64_nre ")


@pytest.mark.parametrize(
    ("one", "two", "same"),
    [
        ("ir_r1_k3_s2_e6_c32", "ir_r1_k3_s2_e6_c32_noskip", True),  # stride 2: no identity
        ("ir_r1_k3_s1_e6_c32", "ir_r1_k3_s1_e6_c32_noskip", False),  # 32 -> 32 at stride 1
        ("ir_r2_k3_s2_e6_c32", "ir_r2_k3_s2_e6_c32_noskip", False),  # the second block has one
        ("ir_r1_k3_s2_e6_c32_pool", "ir_r1_k3_s2_e6_c32_noskip", False),  # a pool may stride
        ("ir_r1_k3_s2_e6_c40_pool", "ir_r1_k3_s2_e6_c40_noskip", True),  # widths differ
        ("cn_r1_k3_s1_c16_skip", "cn_r1_k3_s1_c16", True),  # widths differ
        ("basic_r1_k3_s2_c32", "basic_r1_k3_s2_c32_noskip", False),  # a projection may stride
        ("basic_r1_k3_s1_c40", "basic_r1_k3_s1_c40_noskip", False),  # and change the width
        ("bottleneck_r2_k3_s1_c32", "bottleneck_r2_k3_s1_e0.25_c32_proj", True),
    ],
)
def test_a_skip_that_cannot_act_is_normalised_away(one, two, same):
    fingerprints = {Architecture.from_block_string(text).fingerprint for text in (one, two)}
    assert (len(fingerprints) == 1) is same


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "empty block string"),
        ("xx_r1_k3_s1_e1_c16", "'xx'"),
        ("ir_r1_k4_s1_e6_c16", "odd"),
        ("ir_r1_k3_s3_e6_c16", "stride must be 1 or 2, got 3"),
        ("ir_r0_k3_s1_e6_c16", "repeats must be a whole number from 1 to 1,000, got 0"),
        ("ir_r1_k3_s1_e0_c16", "expansion"),
        ("ir_r1_k3_s1_c16", "needs an expansion"),
        ("ir_r1_k3_e6_c16", "no 's'"),
        ("ir_r1_k3_s1_e6_c16_se1.5", "se_ratio"),
        ("ir_r1_r2_k3_s1_e6_c16", "'r2'"),
        ("ir_r1_k3_s1_e6_c16_foo", "'foo'"),
        ("ir_r1.5_k3_s1_e6_c16", "r1.5"),
        ("ds_r1_k3_s1_e6_c16", "expansion of 'ds' must be 1, got 6"),
        ("dsa_r1_k3_s1_e1_c16_skip", "skip of 'dsa' must be none, got 'identity'"),
        (
            "ir_r1_k3_s1_e6_c16_proj",
            "skip of 'ir' must be none, identity or pool, got 'projection'",
        ),
        (
            "bottleneck_r1_k3_s1_c64_skip",
            "skip of 'bottleneck' must be none or projection, got 'id",
        ),
        ("basic_r1_k3_s1_c64_pool", "skip of 'basic' must be none or projection, got 'pool'"),
        ("basic_r1_k3_s1_e2_c64", "expansion of 'basic' must be 1, got 2"),
        ("basic_r1_k3_s1_c64_se0.25", "se_ratio of 'basic' must be 0, got 0.25"),
        ("bottleneck_r1_k3_s1_c64_se0.25", "se_ratio of 'bottleneck' must be 0, got 0.25"),
        ("bottleneck_r1_k3_s1_e65_c64", "expansion"),
        ("ir_r1_k3_s1_e6_c0", "out_channels must be a whole number from 1 to 65,536, got 0"),
        ("ir_r1_k3_s1_e6_c99999999", "from 1 to 65,536, got 99999999"),
        ("ir_r9999999999_k3_s1_e6_c8", "r9999999999"),
    ],
)
def test_block_strings_that_cannot_be(text, says):
    with pytest.raises(InvalidArchitecture, match=r"^[^\n]+$") as caught:
        Architecture.from_block_string(text)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    "change",
    [
        {"unknown": 1},
        {"version": 2},
        {"format": "other"},
        {"stages": []},
        {"stages": [{}]},
        {"stages": [{"kind": ["ir"], "kernel": 3, "stride": 1, "out_channels": 8, "repeats": 1}]},
        {"stages": 3},
        {"resolution": 0},
        {"resolution": True},
        {"resolution": 224.0},
        {"bn_eps": float("nan")},
        {"bn_eps": 0},
        {"dropout_rate": 1},
        {"padding": "valid"},
        {"activation": ["silu"]},
        {"stem": {"channels": 32, "colour": 1}},
        {"name": 3},
    ],
)
def test_json_that_cannot_be(change):
    value = {**B0.to_dict(), **change}
    with pytest.raises(InvalidArchitecture, match=r"^[^\n]+$"):
        Architecture.from_json(json.dumps(value))


@pytest.mark.parametrize("text", ["", "[]", "3", "{", "[" * 100_000])
def test_text_that_is_no_architecture(text):
    with pytest.raises(InvalidArchitecture):
        Architecture.from_json(text)


def test_construction_raises():
    with pytest.raises(InvalidArchitecture, match="stages"):
        Architecture(stages=())
    with pytest.raises(InvalidArchitecture, match="tuple"):
        Architecture(stages=list(B0.stages))
    with pytest.raises(InvalidArchitecture, match="'zz'"):
        Stage(kind="zz", kernel=3, stride=1, out_channels=8, repeats=1)
