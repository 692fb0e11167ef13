"""Weights from elsewhere: the settings that they were trained with, and ResNets' names."""

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from other_packages import need
from PIL import Image
from safetensors.torch import load_file, save_file
from torch.nn import functional as F

from mnas_search import reference
from mnas_search.architecture.stage import Stem
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import UsageError
from mnas_search.data import digits
from mnas_search.experiments.training.session import start
from mnas_search.experiments.training.settings import (
    Setup,
    TrainingConfig,
    settings_to_start_from,
)
from mnas_search.experiments.training.trained import load_trained
from mnas_search.networks import build
from mnas_search.networks.weights import loading as weights
from mnas_search.networks.weights.settings import find_settings
from mnas_search.networks.weights.torchvision_names import torchvision_names

SIDE = 16
NETWORK = Architecture.from_block_string(
    "ds_r1_k3_s2_e1_c8 ir_r1_k5_s2_e3_c16",
    stem=Stem(channels=8),
    head_channels=24,
    resolution=SIDE,
    num_classes=10,
)
SYMMETRIC, SAME = (1e-5, 0.1, "symmetric"), (1e-3, 0.1, "same")


def randomised(state, seed=0):
    """Random weights and statistics under which no epsilon goes unseen, outputs near 1."""
    generator = torch.Generator().manual_seed(seed)

    def drawn(name, shape):
        part = name.rpartition(".")[2]
        uniform = torch.rand(shape, generator=generator)
        if len(shape) > 1:
            return (uniform - 0.5) * (12 / torch.Size(shape[1:]).numel()) ** 0.5
        # Small variances beside the epsilons of 1e-5 and 1e-3.
        return {"running_var": 0.002 + 0.01 * uniform, "weight": 0.1 * uniform}.get(
            part, 0.1 * (uniform - 0.5)
        )

    return {k: drawn(k, v.shape) for k, v in state.items() if not k.endswith("tracked")}


STATE = randomised(build(NETWORK).state_dict())


