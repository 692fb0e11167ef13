"""Exact counts: published numbers, closed forms, fvcore, torch, and Accel-NASBench's records."""

import numpy as np
import pytest
from hypothesis import given, settings
from strategies import SPACES, architectures, codes, of_any_space

from mnas_search import reference
from mnas_search.architecture.blocks import plan
from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.value import Architecture
from mnas_search.evaluators.accel_nasbench import evidence
from mnas_search.nas.space.choices import decode, sample_codes
from mnas_search.nas.space.cost import LookupTableCost, PerNetworkCost, space_cost
from mnas_search.networks.reference_counters import count

# params and MACs of the released code at each network's own resolution (torchvision, timm; MACs of
# Lite0 to Lite4 by d-li14/efficientnet-lite.pytorch, in millions: 385, 600, 860, 1383, 2553)
PUBLISHED = {
    "efficientnet_b0": (5_288_548, 385_814_752),
    "efficientnet_b1": (7_794_184, 686_802_832),
    "efficientnet_b2": (9_109_994, 993_561_872),
    "efficientnet_b3": (12_233_232, 1_827_141_392),
    "efficientnet_b4": (19_341_616, 4_393_771_024),
    "efficientnet_b5": (30_389_784, 10_266_384_752),
    "efficientnet_b6": (43_040_704, 19_067_593_536),
    "efficientnet_b7": (66_347_960, 37_745_884_192),
    "efficientnet_b8": (87_413_142, 62_597_461_568),
    "efficientnet_l2": (480_309_308, 475_703_653_280),
    "efficientnet_lite0": (4_652_008, 385_187_552),
    "efficientnet_lite1": (5_416_680, 600_185_232),
    "efficientnet_lite2": (6_092_072, 859_736_272),
    "efficientnet_lite3": (8_197_096, 1_383_321_872),
    "efficientnet_lite4": (13_006_568, 2_553_034_336),
    "mnasnet_a1": (3_887_038, 311_579_072),
    "mnasnet_b1": (4_383_312, 314_415_872),
    "mobilenet_v1": (4_231_976, 568_740_352),
    "mobilenet_v2": (3_504_872, 300_774_272),
    "resnet18": (11_689_512, 1_814_073_344),
    "resnet34": (21_797_672, 3_663_761_408),
    "resnet50": (25_557_032, 4_089_184_256),
    "resnet101": (44_549_160, 7_801_405_440),
    "resnet152": (60_192_808, 11_513_626_624),
}


def test_every_reference_is_checked():
    assert set(PUBLISHED) == set(reference.names())


@pytest.mark.parametrize("name", PUBLISHED)
def test_published_counts(name):
    counted = cost(reference.architecture(name))
    assert (counted.params, counted.macs) == PUBLISHED[name]


def test_one_mbconv_by_hand():
    # 8x8 input of 8 channels, MBConv6 k3 s2 with SE 0.25 to 16 channels: 48 wide inside.
    text = "ir_r1_k3_s2_e6_c16_se0.25"
    architecture = Architecture.from_block_string(text, resolution=16)
    (block,) = plan(architecture).stages[0]
    wide = 32 * 6
    macs = 32 * wide * 8 * 8 + wide * 9 * 4 * 4 + 2 * wide * 8 + wide * 16 * 4 * 4
    params = 32 * wide + 9 * wide + wide * 8 + 8 + 8 * wide + wide + wide * 16
    batch_norm = 2 * (wide + wide + 16)
    assert (block.macs, block.params) == (macs, params + batch_norm)
    assert (block.in_size, block.out_size, block.se_channels) == (8, 4, 8)


def test_memory_by_hand():
    # ds k3 s1, 8 -> 8 channels at 4x4 with a shortcut: batch norm reads and writes 128 elements
    # while the input's 128 are kept.
    architecture = Architecture.from_block_string(
        "ds_r1_k3_s1_e1_c8", resolution=4, num_classes=2, head_channels=None
    )
    from dataclasses import replace

    small = replace(architecture, stem=replace(architecture.stem, channels=8, stride=1))
    (block,) = plan(small).stages[0]
    assert block.shortcut == "identity"
    assert block.peak == 3 * 8 * 4 * 4
    assert cost(small).memory == 4 * 3 * 128
    # The caller holds the input, with a shortcut or without.
    without = replace(small, stages=(replace(small.stages[0], skip="none"),))
    assert plan(without).stages[0][0].peak == 3 * 8 * 4 * 4


def _oracles(architecture):
    counted = count(architecture)
    return counted.params, counted.fvcore, counted.torch


@given(architectures())
def test_cost_is_what_fvcore_and_torch_count_on_any_architecture(architecture):
    counted = cost(architecture)
    params, fvcore_macs, torch_flops = _oracles(architecture)
    assert (counted.params, counted.macs) == (params, fvcore_macs)
    assert 2 * counted.macs == torch_flops


