"""Slices of a supernet: the same networks as those that are built with them."""

from dataclasses import replace
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from listed_spaces import Listed, every, stage
from strategies import SPACES, codes, stages

from mnas_search.architecture import kind
from mnas_search.architecture.adaptation import adapt
from mnas_search.architecture.kind import block_kind
from mnas_search.architecture.stage import Stage
from mnas_search.benchmarks.fidelity.macro.space import NasBenchMacro
from mnas_search.common import plugins
from mnas_search.common.errors import UsageError
from mnas_search.nas.space.alternatives import alternatives
from mnas_search.nas.space.choices import decode, sample_codes
from mnas_search.networks import build
from mnas_search.networks.supernet import Supernet
from mnas_search.training.fast.layers import use_fast_layers
from mnas_search.training.supernet.inheritance import inherit

CLASSES = 7
IMAGES = torch.randn(16, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def at(side):
    """A change to small images, without what acts at random in training."""

    def change(network):
        return replace(
            adapt(network, side),
            num_classes=CLASSES,
            dropout_rate=0.0,
            stochastic_depth_rate=0.0,
        )

    return change


def supernet_of(space, side=16, fast=False):
    found = alternatives(space, at(side))
    faster = {"prepare": use_fast_layers} if fast else {}
    made = Supernet(found.templates, found.stages, network_of=at(side), **faster)
    with torch.no_grad():  # batch norms of different options become different
        for name, weight in made.weights.items():
            if "/kernel " in name or "bn" in name or name.endswith("/bias"):
                weight.add_(0.2 * torch.randn(weight.shape))
    return made


def check_slice(supernet, network, images):
    logits = supernet.logits(network, images).detach()
    built = build(supernet.network_of(network)).to(images.dtype)
    built.load_state_dict(supernet.slice(network))  # every tensor, and no other
    close = {"rtol": 1e-5, "atol": 1e-5 * float(logits.abs().max())}
    torch.testing.assert_close(built.train()(images).detach(), logits, **close)
    built.load_state_dict(inherit(supernet, network, images))
    with torch.no_grad():
        torch.testing.assert_close(built.eval()(images), logits, **close)


@st.composite
def listed_spaces(draw):
    """Spaces of any stages, block kinds and widths; positions differ in what they offer."""
    places = st.lists(stages(), min_size=1, max_size=4, unique=True)
    space = Listed(*draw(st.lists(places, min_size=1, max_size=3)))
    return space, draw(st.sampled_from(every(space).tolist()))


@given(listed_spaces(), st.booleans())
def test_slices_are_the_networks_of_any_space(drawn, fast):
    space, code = drawn
    torch.manual_seed(0)
    network = space.decode(decode(space.decisions, code))
    # In double precision: a batch norm of few values multiplies their rounding.
    images = torch.randn(4, 3, 16, 16, dtype=torch.float64)
    check_slice(supernet_of(space, fast=fast).double(), network, images)


@pytest.mark.parametrize("name", ["cn", "ds", "dsa", "ir", "er", "basic", "bottleneck", "id"])
def test_slices_are_the_networks_of_every_block_kind(name):
    torch.manual_seed(0)
    skip = "identity" if "identity" in block_kind(name).skips else block_kind(name).skips[-1]
    expands = name in ("ir", "er", "bottleneck")
    small, wide = (
        Stage(
            kind=name,
            kernel=1 if name == "id" else kernel,
            stride=1,
            expansion=expansion if expands else 1,
            out_channels=width,
            repeats=repeats,
            skip=skip,
        )
        for kernel, expansion, width, repeats in ((3, 2, 16, 2), (5, 4, 24, 3))
    )
    space = Listed((small, wide), (wide, replace(small, stride=2)))
    supernet = supernet_of(space, fast=True)
    for code in every(space):
        check_slice(supernet, space.decode(decode(space.decisions, code)), IMAGES)


def test_slices_are_the_networks_of_a_plug_in_s_block_kind(monkeypatch):
    monkeypatch.syspath_prepend(Path(__file__).parents[1] / "plugin_package")
    point = EntryPoint(name="pd", group="mnas_search.blocks", value="acme_nas.block:PD")
    installed = plugins._installed
    monkeypatch.setattr(kind, "_installed", lambda group: {**installed(group), "pd": point})
    from acme_nas.space import NarrowSpace

    torch.manual_seed(0)
    space = NarrowSpace()
    supernet = supernet_of(space, fast=True)
    for code in sample_codes(space.decisions, 4, np.random.default_rng(0)):
        check_slice(supernet, space.decode(decode(space.decisions, code)), IMAGES)


LARGE = {**SPACES, "macro": NasBenchMacro()}
SUPERNETS = {}


@settings(max_examples=8)
@given(st.sampled_from(sorted(LARGE)).flatmap(lambda n: st.tuples(st.just(n), codes(LARGE[n]))))
def test_slices_are_the_networks_of_large_spaces(drawn):
    name, code = drawn
    torch.manual_seed(0)
    if name not in SUPERNETS:
        SUPERNETS[name] = supernet_of(LARGE[name], side=16).double()
    network = LARGE[name].decode(decode(LARGE[name].decisions, code))
    check_slice(SUPERNETS[name], network, torch.randn(4, 3, 16, 16, dtype=torch.float64))


def two_options(one, two):
    space = Listed((one, two), (stage("cn", 3, 1, 8),))
    supernet = supernet_of(space)
    return supernet, space.decode({"s0": 0, "s1": 0}), space.decode({"s0": 1, "s1": 0})


def test_a_smaller_kernel_is_the_centre_and_fewer_channels_are_the_first():
    supernet, small, large = two_options(stage("ir", 3, 2, 8), stage("ir", 5, 4, 16))
    small, large = supernet.slice(small), supernet.slice(large)
    for name, part in (
        ("conv_pw", np.s_[:64, :]),
        ("conv_dw", np.s_[:64, :, 1:4, 1:4]),
        ("conv_pwl", np.s_[:8, :64]),
    ):
        name = f"blocks.0.0.{name}.weight"
        assert torch.equal(small[name], large[name][part])
        assert small[name].shape != large[name].shape


def test_batch_norms_are_those_of_their_kernel_and_expansion():
    """Widths share them; another kernel or expansion has its own."""
    one = stage("ir", 3, 2, 8)
    norm = "blocks.0.0.bn3.weight"
    supernet, narrow, wide = two_options(one, replace(one, out_channels=16))
    assert torch.equal(supernet.slice(narrow)[norm], supernet.slice(wide)[norm][:8])
    for other in (replace(one, kernel=5), replace(one, expansion=3)):
        supernet, own, another = two_options(one, other)
        assert not torch.equal(supernet.slice(own)[norm], supernet.slice(another)[norm])


def test_block_kinds_share_nothing():
    supernet, _, _ = two_options(stage("ir", 3, 2, 8), stage("er", 3, 2, 8))
    assert {name.split("/")[3] for name in supernet.weights if name.startswith("blocks/0")} == {
        "ir",
        "er",
    }


def test_gradients_reach_the_slice_alone():
    supernet, small, _ = two_options(stage("ir", 3, 2, 8), stage("ir", 5, 4, 16))
    supernet.logits(small, torch.randn(4, 3, 16, 16)).sum().backward()
    (kernel,) = (w for n, w in supernet.weights.items() if n.startswith("blocks/0") and "dw" in n)
    assert kernel.shape == (128, 1, 5, 5)
    assert kernel.grad[:64, :, 1:4, 1:4].abs().sum() > 0
    assert kernel.grad[64:].abs().sum() == kernel.grad[:, :, 0].abs().sum() == 0
    unused = supernet.weights["blocks/0/0/ir/kernel 5 expansion 4/bn1/weight"]
    assert unused.grad is None


def test_a_network_of_another_space_is_refused():
    supernet, small, _ = two_options(stage("ir", 3, 2, 8), stage("ir", 5, 4, 16))
    images = torch.randn(2, 3, 16, 16)
    for other in (stage("er", 3, 2, 8), stage("ir", 7, 2, 8), stage("ir", 3, 2, 17)):
        with pytest.raises(UsageError, match="architecture must be of the supernet's space"):
            supernet.logits(replace(small, stages=(other, small.stages[1])), images)


def test_initial_weights_are_drawn_as_a_network_s():
    torch.manual_seed(0)
    space = Listed((stage("ir", 5, 6, 40), stage("ir", 3, 3, 24)))
    found = alternatives(space)
    network = space.decode({"s0": 0})
    made = Supernet(found.templates, found.stages).slice(network)
    built = build(network).state_dict()
    assert made.keys() == built.keys()
    for name, tensor in built.items():
        drawn, wanted = made[name].float(), tensor.float()
        if tensor.numel() > 500:
            assert float(drawn.std()) == pytest.approx(float(wanted.std()), rel=0.15)
        elif not name.endswith("conv_dw.weight") and name != "classifier.weight":
            assert torch.equal(drawn, wanted) or tensor.ndim == 4


def test_a_block_with_a_buffer_is_refused(monkeypatch):
    from mnas_search.networks import layers

    class Buffered(layers.EdgeResidual):
        def __init__(self, plan, norm, drop_path):
            super().__init__(plan, norm, drop_path)
            self.register_buffer("fixed", torch.ones(1))

    monkeypatch.setattr(layers, "EdgeResidual", Buffered)
    supernet, _, buffered = two_options(stage("ir", 3, 2, 8), stage("er", 3, 2.25, 8))
    with pytest.raises(UsageError, match="got 'er' with 'fixed'"):
        supernet.logits(buffered, torch.randn(2, 3, 16, 16))