def forward(state, images, *, eps, same):
    """`NETWORK` by hand, under our names."""

    def conv(x, path, stride=1):
        weight = state[f"{path}.weight"]
        kernel, groups = weight.shape[-1], x.shape[1] // weight.shape[1]
        if same:  # as many outputs as strides, the odd pixel of padding behind
            outputs = -(-x.shape[-1] // stride)
            total = max((outputs - 1) * stride + kernel - x.shape[-1], 0)
            before = total // 2
        else:
            total, before = kernel - 1, kernel // 2
        x = F.pad(x, (before, total - before) * 2)
        return F.conv2d(x, weight, stride=stride, groups=groups)

    def norm(x, path):
        mean, var, scale, shift = (
            state[f"{path}.{part}"] for part in ("running_mean", "running_var", "weight", "bias")
        )
        x = (x - mean[:, None, None]) / (var[:, None, None] + eps).sqrt()
        return x * scale[:, None, None] + shift[:, None, None]

    x = F.silu(norm(conv(images, "conv_stem", 2), "bn1"))
    x = F.silu(norm(conv(x, "blocks.0.0.conv_dw", 2), "blocks.0.0.bn1"))
    x = norm(conv(x, "blocks.0.0.conv_pw"), "blocks.0.0.bn2")
    x = F.silu(norm(conv(x, "blocks.1.0.conv_pw"), "blocks.1.0.bn1"))
    x = F.silu(norm(conv(x, "blocks.1.0.conv_dw", 2), "blocks.1.0.bn2"))
    x = norm(conv(x, "blocks.1.0.conv_pwl"), "blocks.1.0.bn3")
    x = F.silu(norm(conv(x, "conv_head"), "bn2")).mean((2, 3))
    return F.linear(x, state["classifier.weight"], state["classifier.bias"])


def outputs(architecture, state, images):
    network = build(architecture).eval()
    network.load_state_dict(state, strict=False)
    with torch.no_grad():
        return network(images)


def written(folder, how):
    """(A file of `STATE`, as users receive it; the option that says whose it is)."""
    state, metadata, option, config = STATE, {}, None, None
    if how == "torchvision":
        names = torchvision_names(NETWORK, state, empty_places=False)
        state = {names[name]: tensor for name, tensor in state.items()}
    elif how == "hub":
        config = {"architecture": "tf_efficientnet_b0"}
    elif how == "arguments":
        arguments = {"bn_eps": 1e-3, "bn_momentum": 0.1, "pad_type": "same"}
        config = {"architecture": "efficientnet_b0", "model_args": arguments}
    elif how == "metadata":
        metadata = {"bn_eps": "0.001", "bn_momentum": "0.1", "padding": "same"}
    elif how != "nothing":
        option = how
    save_file(state, folder / "model.safetensors", metadata)
    if config is not None:
        (folder / "config.json").write_text(json.dumps(config))
    return folder / "model.safetensors", option


SOURCES = [
    ("torchvision", SYMMETRIC, "torchvision"),
    ("hub", SAME, "timm's tf_efficientnet_b0"),
    ("arguments", SAME, "its config.json"),
    ("metadata", SAME, "the file"),
    ("timm", SYMMETRIC, "timm"),
    ("timm-tf", SAME, "timm's tf_*"),
    ("nothing", (1e-3, 0.01, "symmetric"), None),
]


def said(expected, source):
    eps, momentum, padding = expected
    return (
        f"batch norm's epsilon {eps:g} and momentum {momentum:g}, {padding} padding: those of "
        f"{source}"
    )


@pytest.mark.parametrize(("how", "expected", "source"), SOURCES)
def test_a_training_starts_as_its_source_computes(how, expected, source, tmp_path):
    file, option = written(tmp_path, how)
    config = TrainingConfig(architecture=NETWORK, init=str(file), weights_of=option)
    setup = Setup(config, settings_to_start_from(config))
    job = replace(setup.job, start=setup.fitted.weights)
    found = job.architecture
    assert (found.bn_eps, found.bn_momentum, found.padding) == expected
    assert setup.notes == (() if source is None else (said(expected, source),))
    images = torch.randn(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    eps, _, padding = expected
    right = forward(STATE, images, eps=eps, same=padding == "same")
    torch.testing.assert_close(outputs(found, job.start, images), right)
    for other in (
        {"eps": 3e-4, "same": padding == "same"},
        {"eps": eps, "same": padding[1] == "y"},
    ):
        wrong = forward(STATE, images, **other)
        assert (wrong - right).abs().max() > 1e-2 * right.abs().max()  # which would be seen


@pytest.mark.parametrize(("how", "expected", "source"), SOURCES)
def test_explain_computes_as_the_source_does(how, expected, source, tmp_path):
    file, option = written(tmp_path, how)
    (tmp_path / "net.json").write_text(NETWORK.to_json())
    trained = load_trained(str(tmp_path / "net.json"), str(file), option)
    images = torch.randn(3, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(1))
    eps, _, padding = expected
    with torch.no_grad():
        found = trained.network(images)
    torch.testing.assert_close(found, forward(STATE, images, eps=eps, same=padding == "same"))
    assert any(said(expected, source) in note for note in trained.notes) == (source is not None)


def test_train_says_what_it_took_and_records_it(tmp_path, run_cli):
    file, _ = written(tmp_path, "hub")
    (tmp_path / "net.json").write_text(NETWORK.to_json())
    options = ["--resolution", SIDE, "--recipe", "proxy", "--epochs", 1, "--batch-size", 256]
    command = ["train", tmp_path / "net.json", *options, "--output", tmp_path / "one"]
    code, _, err = run_cli(*command, "--init", file)
    assert code == 0, err
    assert err.count(said(SAME, "timm's tf_efficientnet_b0")) == 1
    recorded = json.loads((tmp_path / "one" / "config.json").read_text())["config"]
    settings = dict(zip(("bn_eps", "bn_momentum", "padding"), SAME, strict=True))
    assert recorded["weight_settings"] == settings | {"source": "timm's tf_efficientnet_b0"}
    assert settings.items() <= recorded["architecture"].items()
    # What was trained is what is exported, and what the next one starts from says it itself.
    model = (tmp_path / "one" / "export" / "model.py").read_text()
    assert "eps=0.001" in model and "class PaddedConv2d" in model
    for source in ("one", "one/checkpoint-best.pt", "one/export", "one/export/weights.pt"):
        config = TrainingConfig(architecture=NETWORK, init=str(tmp_path / source))
        found = settings_to_start_from(config)
        assert (found.bn_eps, found.bn_momentum, found.padding) == SAME
    # The file is not needed any more, and whose weights they are is part of the question.
    file.unlink()
    code, _, err = run_cli(*command, "--init", file)
    assert code == 0, err
    code, _, err = run_cli(*command, "--init", file, "--weights-of", "timm")
    assert code == 2
    assert "weights_of must be none to resume the training" in err and "got 'timm'" in err


def test_a_training_of_before_goes_on_as_it_was(tmp_path):
    """Its config.json says nothing of settings: those of its architecture stay."""
    file, _ = written(tmp_path, "hub")
    options = {"recipe": "proxy", "epochs": 1, "batch_size": 256, "resolution": SIDE}
    config = TrainingConfig(architecture=NETWORK, init=str(file), **options)
    result = start(config, tmp_path / "old")
    place = tmp_path / "old" / "config.json"
    content = json.loads(place.read_text())
    content = {"training": content["config"], "versions": content["versions"]}  # format 1
    for name in ("weight_settings", "weights_of", "recipe_sha256"):
        del content["training"][name]
    content["training"]["architecture"] |= {"bn_eps": 1e-3, "bn_momentum": 0.01}
    content["training"]["architecture"]["padding"] = "symmetric"
    place.write_text(json.dumps(content))
    assert start(config, tmp_path / "old") == result
    content["training"]["weight_settings"] = {"bn_eps": -1}
    place.write_text(json.dumps(content))
    with pytest.raises(UsageError, match=r"config\.json' is no training's configuration"):
        start(config, tmp_path / "old")


def test_whose_weights_without_weights(tmp_path, run_cli, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "net.json").write_text(NETWORK.to_json())
    Image.fromarray(digits().test.images[0]).save("digit.png")
    code, _, err = run_cli("train", "net.json", "--weights-of", "timm")
    assert (code, err) == (2, "error: --weights-of timm requires --init\n")
    code, _, err = run_cli("explain", "net.json", "digit.png", "--weights-of", "timm")
    assert (code, err) == (2, "error: --weights-of timm requires --weights\n")
    config = TrainingConfig(architecture=NETWORK, init=str(written(tmp_path, "nothing")[0]))
    with pytest.raises(
        UsageError, match="weights_of must be timm, timm-tf or torchvision, got 'keras'"
    ):
        settings_to_start_from(replace(config, weights_of="keras"))


def test_hostile_settings_are_none(tmp_path):
    """What cannot be an architecture's is not taken, nor what is no network's name."""
    file, _ = written(tmp_path, "nothing")
    for told in (
        {"model_args": {"bn_eps": "nan", "bn_momentum": 0.1}},
        {"model_args": {"bn_eps": 1e-3, "bn_momentum": 0.1, "pad_type": "reflect"}},
        {"model_args": {"bn_eps": [1]}},
        {"architecture": None, "model_args": 3},
        {"architecture": "tf_\n\x1b[2J"},
        {"architecture": 99 * "x"},
        [],
    ):
        (tmp_path / "config.json").write_text(json.dumps(told))
        assert find_settings(file, STATE) is None


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("efficientnet_b0", SYMMETRIC),
        ("efficientnet_b5", (1e-3, 0.01, "symmetric")),
        ("mobilenet_v2", SYMMETRIC),
        ("mnasnet1_0", (1e-5, 3e-4, "symmetric")),
        ("resnet18", SYMMETRIC),
    ],
)
def test_torchvision_s_own_settings(name, expected):
    need("torchvision")
    from torchvision import models

    with torch.device("meta"):
        network = getattr(models, name)()
    found = find_settings(Path("nowhere"), network.state_dict())
    norms = [m for m in network.modules() if isinstance(m, torch.nn.BatchNorm2d)]
    assert {norm.eps for norm in norms} == {found.bn_eps}
    assert all(norm.momentum == pytest.approx(found.bn_momentum) for norm in norms)
    assert (found.bn_eps, found.bn_momentum, found.padding) == expected