@pytest.mark.parametrize("name", ["resnet18", "resnet50", "mobilenet_v1"])
def test_cost_is_what_fvcore_and_torch_count_of_published_networks(name):
    params, fvcore_macs, torch_flops = _oracles(reference.architecture(name))
    assert (params, fvcore_macs) == PUBLISHED[name]
    assert torch_flops == 2 * fvcore_macs


@settings(max_examples=6)
@given(of_any_space)
def test_cost_is_what_fvcore_and_torch_count_in_the_spaces(architecture):
    counted = cost(architecture)
    params, fvcore_macs, torch_flops = _oracles(architecture)
    assert (counted.params, counted.macs, 2 * counted.macs) == (params, fvcore_macs, torch_flops)


@pytest.mark.parametrize("name", SPACES)
def test_tables_count_what_walking_counts(name):
    space = SPACES[name]
    counter = space_cost(space)
    assert isinstance(counter, LookupTableCost)

    @given(codes(space))
    def check(row):
        costs = counter(row[None])
        counted = cost(space.decode(decode(space.decisions, row)))
        assert (int(costs["macs"][0]), int(costs["params"][0])) == (counted.macs, counted.params)

    check()
    batch = sample_codes(space.decisions, 10_000, np.random.default_rng(0))
    few = batch[:200]
    walked = PerNetworkCost(space)(few)
    for name in ("macs", "params"):
        np.testing.assert_array_equal(counter(few)[name], walked[name])
    # Chunks, dtypes and memory orders make no difference.
    for other in (batch.astype(np.int8), np.asfortranarray(batch), batch.astype(np.uint16)):
        for name in ("macs", "params"):
            np.testing.assert_array_equal(counter(batch)[name], counter(other)[name])


@pytest.mark.parametrize("name", SPACES)
def test_reachable_range_is_exact(name):
    """Coordinate descent from many starts finds nothing outside, and reaches both ends."""
    space = SPACES[name]
    counter = space_cost(space)
    feasible_range = counter.feasible_range()
    rng = np.random.default_rng(0)
    for sign, end in ((1, feasible_range.low), (-1, feasible_range.high)):
        best = None
        for start in sample_codes(space.decisions, 8, rng):
            best = (
                min(best, sign * _descend(space, counter, start, sign))
                if best
                else (sign * _descend(space, counter, start, sign))
            )
        assert sign * best == end


def _descend(space, counter, row, sign):
    changed = True
    while changed:
        changed = False
        for column, decision in enumerate(space.decisions):
            options = np.repeat(row[None], len(decision.options), axis=0)
            options[:, column] = np.arange(len(decision.options))
            macs = counter(options)["macs"]
            pick = int((sign * macs).argmin())
            if sign * macs[pick] < sign * macs[row[column]]:
                row, changed = options[pick], True
    return int(counter(row[None])["macs"][0])


def test_codes_out_of_range_are_refused():
    from mnas_search.common.errors import InvalidChoices

    space = SPACES["efficientnet"]
    counter = space_cost(space)
    row = np.zeros((1, 28), dtype=np.int64)
    row[0, 3] = 2
    with pytest.raises(InvalidChoices, match="codes must be from 0 to"):
        counter(row)
    with pytest.raises(InvalidChoices, match="codes must be from 0 to"):
        counter(-np.ones((1, 28), dtype=np.int64))
    with pytest.raises(InvalidChoices, match="shape"):
        counter(np.zeros((1, 27), dtype=np.int64))
    assert counter(np.zeros((0, 28), dtype=np.int64))["macs"].shape == (0,)


def _thop_macs(architecture):
    """Accel-NASBench's own rule (thop 0.1.1): convolutions and linear layers, 4 a batch-norm
    element, (h * w + 1) * channels an adaptive pool, of which every SE block has one."""
    whole = plan(architecture)
    total = sum(layer.macs for layer in whole.layers())
    total += sum(
        4 * layer.out_channels * layer.out_size**2
        for layer in whole.layers()
        if layer.op == "batch_norm"
    )
    last = whole.stages[-1][-1].out_size
    total += (last**2 + 1) * 1280
    for stage in whole.stages:
        for block in stage:
            if block.se_channels:
                total += (block.out_size**2 + 1) * block.mid_channels
    return total


def test_all_recorded_networks_of_accel_nasbench():
    recorded = evidence.load()
    assert len(recorded) == 4_626
    space = SPACES["efficientnet"]
    params = space_cost(space)(recorded.codes)["params"]
    np.testing.assert_array_equal(params, recorded.params)
    macs = [_thop_macs(space.decode(decode(space.decisions, row))) for row in recorded.codes]
    np.testing.assert_array_equal(macs, recorded.macs)


def test_b0_split_by_operator():
    layers = list(plan(reference.architecture("efficientnet_b0")).layers())
    depthwise = sum(x.macs for x in layers if x.groups > 1)
    squeeze = sum(x.macs for x in layers if ".se." in x.path)
    assert depthwise == 34_532_064
    assert squeeze == 627_200
    assert layers[-1].macs == 1_280_000
