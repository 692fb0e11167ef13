import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import of_any_space

from mnas_search import reference
from mnas_search.architecture.blocks import make_divisible
from mnas_search.architecture.blocks.arithmetic import (
    padding,
    round_repeats,
    squeeze_channels,
    strided,
)
from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.scaling import (
    PUBLISHED,
    CompoundRule,
    compound,
    published_family,
    scale,
)
from mnas_search.common.errors import UsageError
from mnas_search.common.units import format_size, parse_duration, parse_size
from mnas_search.nas.objective import Objective
from mnas_search.training.proxy import map_sizes, proxy_architecture

B0 = reference.architecture("efficientnet_b0")
TARGET = 400e6


def test_rewards_by_hand():
    soft, hard, absolute = (Objective(target=TARGET, kind=k) for k in ("soft", "hard", "absolute"))
    assert soft.reward(0.77, 400_000_000) == 0.77
    assert soft.reward(0.77, 200_000_000) == pytest.approx(0.77 * 2**0.07)
    assert soft.reward(0.77, 800_000_000) == pytest.approx(0.77 / 2**0.07)
    assert hard.reward(0.77, 100_000_000) == 0.77
    assert hard.reward(0.77, 800_000_000) == pytest.approx(0.385)
    assert absolute.reward(0.77, 500_000_000) == pytest.approx(0.77 - 0.1 * 0.25)
    assert absolute.reward(0.77, 300_000_000) == pytest.approx(0.77 - 0.1 * 0.25)
    assert soft.is_feasible({"macs": 400_000_000})
    assert not soft.is_feasible({"macs": 400_000_001})


@given(st.floats(1e7, 1e10), st.integers(10**7, 10**9), st.integers(10**7, 10**9))
def test_the_soft_ranking_does_not_depend_on_the_target(target, one, two):
    here, there = Objective(target=target), Objective(target=2 * target)
    ratio = here.reward(0.7, one) / here.reward(0.6, two)
    assert there.reward(0.7, one) / there.reward(0.6, two) == pytest.approx(ratio)


@pytest.mark.parametrize("kind", ["soft", "hard", "absolute"])
@pytest.mark.parametrize("exponent", [0.07, math.nan, math.inf, -math.inf])
def test_exponents_that_are_refused(kind, exponent):
    with pytest.raises(UsageError, match="exponent"):
        Objective(target=TARGET, kind=kind, exponent=exponent)


@pytest.mark.parametrize("target", [0, -1, math.nan, math.inf])
def test_targets_that_are_refused(target):
    with pytest.raises(UsageError, match="target"):
        Objective(target=target)


def test_the_published_table():
    # width, depth, resolution, dropout of efficientnet_builder.py
    assert [(c.width, c.depth, c.resolution, c.dropout) for c in PUBLISHED] == [
        (1.0, 1.0, 224, 0.2),
        (1.0, 1.1, 240, 0.2),
        (1.1, 1.2, 260, 0.3),
        (1.2, 1.4, 300, 0.3),
        (1.4, 1.8, 380, 0.4),
        (1.6, 2.2, 456, 0.4),
        (1.8, 2.6, 528, 0.5),
        (2.0, 3.1, 600, 0.5),
    ]
    b7 = reference.architecture("efficientnet_b7")
    assert b7.stem.channels == 64
    assert [s.out_channels for s in b7.stages] == [32, 48, 80, 160, 224, 384, 640]
    assert [s.repeats for s in b7.stages] == [4, 7, 7, 10, 10, 13, 4]
    assert b7.head_channels == 2560


def test_the_equations():
    assert CompoundRule().product == pytest.approx(1.2 * 1.1**2 * 1.15**2)
    resolutions = [compound(B0, phi).resolution for phi in range(8)]
    assert resolutions == [224, 258, 296, 341, 392, 451, 518, 596]
    base = compound(B0, 0)
    assert base.fingerprint == B0.fingerprint
    # phi = 1 has B2's widths and depths exactly: 992,629,472 at 258 pixels, 993,561,872 at 260
    assert cost(replace(compound(B0, 1), resolution=260)).macs == 993_561_872


@given(of_any_space, st.floats(-3, 3))
def test_scaling_is_monotone(network, phi):
    smaller, larger = compound(network, phi), compound(network, phi + 0.5)
    assert smaller.resolution <= larger.resolution
    for one, two in zip(smaller.stages, larger.stages, strict=True):
        assert one.out_channels <= two.out_channels
        assert one.repeats <= two.repeats
    assert cost(smaller).macs <= cost(larger).macs