# -- ResNets -------------------------------------------------------------------------------------


def resnet_shapes(kind, repeats, *, width=64, classes=1000):
    """Names and shapes of torchvision's ResNets: `BasicBlock` has two convolutions, `Bottleneck`
    three and four times the width behind it; the first block of a layer projects its input where
    that has another size."""
    shapes = {}

    def pair(conv, norm, out, into, kernel):
        shapes[f"{conv}.weight"] = (out, into, kernel, kernel)
        for part in ("weight", "bias", "running_mean", "running_var"):
            shapes[f"{norm}.{part}"] = (out,)
        shapes[f"{norm}.num_batches_tracked"] = ()

    pair("conv1", "bn1", width, 3, 7)
    into, times = width, 4 if kind == "bottleneck" else 1
    for layer, count in enumerate(repeats):
        inside = width * 2**layer
        for b in range(count):
            path = f"layer{layer + 1}.{b}"
            if kind == "basic":
                pair(f"{path}.conv1", f"{path}.bn1", inside, into, 3)
                pair(f"{path}.conv2", f"{path}.bn2", inside, inside, 3)
            else:
                pair(f"{path}.conv1", f"{path}.bn1", inside, into, 1)
                pair(f"{path}.conv2", f"{path}.bn2", inside, inside, 3)
                pair(f"{path}.conv3", f"{path}.bn3", 4 * inside, inside, 1)
            if b == 0 and (layer or into != times * inside):
                projection = f"{path}.downsample"
                pair(f"{projection}.0", f"{projection}.1", times * inside, into, 1)
            into = times * inside
    shapes["fc.weight"], shapes["fc.bias"] = (classes, into), (classes,)
    return shapes


