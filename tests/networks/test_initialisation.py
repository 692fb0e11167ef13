"""A network starts at the loss of chance."""

import math
from dataclasses import replace

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from strategies import architectures
from torch import nn
from torch.nn import functional as F

from mnas_search import reference
from mnas_search.architecture import kind
from mnas_search.architecture.blocks.kinds import plan_conv
from mnas_search.architecture.kind import BlockKind
from mnas_search.architecture.scaling import scale
from mnas_search.architecture.value import Architecture
from mnas_search.networks import build
from mnas_search.networks.initialisation import classifier_bound

CLASSES = [2, 3, 10, 100, 1_000, 10_000]


def of_stages(text):
    return Architecture.from_block_string(text, head_channels=None)


NETWORKS = {
    "B0": reference.architecture("efficientnet_b0"),
    "B0 narrowed": scale(reference.architecture("efficientnet_b0"), width=0.125, divisor=4),
    "MobileNetV1": reference.architecture("mobilenet_v1"),
    "MobileNetV2": reference.architecture("mobilenet_v2"),
    "ResNet-50": reference.architecture("resnet50"),
    "every other kind": of_stages("cn_r2_k3_s2_c16 er_r2_k3_s2_e4_c24 basic_r9_k3_s2_c40"),
    "no activation at the end": of_stages("ds_r2_k3_s2_c16 ir_r9_k5_s2_e6_c24_se0.25"),
}


def first_loss(architecture, classes):
    """The loss of a batch of random images, in training mode, and of labels in equal numbers."""
    torch.manual_seed(0)
    network = build(replace(architecture, num_classes=classes, resolution=32)).train()
    images, labels = torch.randn(40, 3, 32, 32), torch.arange(40) % classes
    with torch.no_grad():
        return F.cross_entropy(network(images), labels).item()


@pytest.mark.parametrize("classes", CLASSES)
@pytest.mark.parametrize("name", NETWORKS)
def test_first_loss_is_that_of_chance(name, classes):
    loss = first_loss(NETWORKS[name], classes)
    assert loss == pytest.approx(math.log(classes), rel=0.1)


@given(architectures(), st.sampled_from(CLASSES))
def test_first_loss_of_any_network_is_that_of_chance(architecture, classes):
    loss = first_loss(architecture, classes)
    assert loss == pytest.approx(math.log(classes), rel=0.1)


class Loud(nn.Module):
    """A plug-in's block without a norm: its maps have a mean square of about 8."""

    def __init__(self, plan, norm, drop_path):
        super().__init__()
        self.conv = nn.Conv2d(plan.in_channels, plan.out_channels, 3, padding=1, bias=False)
        self.bn1 = norm(plan.out_channels)

    def forward(self, x):
        return 4 * self.bn1(self.conv(x)).relu()


@pytest.fixture
def loud(monkeypatch):
    class Point:
        def load(self):
            return BlockKind(plan=plan_conv, module=f"{__name__}:Loud", default_skip="none")

    points = {**kind._installed("blocks"), "loud": Point()}
    monkeypatch.setattr(kind, "_installed", lambda group: points)
    yield of_stages("ds_r1_k3_s2_c16 loud_r1_k3_s1_c64")
    kind._load_block_kind.cache_clear()


@pytest.mark.parametrize("classes", CLASSES)
def test_first_loss_of_a_plug_ins_kind_is_that_of_chance(loud, classes):
    assert isinstance(build(loud).blocks[1][0], Loud)
    assert first_loss(loud, classes) == pytest.approx(math.log(classes), rel=0.1)


def test_bound_is_the_papers_from_a_thousand_classes_on():
    assert classifier_bound(1280, 1_000) == 1_000**-0.5
    assert classifier_bound(160, 10_000) == 10_000**-0.5
    assert classifier_bound(1280, 10) == pytest.approx(0.00316, rel=1e-3)  # not 0.316
    assert classifier_bound(320, 10) == pytest.approx(2 * 0.00316, rel=1e-3)


@given(st.integers(1, 10_000), st.integers(1, 20_000))
def test_bound_falls_with_the_inputs_and_is_at_most_the_papers(inputs, classes):
    bound = classifier_bound(inputs, classes)
    assert 0 < classifier_bound(2 * inputs, classes) <= bound
    assert bound <= classes**-0.5 * (1 + 1e-9)
    assert inputs * bound**2 <= 1.28 * (1 + 1e-9)