@given(of_any_space)
def test_a_family_keeps_the_cell(network):
    names = tuple("abcdefgh")
    family = published_family(network, names)
    assert family[0].fingerprint == network.fingerprint
    assert tuple(m.name for m in family) == names
    macs = [cost(m).macs for m in family]
    assert macs == sorted(macs)


@given(st.floats(1, 1e4), st.sampled_from([4, 8, 16]))
def test_make_divisible(value, divisor):
    rounded = make_divisible(value, divisor)
    assert rounded % divisor == 0
    assert rounded >= 0.9 * value
    assert abs(rounded - value) <= max(divisor, 0.1 * value + divisor / 2)


def test_rounding_by_hand():
    # 40 * 1.1 = 44 -> 48 and 24 * 1.1 = 26.4 -> 24, as in EfficientNet-B2
    assert [make_divisible(c * 1.1) for c in (16, 24, 40, 80, 112, 192, 320)] == [
        16,
        24,
        48,
        88,
        120,
        208,
        352,
    ]
    assert make_divisible(10) == 16  # 8 would lose more than 10 %
    assert round_repeats(10, 1.1) == 11  # 1.1 * 10 is 11.000000000000002 in floats
    assert [round_repeats(r, 3.1) for r in (1, 2, 3, 4)] == [4, 7, 10, 13]
    assert [squeeze_channels(c, 0.25) for c in (1, 8, 10, 16)] == [1, 2, 2, 4]
    assert squeeze_channels(8, 0) == 0


@given(st.integers(1, 600), st.sampled_from([1, 3, 5, 7]), st.sampled_from([1, 2]))
def test_both_paddings_give_the_same_size(size, kernel, stride):
    for mode in ("symmetric", "same"):
        before, after = padding(mode, size, kernel, stride)
        floor = (size + before + after - kernel) // stride + 1
        if mode == "same" and size < kernel - (kernel - 1):
            continue
        assert floor == strided(size, stride) or (kernel < stride and mode == "same")
        assert 0 <= after - before <= 1


def test_scale_refuses_nonsense():
    for bad in ({"depth": 0}, {"width": -1}, {"width": math.nan}, {"depth": math.inf}):
        with pytest.raises(UsageError):
            scale(B0, **bad)
    with pytest.raises(UsageError, match="alpha"):
        CompoundRule(alpha=0.9)


@pytest.mark.parametrize(
    ("resolution", "sizes"),
    [
        (8, (8, 8, 8, 8, 8, 8, 4, 4)),
        (16, (16, 16, 16, 16, 8, 8, 4, 4)),
        (32, (32, 32, 32, 16, 8, 8, 4, 4)),
        (128, (64, 64, 32, 16, 8, 8, 4, 4)),
        (4, (4,) * 8),
    ],
)
def test_the_last_map_of_a_proxy_is_at_least_4x4(resolution, sizes):
    proxy = proxy_architecture(B0, width=0.25, resolution=resolution, num_classes=10)
    assert map_sizes(proxy) == sizes
    assert (proxy.bn_momentum, proxy.stochastic_depth_rate, proxy.dropout_rate) == (0.1, 0, 0)


@given(of_any_space, st.integers(4, 80))
def test_no_proxy_has_a_smaller_map(network, resolution):
    proxy = proxy_architecture(network, width=0.125, resolution=resolution, num_classes=3)
    assert map_sizes(proxy)[-1] >= 4


@pytest.mark.parametrize(
    ("text", "value"),
    [("400M", 4e8), ("0.4G", 4e8), ("4e8", 4e8), ("400 m", 4e8), ("1.5b", 1.5e9), ("7", 7)],
)
def test_sizes(text, value):
    assert parse_size(text) == pytest.approx(value)


@pytest.mark.parametrize("text", ["", "0", "-1", "M", "4X", "nan", "inf", "1e999", "4 0 0", "0x1"])
def test_sizes_that_are_refused(text):
    with pytest.raises(UsageError, match="expected a positive size"):
        parse_size(text)


def test_durations_and_formats():
    assert [parse_duration(t) for t in ("90", "10m", "1.5h", "2s")] == [90, 600, 5400, 2]
    assert [format_size(v) for v in (385_814_752, 1e9, 999_900, 1e3, 12, 1_827_141_392)] == [
        "386M",
        "1G",
        "1M",
        "1K",
        "12",
        "1.83G",
    ]
