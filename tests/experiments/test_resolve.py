"""The words after a name: `efficientnet_b0 x0.44 @32`."""

from dataclasses import replace

import pytest

from mnas_search import reference
from mnas_search.architecture.adaptation import adapt, lite
from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.scaling import scale
from mnas_search.common.errors import MnasSearchError
from mnas_search.experiments.resolve import is_published, resolve_architecture
from mnas_search.experiments.search.config import Setup
from mnas_search.experiments.search.options import RunConfig

B0 = reference.architecture("efficientnet_b0")


def test_width_and_resolution():
    assert resolve_architecture("efficientnet_b0 x0.44") == scale(
        B0, width=0.44, name="efficientnet_b0 x0.44"
    )
    small = scale(adapt(B0, 32), width=0.44, name="efficientnet_b0 x0.44 @32")
    assert resolve_architecture("efficientnet_b0 x0.44 @32") == small
    assert resolve_architecture("efficientnet_b0 @32").label == "efficientnet_b0 @32"
    assert resolve_architecture("efficientnet_b0 @224") == B0


def test_lite_networks_by_name():
    network = resolve_architecture("efficientnet_b0_lite x0.44 @32")
    assert network.label == "efficientnet_b0_lite x0.44 @32"
    assert network == lite(resolve_architecture("efficientnet_b0 x0.44 @32"))
    assert network.activation == "relu6" and not any(stage.se_ratio for stage in network.stages)
    assert is_published("efficientnet_b0_lite x0.44")
    already = reference.architecture("mobilenet_v2")
    assert lite(already) == already == lite(lite(already))


def test_given_resolution_and_classes():
    network = resolve_architecture("efficientnet_b0", resolution=32, num_classes=10)
    assert network == replace(resolve_architecture("efficientnet_b0 @32"), num_classes=10)
    assert cost(network).macs == 102_318_592


def test_other_forms_take_the_words_too(tmp_path):
    text = "ds_r1_k3_s1_c16 ir_r1_k3_s2_e4_c24"
    assert resolve_architecture(f"{text} @8").resolution == 8
    file = tmp_path / "network.json"
    file.write_text(B0.to_json())
    same = resolve_architecture(f"{file} x0.5 @32")
    assert same.fingerprint == resolve_architecture("efficientnet_b0 x0.5 @32").fingerprint
    spaced = tmp_path / "best x2"  # a path comes first
    spaced.write_text(B0.to_json())
    assert resolve_architecture(str(spaced)) == B0


def test_which_texts_say_no_resolution_and_strides(tmp_path):
    file = tmp_path / "network.json"
    file.write_text(B0.to_json())
    assert is_published("efficientnet_b0") and is_published("efficientnet_b0 x0.44")
    for text in ("efficientnet_b0 x0.44 @32", str(file), "ds_r1_k3_s1_c16"):
        assert not is_published(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("efficientnet_b0 x0", "width must be a positive number"),
        ("efficientnet_b0 @0", "resolution must be a whole number from 1"),
        ("efficientnet_b0 @" + 5_000 * "9", "must"),
        ("efficientnet_b0 @99999999", "resolution must be a whole number from 1"),
        ("efficientnet_b0 x999999", "channels must be"),
        ("efficientnet_b99 x0.5", "unknown architecture 'efficientnet_b99'"),
    ],
)
def test_errors_in_one_line(text, message):
    with pytest.raises(MnasSearchError, match=message) as caught:
        resolve_architecture(text)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("lite", [False, True])
@pytest.mark.parametrize(("resolution", "target"), [(32, 40e6), (64, 90e6), (224, 150e6)])
def test_every_baseline_is_read_back_from_its_label(resolution, target, lite):
    config = RunConfig(target_flops=target, data="digits", resolution=resolution, lite=lite)
    setup = Setup(config)
    baselines = [one.network for one in setup.baselines()]
    assert len(baselines) == 3
    for network in baselines:
        read = resolve_architecture(network.label, num_classes=1000)
        assert read.fingerprint == network.fingerprint
        assert read.label == network.label
        assert cost(network).macs <= target
