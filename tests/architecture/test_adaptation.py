"""Networks on small images: which strides are kept."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from strategies import architectures

from mnas_search import reference
from mnas_search.architecture.adaptation import MIN_MAP_SIZE, adapt
from mnas_search.architecture.blocks import plan
from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.scaling import published_family, scale
from mnas_search.common import plugins
from mnas_search.export.timm.block_args import timm_block_args

B0 = reference.architecture("efficientnet_b0")


def maps(network):
    whole = plan(network)
    return [whole.stem.out_size, *(stage[-1].out_size for stage in whole.stages)]


def strides(network):
    return (
        [stage.stride for stage in network.stages],
        network.stem.pool,
        network.stem.stride,
    )


def test_b0_at_32_pixels():
    network = adapt(B0, 32)
    assert maps(network) == [16, 16, 16, 16, 8, 8, 4, 4]
    assert network.stem == B0.stem
    assert cost(replace(network, num_classes=10)).macs == 102_318_592
    assert cost(network).params == cost(B0).params


@pytest.mark.parametrize(
    ("resolution", "expected"),
    [
        (8, [4, 4, 4, 4, 4, 4, 4, 4]),
        (64, [32, 32, 32, 16, 8, 8, 4, 4]),
        (96, [48, 48, 48, 24, 12, 12, 6, 6]),  # 3x3 with all strides
        (97, [49, 49, 25, 13, 7, 7, 4, 4]),
        (128, [64, 64, 32, 16, 8, 8, 4, 4]),
        (4, [4, 4, 4, 4, 4, 4, 4, 4]),
        (3, [3, 3, 3, 3, 3, 3, 3, 3]),
    ],
)
def test_maps_of_b0(resolution, expected):
    assert maps(adapt(B0, resolution)) == expected


def test_the_stem_of_a_resnet_is_reached_last():
    resnet = reference.architecture("resnet50")
    assert strides(adapt(resnet, 32)) == ([1, 1, 1, 2], True, 2)
    assert strides(adapt(resnet, 16)) == ([1, 1, 1, 1], True, 2)
    assert strides(adapt(resnet, 8)) == ([1, 1, 1, 1], False, 2)
    assert strides(adapt(resnet, 4)) == ([1, 1, 1, 1], False, 1)


@given(architectures(), st.integers(1, 300))
def test_no_more_strides_are_dropped_than_needed(network, resolution):
    adapted = adapt(network, resolution)
    assert adapt(adapted, resolution) == adapted
    assert adapted.resolution == resolution
    kept = replace(adapted, stages=network.stages, stem=network.stem)
    assert kept == replace(network, resolution=resolution)
    if resolution >= 128 or maps(kept)[-1] >= MIN_MAP_SIZE:
        assert adapted == kept
        return
    halvings = sum(s == 2 for s in strides(adapted)[0]) + adapted.stem.pool
    halvings += adapted.stem.stride == 2
    if halvings:
        assert maps(adapted)[-1] >= MIN_MAP_SIZE
    # One stride more would be too many: the last that was dropped was the last to drop.
    dropped = [i for i, s in enumerate(network.stages) if s != adapted.stages[i]]
    if dropped and adapted.stem == network.stem:
        stages = list(adapted.stages)
        stages[dropped[-1]] = network.stages[dropped[-1]]
        assert maps(replace(adapted, stages=tuple(stages)))[-1] < MIN_MAP_SIZE


def test_scaled_members_keep_the_strides_of_their_base():
    base = adapt(B0, 32)
    for member in (*published_family(base, tuple("01234567")), scale(base, width=0.5)):
        assert strides(member) == strides(base)


def test_other_libraries_can_express_an_adapted_network(tmp_path):
    for resolution in (16, 32, 64, 96):
        assert len(timm_block_args(adapt(B0, resolution))) == 7
    for form in ("timm", "torchvision", "huggingface"):
        plugins.load("exporters", form)().export(adapt(B0, 32), None, tmp_path / form)
