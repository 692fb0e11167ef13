import copy
import io
import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from strategies import architectures, of_any_space
from torch import nn

from mnas_search import reference
from mnas_search.architecture.blocks import plan
from mnas_search.architecture.value import Architecture
from mnas_search.networks import build
from mnas_search.networks.layers import DropPath

B0 = reference.architecture("efficientnet_b0")
SMALL = replace(
    Architecture.from_block_string(
        "ds_r1_k3_s1_e1_c16_se0.25 ir_r2_k5_s2_e6_c24_se0.25 er_r2_k3_s1_e4_c24_pool "
        "cn_r1_k3_s2_c32"
    ),
    resolution=32,
    num_classes=5,
)


@given(architectures() | of_any_space)
def test_plan_and_network_have_the_same_parameters(architecture):
    with torch.device("meta"):
        network = build(architecture)
    planned = {
        f"{layer.path}.{name}": shape
        for layer in plan(architecture).layers()
        for name, shape in layer.shapes.items()
    }
    built = {name: tuple(p.shape) for name, p in network.named_parameters()}
    assert built == planned
    assert list(built) == list(planned)


@given(architectures())
def test_plan_and_network_have_the_same_map_sizes(architecture):
    network = build(architecture).eval()
    seen: list[tuple[int, ...]] = []
    for stage in network.blocks:
        for block in stage:
            block.register_forward_hook(lambda m, i, out: seen.append(tuple(out.shape[1:])))
    side = architecture.resolution
    with torch.no_grad():
        out = network(torch.zeros(2, 3, side, side))
    assert out.shape == (2, architecture.num_classes)
    planned = [
        (b.out_channels, b.out_size, b.out_size)
        for stage in plan(architecture).stages
        for b in stage
    ]
    assert seen == planned


def test_state_dict_is_timms():
    names = list(build(B0).state_dict())
    assert len(names) == 360  # facts of timm's efficientnet_b0
    assert names[0] == "conv_stem.weight"
    assert names[-1] == "classifier.bias"
    for name in (
        "bn1.running_mean",
        "blocks.0.0.conv_dw.weight",
        "blocks.0.0.se.conv_reduce.bias",
        "blocks.1.0.conv_pw.weight",
        "blocks.1.0.bn3.weight",
        "blocks.6.0.conv_pwl.weight",
        "conv_head.weight",
        "bn2.num_batches_tracked",
    ):
        assert name in names


def test_batch_norm_and_padding_are_as_the_architecture_says():
    network = build(replace(SMALL, bn_eps=1e-5, bn_momentum=0.1, padding="same"))
    norms = [m for m in network.modules() if isinstance(m, nn.BatchNorm2d)]
    assert {(m.eps, m.momentum) for m in norms} == {(1e-5, 0.1)}
    # TensorFlow's `same` at stride 2 on an even map pads after, not before: the first output
    # pixel sees the first input pixel at the kernel's first row.
    stem = network.conv_stem
    with torch.no_grad():
        stem.weight.zero_()
        stem.weight[:, :, 0, 0] = 1.0
        image = torch.zeros(1, 3, 32, 32)
        image[:, :, 0, 0] = 1.0
        assert stem(image)[0, 0, 0, 0] == 3.0


def test_pool_shortcut_averages_real_pixels_alone():
    for padding in ("symmetric", "same"):
        architecture = replace(
            Architecture.from_block_string("cn_r1_k3_s2_c32_pool", resolution=16), padding=padding
        )
        block = build(architecture).blocks[0][0]
        ones = torch.ones(1, 32, 8, 8)
        assert torch.equal(block.residual.pool(ones), torch.ones(1, 32, 4, 4))


def test_initialisation_is_the_papers():
    torch.manual_seed(0)
    network = build(B0)
    depthwise = network.blocks[5][1].conv_dw  # 1152 channels, 5x5
    assert depthwise.weight.std().item() == pytest.approx(math.sqrt(2 / 25), rel=0.02)
    pointwise = network.blocks[5][1].conv_pw
    assert pointwise.weight.std().item() == pytest.approx(math.sqrt(2 / 1152), rel=0.02)
    limit = 1 / math.sqrt(1000)
    weight = network.classifier.weight
    assert weight.abs().max().item() <= limit
    assert weight.std().item() == pytest.approx(limit / math.sqrt(3), rel=0.02)
    assert network.blocks[1][0].se.conv_reduce.bias.abs().max() == 0
    assert network.classifier.bias.abs().max() == 0


def test_stochastic_depth_grows_linearly():
    rates = {
        (s, b): block.residual.drop_path.rate
        for s, stage in enumerate(build(B0).blocks)
        for b, block in enumerate(stage)
        if hasattr(block.residual, "drop_path") and isinstance(block.residual.drop_path, DropPath)
    }
    # 16 blocks; those with a shortcut have 0.2 * i / 16
    assert rates == {
        (s, b): pytest.approx(0.2 * i / 16)
        for (s, b), i in zip(
            [(1, 1), (2, 1), (3, 1), (3, 2), (4, 1), (4, 2), (5, 1), (5, 2), (5, 3)],
            [2, 4, 6, 7, 9, 10, 12, 13, 14],
            strict=True,
        )
    }
    drop = DropPath(0.5).train()
    torch.manual_seed(0)
    out = drop(torch.ones(1000, 2, 1, 1))
    assert set(out.unique().tolist()) == {0.0, 2.0}  # per sample, scaled by 1 / keep
    assert torch.equal(out[:, 0], out[:, 1])
    assert torch.equal(drop.eval()(torch.ones(3, 2, 1, 1)), torch.ones(3, 2, 1, 1))


@pytest.mark.parametrize("padding", ["symmetric", "same"])
def test_it_is_a_plain_module(padding):
    torch.manual_seed(0)
    network = build(replace(SMALL, padding=padding)).eval()
    image = torch.randn(2, 3, 32, 32)
    expected = network(image)
    assert torch.equal(copy.deepcopy(network)(image), expected)
    buffer = io.BytesIO()
    torch.save(network, buffer)
    buffer.seek(0)
    assert torch.equal(torch.load(buffer, weights_only=False)(image), expected)
    exported = torch.export.export(network, (image,)).module()
    torch.testing.assert_close(exported(image), expected)
    network.train()(image).sum().backward()
    assert all(p.grad is not None for p in network.parameters())


@pytest.mark.slow
def test_it_compiles():
    torch.manual_seed(0)
    network = build(SMALL).eval()
    image = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(torch.compile(network)(image), network(image))


def test_compile_traces_the_whole_network():
    # Without the compiler's back end, which takes half a minute: no graph break anywhere.
    network = build(SMALL).eval()
    image = torch.randn(2, 3, 32, 32)
    compiled = torch.compile(network, backend="eager", fullgraph=True)
    torch.testing.assert_close(compiled(image), network(image))