def resnet_state(kind, repeats, **options):
    """Random weights under these names; scales keep the sum of many blocks small."""
    generator = torch.Generator().manual_seed(0)
    state = {}
    for name, shape in resnet_shapes(kind, repeats, **options).items():
        drawn = torch.rand(shape, generator=generator)
        if len(shape) > 1:
            drawn = (drawn - 0.5) * (24 / torch.Size(shape[1:]).numel()) ** 0.5
        elif name.endswith("running_var"):
            drawn = drawn + 0.5
        elif name.endswith((f"bn{3 if kind == 'bottleneck' else 2}.weight", "fc.bias")):
            drawn = 0.3 * drawn
        elif not name.endswith("weight"):
            drawn = 0.1 * (drawn - 0.5)
        state[name] = torch.tensor(7) if name.endswith("tracked") else drawn
    return state


def resnet_forward(state, repeats, x):
    """torchvision's `ResNet.forward` by hand, "v1.5": the 3x3 convolution strides."""

    def conv(x, path, stride=1):
        weight = state[f"{path}.weight"]
        return F.conv2d(x, weight, stride=stride, padding=weight.shape[-1] // 2)

    def norm(x, path):
        mean, var, scale, shift = (
            state[f"{path}.{p}"] for p in ("running_mean", "running_var", "weight", "bias")
        )
        return F.batch_norm(x, mean, var, scale, shift, eps=1e-5)

    x = F.max_pool2d(F.relu(norm(conv(x, "conv1", 2), "bn1")), 3, 2, 1)
    for layer, count in enumerate(repeats):
        for b in range(count):
            path, stride = f"layer{layer + 1}.{b}", 2 if layer and not b else 1
            deep = f"{path}.conv3.weight" in state
            branch = F.relu(norm(conv(x, f"{path}.conv1", 1 if deep else stride), f"{path}.bn1"))
            branch = norm(conv(branch, f"{path}.conv2", stride if deep else 1), f"{path}.bn2")
            if deep:
                branch = norm(conv(F.relu(branch), f"{path}.conv3"), f"{path}.bn3")
            if f"{path}.downsample.0.weight" in state:
                x = norm(conv(x, f"{path}.downsample.0", stride), f"{path}.downsample.1")
            x = F.relu(branch + x)
    return F.linear(x.mean((2, 3)), state["fc.weight"], state["fc.bias"])


RESNETS = {
    "resnet18": ("basic", (2, 2, 2, 2)),
    "resnet50": ("bottleneck", (3, 4, 6, 3)),
    "resnet152": ("bottleneck", (3, 8, 36, 3)),
}
LIKE_RESNET18 = Architecture.from_block_string(
    "basic_r1_k3_s1_c16_nre basic_r2_k3_s2_c32_nre",
    stem=Stem(channels=16, kernel=7, pool=True),
    head_channels=None,
    activation="relu",
    resolution=32,
    num_classes=10,
)


@pytest.mark.parametrize("name", RESNETS)
def test_torchvision_s_resnets_fit(name):
    kind, repeats = RESNETS[name]
    state = resnet_state(kind, repeats)
    architecture = reference.architecture(name)
    found = weights.fit(state, architecture)
    assert found.matched_by == "torchvision's names"
    assert not found.new and not found.left
    images = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(2))
    right = resnet_forward(state, repeats, images)
    assert right.isfinite().all() and right.std() > 0.01
    torch.testing.assert_close(
        outputs(architecture, found.weights, images), right, rtol=1e-4, atol=1e-5
    )


@pytest.mark.parametrize("package", ["torchvision", "timm"])
@pytest.mark.parametrize("name", RESNETS)
def test_the_names_and_shapes_are_theirs(package, name):
    need("torchvision", package)
    with torch.device("meta"):
        if package == "timm":
            from timm import create_model

            network = create_model(name)
        else:
            from torchvision import models

            network = getattr(models, name)()
    theirs = {k: tuple(v.shape) for k, v in network.state_dict().items()}
    assert list(theirs.items()) == list(resnet_shapes(*RESNETS[name]).items())
    names = torchvision_names(reference.architecture(name), build_names(name))
    assert list(names.values()) == list(theirs)


def build_names(name):
    with torch.device("meta"):
        return list(build(reference.architecture(name)).state_dict())


def test_a_resnet_s_mismatches_are_named():
    architecture = reference.architecture("resnet18")
    state = resnet_state("basic", (2, 2, 2, 2))
    lost = {k: v for k, v in state.items() if k != "layer2.0.downsample.0.weight"}
    with pytest.raises(UsageError, match=r": 1 do not fit: blocks\.1\.0\.downsample\.0\.weight "):
        weights.fit(lost, architecture)
    with pytest.raises(UsageError, match=r": 1 have no place in it: layer5\.0\.conv1\.weight \[3"):
        weights.fit(state | {"layer5.0.conv1.weight": torch.zeros(3)}, architecture)
    wider = state | {"layer1.0.conv1.weight": torch.zeros(65, 64, 3, 3)}
    with pytest.raises(UsageError, match=r"there: layer1\.0\.conv1\.weight \[65, 64, 3, 3\]"):
        weights.fit(wider, architecture)
    with pytest.raises(UsageError, match="do not fit"):
        weights.fit(state, reference.architecture("resnet34"))


def test_a_resnet_is_exported_trained_and_explained(tmp_path, run_cli):
    """A small one, from settings that are not its own."""
    other = replace(LIKE_RESNET18, bn_eps=3e-3, padding="same")
    (tmp_path / "net.json").write_text(other.to_json())
    state = resnet_state("basic", (1, 2), width=16, classes=10)
    torch.save({"state_dict": {f"module.{k}": v for k, v in state.items()}}, tmp_path / "r.pth")
    source = ["--weights", tmp_path / "r.pth"]
    out = tmp_path / "out"
    code, _, err = run_cli("export", tmp_path / "net.json", "--to", "pytorch", *source, "-o", out)
    assert code == 0, err
    assert "by torchvision's names; new: nothing; left over: nothing" in err
    assert said(SYMMETRIC, "torchvision") in err
    namespace = {"__name__": "exported", "__file__": "model.py"}
    exec((out / "model.py").read_text(), namespace)
    network = namespace["Model"]().eval()
    network.load_state_dict(load_file(out / "weights.safetensors"))
    images = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    with torch.no_grad():
        torch.testing.assert_close(
            network(images), resnet_forward(state, (1, 2), images), rtol=1e-4, atol=1e-5
        )
    Image.fromarray(digits().test.images[0]).save(tmp_path / "digit.png")
    pictures = ["-o", tmp_path / "maps"]
    code, _, err = run_cli(
        "explain", tmp_path / "net.json", tmp_path / "digit.png", *source, *pictures
    )
    assert code == 0, err
    assert said(SYMMETRIC, "torchvision") in err
    options = ["--recipe", "proxy", "--epochs", 1, "--batch-size", 256]
    options += ["--init", tmp_path / "r.pth", "--output", tmp_path / "training"]
    code, _, err = run_cli("train", tmp_path / "net.json", *options)
    assert code == 0, err
    assert "by torchvision's names; new: nothing; left over: nothing" in err
