"""Exports: the same outputs in every format, refusals, and files of people unknown."""

import importlib
import io
import json
import os
import pickle
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from other_packages import need
from safetensors.torch import load_file, save_file
from strategies import SPACES, architectures

from mnas_search import reference
from mnas_search.architecture.stage import Stem
from mnas_search.architecture.value import Architecture
from mnas_search.common import plugins
from mnas_search.common.errors import InvalidArchitecture, UsageError, WorkFailed
from mnas_search.export import comparison
from mnas_search.export.base import Origin
from mnas_search.export.model_py.model_source import model_source
from mnas_search.export.timm.block_args import parse_block_args, timm_block_args
from mnas_search.export.torchvision import layout as torchvision_like
from mnas_search.nas.space.choices import decode
from mnas_search.networks import build
from mnas_search.networks.weights import loading as weights_module
from mnas_search.networks.weights.torchvision_names import torchvision_names
from mnas_search.testing import ExporterContract

pytestmark = pytest.mark.filterwarnings("ignore:Overwriting mnas_")  # in timm's registry
GOLDEN = Path(__file__).parents[1] / "golden"
NEEDS = {
    "pytorch": (),
    "torch-export": (),
    "timm": ("timm", "torchvision"),
    "torchvision": ("torchvision",),
    "onnx": ("onnx", "onnxruntime", "onnxscript"),
    "huggingface": ("timm", "torchvision"),
}
TOLERANCE = {"onnx": 1e-4}
QUICK = ("pytorch", "timm", "torchvision", "huggingface")
TRACED = ("torch-export", "onnx")  # ten seconds a network and more
# As the default run finds them: kernels, squeezes and expansions mixed.
WINNER = Architecture.from_block_string(
    "ds_r1_k5_s1_e1_c16 ir_r2_k3_s2_e6_c24_se0.25 ir_r2_k5_s2_e6_c40_se0.25 "
    "ir_r3_k5_s2_e6_c80_se0.25 ds_r3_k5_s1_e1_c112 ir_r4_k5_s2_e6_c192_se0.25 "
    "ir_r2_k5_s1_e6_c320_se0.25"
)
SMALL = Architecture.from_block_string(
    "cn_r2_k3_s1_e1_c16_skip er_r2_k3_s2_e4_c24 ds_r1_k3_s1_e1_c24 ir_r2_k5_s2_e6_c40_se0.25",
    resolution=32,
    num_classes=7,
    head_channels=64,
)
B0 = reference.architecture("efficientnet_b0")


def with_stage(index, **changes):
    """SMALL, one stage of which is another."""
    stages = list(SMALL.stages)
    stages[index] = replace(stages[index], **changes)
    return replace(SMALL, stages=tuple(stages))


def trained(architecture, side=48):
    """Weights as training leaves them: no two channels alike, statistics of real activations.

    Statistics of maps of another size would be far from those that the network then meets, and
    would blow up its outputs with all rounding errors.
    """
    torch.manual_seed(0)
    network = build(architecture)
    network.eval()
    with torch.no_grad():
        for parameter in network.parameters():
            if parameter.ndim == 1:
                parameter += 0.2 * torch.randn_like(parameter)
        for module in network.modules():
            if isinstance(module, torch.nn.BatchNorm2d):
                module.train()
                module.momentum = None
        network(torch.randn(8 if side <= 64 else 4, 3, side, side))
    return network.eval()


def run_module(file, name):
    """A file's own `name`, as its user would import it."""
    specification = importlib.util.spec_from_file_location(f"exported_{file.parent.name}", file)
    module = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = module
    try:
        specification.loader.exec_module(module)
        return getattr(module, name)
    finally:
        del sys.modules[specification.name]


def logits(form, folder, images):
    """What other programs make of the written files."""
    if form == "torch-export":
        return torch.export.load(folder / "model.pt2").module()(images)
    if form == "onnx":
        import onnxruntime

        session = onnxruntime.InferenceSession(folder / "model.onnx")
        (found,) = session.run(None, {"images": images.numpy()})
        return torch.from_numpy(found)
    if form == "huggingface":
        import timm

        config = json.loads((folder / "config.json").read_text())
        if (folder / "model.py").exists():
            run_module(folder / "model.py", config["architecture"])
        return timm.create_model(f"local-dir:{folder}", pretrained=True).eval()(images)
    if form == "timm":
        source = (folder / "model.py").read_text()
        name = source.split("@register_model\ndef ")[1].split("(")[0]
        return run_module(folder / "model.py", name)(pretrained=True).eval()(images)
    network = run_module(folder / "model.py", "model" if form == "torchvision" else "Model")()
    if form == "torchvision":
        network.load_state_dict(load_file(folder / "model.safetensors"))
    else:
        given = torch.load(folder / "weights.pt", weights_only=True)
        again = load_file(folder / "weights.safetensors")
        assert given.keys() == again.keys()
        assert all(torch.equal(given[name], again[name]) for name in given)
        network.load_state_dict(given)
    return network.eval()(images)


def exported(form, architecture, weights, path):
    exporter = plugins.load("exporters", form)()
    path.mkdir(parents=True, exist_ok=True)
    files = exporter.export(architecture, weights, path)
    assert sorted(files) == sorted(path.iterdir())
    return files


def assert_same_outputs(form, architecture, path, *, batch=3):
    need(*NEEDS[form])
    free = architecture.padding == "symmetric" and form not in TRACED
    side = 64 if free else architecture.resolution
    network = trained(architecture, side)
    exported(form, architecture, network.state_dict(), path)
    images = torch.randn(batch, 3, side, side, generator=torch.Generator().manual_seed(5))
    with torch.no_grad():
        expected = network(images)
        got = logits(form, path, images)
    largest = float(expected.abs().max())
    assert 0.1 < largest < 100  # no comparison of zeros, nor of rounding errors
    assert float((expected - got).abs().max()) <= TOLERANCE.get(form, 1e-5) * largest


def some_of(name, count, seed=0):
    space = SPACES[name]
    rng = np.random.default_rng(seed)
    for _ in range(count):
        codes = np.array([rng.integers(len(d.options)) for d in space.decisions])
        yield space.decode(decode(space.decisions, codes))


def assert_random_networks_survive(form, name, count, path, *, resolution=None):
    """Those that the format can express, the others refused by their stage."""
    need(*NEEDS[form])
    done = 0
    for number, network in enumerate(some_of(name, count)):
        network = replace(network, resolution=resolution or network.resolution)
        try:
            assert_same_outputs(form, network, path / str(number))
        except InvalidArchitecture as error:
            assert form not in ("pytorch", *TRACED)
            assert "cannot express" in str(error)
            assert not list((path / str(number)).iterdir())
        else:
            done += 1
    return done


# -- what every exporter must do ------------------------------------------------------------------


class BuiltIn(ExporterContract):
    """On a network of every block kind, read again by the packages that the format is for."""

    form: str
    architecture = SMALL

    @pytest.fixture
    def exporter(self):
        if self.form == "onnx":
            need(*NEEDS["onnx"])
        return plugins.load("exporters", self.form)()

    def logits(self, folder, images):
        need(*NEEDS[self.form])
        return logits(self.form, folder, images)


class TestPyTorch(BuiltIn):
    form = "pytorch"


class TestTorchExport(BuiltIn):
    form = "torch-export"


class TestOnnx(BuiltIn):
    form = "onnx"
    tolerance = TOLERANCE["onnx"]


class TestTimm(BuiltIn):
    form = "timm"
    inexpressible = (with_stage(3, skip="pool"), 3)


class TestTorchvision(BuiltIn):
    form = "torchvision"
    inexpressible = (with_stage(2, activation="relu"), 2)


class TestHuggingFace(BuiltIn):
    form = "huggingface"
    inexpressible = (with_stage(0, se_ratio=0.25), 0)


class TestJson(BuiltIn):
    form = "json"

    def logits(self, folder, images):
        raise AssertionError("has no weights")


def test_a_file_of_json_is_the_architecture(tmp_path):
    (file,) = exported("json", SMALL, None, tmp_path)
    assert Architecture.from_json(file.read_text()) == SMALL


# -- the same outputs ----------------------------------------------------------------------------


@pytest.mark.parametrize("form", QUICK)
@pytest.mark.parametrize("network", [B0, WINNER], ids=["b0", "winner"])
def test_b0_and_a_winner(form, network, tmp_path):
    assert_same_outputs(form, network, tmp_path / "out")


@pytest.mark.parametrize("form", ["pytorch", "timm", "huggingface"])
@pytest.mark.parametrize("name", ["mobilenet_v1", "mobilenet_v2", "mnasnet_a1", "mnasnet_b1"])
def test_published_networks(form, name, tmp_path):
    assert_same_outputs(form, reference.architecture(name), tmp_path / "out")


@pytest.mark.parametrize("form", ["pytorch", "timm", "huggingface"])
def test_tensorflow_s_padding(form, tmp_path):
    assert_same_outputs(form, replace(SMALL, padding="same", resolution=33), tmp_path / "small")
    assert_same_outputs(form, replace(B0, padding="same", resolution=65), tmp_path / "b0")


@pytest.mark.parametrize("form", QUICK)
@pytest.mark.parametrize("space", sorted(SPACES))
def test_random_networks(form, space, tmp_path):
    done = assert_random_networks_survive(form, space, 5, tmp_path)
    assert done == 5 or form != "pytorch"
    assert done == 5 or space != "efficientnet"


@pytest.mark.slow
@pytest.mark.parametrize("form", QUICK)
@pytest.mark.parametrize("space", sorted(SPACES))
def test_many_random_networks(form, space, tmp_path):
    assert_random_networks_survive(form, space, 50, tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize("form", TRACED)
@pytest.mark.parametrize("space", sorted(SPACES))
def test_random_networks_are_traced(form, space, tmp_path):
    assert assert_random_networks_survive(form, space, 5, tmp_path, resolution=64) == 5


@pytest.mark.slow
@pytest.mark.parametrize("form", [*QUICK, *TRACED])
@pytest.mark.parametrize(
    "name", ["efficientnet_b0", "efficientnet_b1", "efficientnet_b2", "efficientnet_b3"]
)
def test_the_family_at_its_own_size(form, name, tmp_path):
    assert_same_outputs(form, reference.architecture(name), tmp_path / "out", batch=2)


@pytest.mark.slow
@pytest.mark.parametrize("form", TRACED)
@pytest.mark.parametrize("name", ["mobilenet_v2", "winner", "same"])
def test_others_are_traced(form, name, tmp_path):
    networks = {
        "winner": WINNER,
        "same": replace(B0, padding="same", resolution=65),
        "mobilenet_v2": reference.architecture("mobilenet_v2"),
    }
    assert_same_outputs(form, networks[name], tmp_path / "out", batch=5)


def test_untrained_weights_are_said_to_be(tmp_path):
    exported("pytorch", SMALL, None, tmp_path)
    words = json.loads((tmp_path / "weights.json").read_text())
    assert words["weights"].startswith("untrained")


# -- the comparison ------------------------------------------------------------------------------


class Changed(torch.nn.Module):
    """A network of which one thing is not what it should be."""

    def __init__(self, network, change):
        super().__init__()
        self.network = network
        change(network)

    def forward(self, images):
        return self.network(images)


def another_epsilon(network):
    network.blocks[3][1].bn2.eps *= 2


def another_activation(network):
    network.blocks[3][0].act1 = torch.nn.Hardswish()


def no_squeeze(network):
    network.blocks[3][1].se = torch.nn.Identity()


def no_shortcut(network):
    network.blocks[1][1].residual = type(network.blocks[1][0].residual)()


def another_stride(network):
    network.blocks[3][0].conv_dw.padding = (1, 1)


@pytest.mark.parametrize(
    "change", [another_epsilon, another_activation, no_squeeze, no_shortcut, another_stride]
)
@pytest.mark.parametrize("is_trained", [True, False])
def test_the_comparison_sees_every_difference(change, is_trained):
    torch.manual_seed(0)
    network = trained(SMALL) if is_trained else build(SMALL).eval()
    images = comparison.images_for(SMALL, any_size=True)
    other = build(SMALL).eval()
    other.load_state_dict(network.state_dict())

    def run(images, weights):
        if weights is not None:
            other.load_state_dict(weights, strict=False)
        return other(images)

    assert comparison.compare(network, run, images, trained=is_trained) == 0
    change(other)
    with pytest.raises(WorkFailed, match="differs from the network by"):
        comparison.compare(network, run, images, trained=is_trained)


def test_the_comparison_leaves_the_network_as_it_was():
    torch.manual_seed(0)
    network = build(SMALL).eval()
    before = {name: value.clone() for name, value in network.state_dict().items()}
    images = comparison.images_for(SMALL, any_size=True)
    again = build(SMALL).eval()

    def run(images, weights):
        again.load_state_dict(before if weights is None else weights)
        return again(images)

    comparison.compare(network, run, images, trained=False)
    assert all(torch.equal(v, before[k]) for k, v in network.state_dict().items())


def test_an_export_that_differs_leaves_nothing(run_cli, tmp_path, monkeypatch):
    monkeypatch.setattr(comparison, "_difference", lambda *_: 1 / 0)
    for form in ("pytorch", "timm", "torchvision", "huggingface", "torch-export"):
        code, _, err = run_cli("export", SMALL.block_string, "--to", form, "-o", tmp_path / "a/b")
        assert code == 1
        assert err.startswith(f"error: exporter '{form}' failed: ZeroDivisionError")
        assert err.count("\n") == 1
        assert not list(tmp_path.iterdir())


def test_an_exporter_that_fails_half_way_leaves_nothing(run_cli, tmp_path):
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "from mnas_search import Exporter, WorkFailed\n"
        "class Mine(Exporter):\n"
        "    def export(self, architecture, weights, path):\n"
        "        (path / 'half').write_text('half')\n"
        "        raise WorkFailed('no more')\n"
    )
    target = tmp_path / "out"
    code, _, err = run_cli("export", "mnasnet_a1", "--to", f"{plugin}:Mine", "-o", target)
    assert (code, err) == (1, "error: no more\n")
    assert [p.name for p in tmp_path.iterdir() if "cache" not in p.name] == ["mine.py"]
    target.mkdir()
    (target / "kept").write_text("kept")
    code, _, _ = run_cli("export", "mnasnet_a1", "--to", f"{plugin}:Mine", "-o", target, "--force")
    assert code == 1
    assert [p.name for p in target.iterdir()] == ["kept"]


# -- what a format cannot express ----------------------------------------------------------------


@pytest.mark.parametrize(
    "form, text, says",
    [
        ("timm", "ir_r2_k3_s1_e4_c32_pool", "stage 0, 'ir_r2.*': it has no pooled shortcut"),
        ("timm", "ds_r1_k3_s1_c16 cn_r1_k3_s2_c16_se0.25", "stage 1, .*'cn' has no squeeze"),
        ("timm", "ir_r1_k3_s1_e4_c32_nge", "stage 0, .* no word for 'gelu'"),
        ("timm", "ir_r1_k3_s1_e2.5_c36 ir_r1_k3_s1_e2.5_c8_se0.3", "stage 1, .*squeeze-and-exc"),
        ("huggingface", "ir_r2_k3_s1_e4_c32_pool", "timm cannot express stage 0"),
        ("torchvision", "ds_r1_k3_s1_c16 ir_r1_k3_s2_e6_c24_nre", "stage 1, .* no 'relu'"),
        ("torchvision", "ds_r1_k3_s1_c16 ir_r1_k3_s2_e6_c24_se0.5", "4 channels wide there"),
        ("torchvision", "ir_r2_k3_s2_e6_c24_noskip", "shortcut 'none' where it would be 'ident"),
        ("torchvision", "ir_r2_k3_s2_e6_c20", "stage 0, .*multiples of 8"),
        ("torchvision", "er_r2_k3_s2_e6_c24_se0.25", "fused blocks have no squeeze"),
        ("torchvision", "dsa_r1_k3_s1_c64", "stage 0, .* no block 'dsa'"),
        ("torchvision", "ir_r1_k3_s1_e1.01_c32", "without expansion"),
    ],
)
def test_what_cannot_be_expressed_is_refused(form, text, says, run_cli, tmp_path):
    code, out, err = run_cli("export", text, "--to", form, "-o", tmp_path / "out")
    assert (code, out) == (2, "")
    with pytest.raises(InvalidArchitecture, match=says):
        raise InvalidArchitecture(err)
    assert "; supported: " in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_block_kind_that_imports_more_than_torch(tmp_path):
    """Cannot be written into a file that imports torch alone."""
    example = Path(__file__).parents[2] / "examples" / "block_kind"
    info = tmp_path / "site" / "mnas_search_grouped-0.1.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: grouped\nVersion: 0.1\n")
    (info / "entry_points.txt").write_text("[mnas_search.blocks]\ngc = grouped:GC\n")
    for name in ("grouped.py", "grouped_module.py"):
        text = (example / name).read_text()
        text = text.replace("from torch import", "import numpy\nfrom torch import")
        (info.parent / name).write_text(text)
    main = "from mnas_search.cli import main; main()"
    command = [sys.executable, "-c", main, "export", "ds_r1_k3_s2_c16 gc_r1_k3_s1_e1_c16"]
    done = subprocess.run(
        [*command, "--to", "pytorch", "-o", tmp_path / "out"],
        env={**os.environ, "PYTHONPATH": str(info.parent)},
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr.startswith("error: model.py cannot express stage 1, 'gc_r1_k3_s1_e1_c16'")
    assert done.stderr.endswith(
        "must import torch and mnas_search.networks.layers only, got 'numpy'\n"
    )
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "form, change",
    [
        ("timm", {"stem": Stem(stride=1)}),
        ("timm", {"stem": Stem(pool=True)}),
        ("torchvision", {"stem": Stem(kernel=5)}),
        ("torchvision", {"activation": "relu"}),
        ("torchvision", {"head_channels": None}),
        ("torchvision", {"padding": "same"}),
    ],
)
def test_networks_that_cannot_be_expressed_are_refused(form, change, tmp_path):
    with pytest.raises(InvalidArchitecture, match=r"cannot express .*; supported: "):
        exported(form, replace(B0, **change), None, tmp_path)
    assert not list(tmp_path.iterdir())


def test_what_only_looks_inexpressible(tmp_path):
    """A pool that cannot act; an activation that is the whole network's; a total stride of 64."""
    network = Architecture.from_block_string(
        "cn_r1_k5_s2_c24_nge er_r1_k3_s2_e3_c16_pool_nge ir_r2_k3_s2_e6_c24_nge "
        "ds_r2_k3_s2_c24_nge_noskip ir_r1_k7_s2_e2.5_c40_se0.25_nge",
        activation="gelu",
        head_channels=None,
        stem=Stem(channels=20, kernel=5),
        resolution=64,
    )
    assert parse_block_args(timm_block_args(network), "gelu")[0].activation == "gelu"
    assert_same_outputs("timm", network, tmp_path / "out")


# -- torchvision's names -------------------------------------------------------------------------


def test_torchvision_s_names_of_b0():
    names = list(build(B0).state_dict())
    theirs = torchvision_names(B0, names)
    assert len(theirs) == len(set(theirs.values())) == 360
    for ours, expected in {
        "conv_stem.weight": "features.0.0.weight",
        "bn1.running_var": "features.0.1.running_var",
        "blocks.0.0.conv_dw.weight": "features.1.0.block.0.0.weight",
        "blocks.0.0.se.conv_reduce.bias": "features.1.0.block.1.fc1.bias",
        "blocks.0.0.bn2.bias": "features.1.0.block.2.1.bias",
        "blocks.4.2.conv_pwl.weight": "features.5.2.block.3.0.weight",
        "blocks.4.2.bn3.num_batches_tracked": "features.5.2.block.3.1.num_batches_tracked",
        "conv_head.weight": "features.8.0.weight",
        "classifier.bias": "classifier.1.bias",
    }.items():
        assert theirs[ours] == expected


def test_the_stand_in_is_torchvision_s_network():
    """Structure and names of the stand-in are the original's, so that it may stand in."""
    need("torchvision")
    from torchvision.models import efficientnet as original

    def made(module):
        settings = [
            module.FusedMBConvConfig(1, 3, 1, 24, 24, 2),
            module.FusedMBConvConfig(4, 3, 2, 24, 48, 2),
            module.MBConvConfig(1, 3, 1, 48, 16, 2),
            module.MBConvConfig(6, 5, 2, 16, 40, 2),
        ]
        norm = torch.nn.BatchNorm2d
        return module.EfficientNet(settings, 0.2, 0.2, 5, norm, 64).eval()

    theirs, ours = made(original), made(torchvision_like)
    state = theirs.state_dict()
    assert list(state) == list(ours.state_dict())
    for value in state.values():
        if value.ndim == 1:
            value += 0.3 * torch.rand(value.shape)
    ours.load_state_dict(state)
    images = torch.randn(2, 3, 32, 32)
    torch.testing.assert_close(ours(images), theirs(images))


def test_what_is_missing_is_named_by_the_table(run_cli, tmp_path):
    """And not what the order of layers would make of all the layers behind it."""
    state = trained(B0).state_dict()
    names = torchvision_names(B0, state)
    theirs = {names[k]: v for k, v in state.items() if k != "blocks.2.1.bn2.bias"}
    theirs["features.9.weight"] = torch.zeros(3)
    with pytest.raises(UsageError, match=r": 1 do not fit: blocks\.2\.1\.bn2\.bias \[240\] \(th"):
        weights_module.fit(theirs, B0)
    theirs[names["blocks.2.1.bn2.bias"]] = state["blocks.2.1.bn2.bias"]
    with pytest.raises(UsageError, match=r": 1 have no place in it: features\.9\.weight \[3\]"):
        weights_module.fit(theirs, B0)


def test_torchvision_s_own_b0_comes_in_and_goes_out(tmp_path):
    need("torchvision")
    from torchvision.models import efficientnet_b0

    theirs = efficientnet_b0().eval()
    for value in theirs.state_dict().values():
        if value.ndim == 1:
            value += 0.3 * torch.rand(value.shape)
    network = replace(B0, bn_eps=1e-5, bn_momentum=0.1)
    fitted = weights_module.fit(theirs.state_dict(), network)
    exported("torchvision", network, fitted.weights, tmp_path)
    again = load_file(tmp_path / "model.safetensors")
    missing = theirs.state_dict().keys() - again.keys()
    assert all(name.endswith("num_batches_tracked") for name in missing)
    assert all(torch.equal(v, again[k]) for k, v in theirs.state_dict().items() if k in again)


# -- the command line ----------------------------------------------------------------------------


@pytest.fixture(scope="module")
def weights_file(tmp_path_factory):
    """Weights of SMALL, whose architecture lies beside them."""
    folder = tmp_path_factory.mktemp("weights")
    (folder / "small.json").write_text(SMALL.to_json())
    save_file(trained(SMALL).state_dict(), folder / "small.safetensors")
    return folder / "small.safetensors"


def test_weights_of_a_file(run_cli, weights_file, tmp_path):
    network = weights_file.with_name("small.json")
    code, out, err = run_cli(
        "export", network, "--to", "pytorch", "--weights", weights_file, "-o", tmp_path / "out"
    )
    assert code == 0, err
    assert out.splitlines() == [
        str(tmp_path / "out" / name)
        for name in ("model.py", "weights.pt", "weights.safetensors", "weights.json")
    ]
    assert "tensors taken; new: nothing; left over: nothing" in err
    expected, got = load_file(weights_file), load_file(tmp_path / "out" / "weights.safetensors")
    assert all(torch.equal(v, got[k]) for k, v in expected.items() if "tracked" not in k)
    words = json.loads((tmp_path / "out" / "weights.json").read_text())
    assert words["weights"] == "as given to the export, from 'small.safetensors'"
    # What was exported is read again, as a folder and as torchvision's.
    for source, form in ((tmp_path / "out", "torchvision"), (tmp_path / "torchvision", "timm")):
        options = ["--to", form, "--weights", source, "-o", tmp_path / form]
        code, _, err = run_cli("export", network, *options)
        assert code == 0, err
    last = load_file(tmp_path / "timm" / "model.safetensors")
    assert all(torch.equal(v, last[k]) for k, v in expected.items() if "tracked" not in k)


def test_the_weights_decide_the_number_of_classes(run_cli, weights_file, tmp_path):
    network = replace(SMALL, num_classes=1000)
    (tmp_path / "net.json").write_text(network.to_json())
    options = ["--to", "pytorch", "--weights", weights_file, "-o", tmp_path / "out"]
    code, _, err = run_cli("export", tmp_path / "net.json", *options)
    assert code == 0, err
    assert "note: exported with the 7 classes of the weights" in err
    given = load_file(weights_file)
    headless = {k: v for k, v in given.items() if not k.startswith("classifier")}
    save_file(headless, tmp_path / "headless.safetensors")
    options = ["--weights", tmp_path / "headless.safetensors", "-o", tmp_path / "no"]
    code, _, err = run_cli("export", tmp_path / "net.json", "--to", "pytorch", *options)
    assert code == 2
    assert "has no classifier for" in err
    assert not (tmp_path / "no").exists()


def training_folder(folder, words=None):
    """What `mnas-search train` leaves, as far as an export reads it."""
    (folder / "export").mkdir(parents=True)
    config = {
        "architecture": SMALL.to_dict(),
        "data_name": "digits",
        "recipe": "scratch",
        "seed": 3,
    }
    (folder / "config.json").write_text(json.dumps({"training": config, "versions": {}}))
    result = {"test": {"top1": 0.9125, "n": 360, "top5": None, "interval": [0.9, 0.92]}}
    (folder / "result.json").write_text(json.dumps(result))
    torch.save(trained(SMALL).state_dict(), folder / "export" / "weights.pt")
    told = {
        "weights": "trained on digits by the recipe 'scratch'",
        "class_names": [f"kind {i}" for i in range(7)],
        "normalisation": {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]},
    }
    (folder / "export" / "weights.json").write_text(json.dumps(told if words is None else words))
    return folder


def test_a_training_brings_its_weights_and_its_words(run_cli, tmp_path):
    folder = training_folder(tmp_path / "training")
    for form in ("pytorch", "huggingface"):
        code, _, err = run_cli("export", folder, "--to", form, "-o", tmp_path / form)
        assert code == 0, err
        assert f"weights of {folder}: " in err
    code, _, err = run_cli("export", folder, "--to", "json", "-o", tmp_path / "json")
    assert (code, err) == (0, "")  # without weights, which have no place there
    words = json.loads((tmp_path / "pytorch" / "weights.json").read_text())
    assert words["weights"] == "trained on digits by the recipe 'scratch'"
    assert words["normalisation"] == {"mean": [0.1, 0.2, 0.3], "std": [0.4, 0.5, 0.6]}
    card = (tmp_path / "huggingface" / "README.md").read_text()
    assert "| test accuracy | 0.9125 of 360 images, evaluated once |" in card
    assert "| weights | trained on digits by the recipe 'scratch' |" in card
    assert "untrained" not in card
    config = json.loads((tmp_path / "huggingface" / "config.json").read_text())
    assert config["pretrained_cfg"]["std"] == [0.4, 0.5, 0.6]
    assert config["label_names"][6] == "kind 6"


def test_the_card_of_a_run_says_what_is_not_known(run_cli, tmp_path):
    run = tmp_path / "run"
    run.mkdir()
    (run / "journal.jsonl").touch()
    config = {
        "target_flops": 4e8, "space": "efficientnet", "controller": "bayesian", "seed": 0,
        "trials": 200, "evaluator": "accel_nasbench", "data": None,
    }  # fmt: skip
    (run / "config.json").write_text(json.dumps({"config": config}))
    winner = {"name": "r", "architecture": SMALL.to_dict(), "accuracy": 0.6512}
    (run / "best.json").write_text(json.dumps(winner))
    code, _, err = run_cli("export", run, "--to", "huggingface", "-o", tmp_path / "out")
    assert code == 0, err
    card = (tmp_path / "out" / "README.md").read_text()
    assert "**These weights are untrained.**" in card
    assert "| target | 400M FLOPs |" in card
    assert "| accuracy in the search | 0.6512, by that evaluator: not of these weights |" in card
    assert "import model  # registers the network" in card


def test_nothing_is_overwritten_unasked(run_cli, tmp_path):
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "model.py").write_text("mine")
    command = ["export", SMALL.block_string, "--to", "timm", "-o"]
    code, _, err = run_cli(*command, tmp_path / "out")
    assert code == 2
    assert "is not empty; overwriting its files requires --force" in err
    assert (tmp_path / "out" / "model.py").read_text() == "mine"
    assert run_cli(*command, tmp_path / "out", "--force")[0] == 0
    assert "register_model" in (tmp_path / "out" / "model.py").read_text()
    (tmp_path / "file").touch()
    code, _, err = run_cli(*command, tmp_path / "file")
    assert code == 2
    assert "--output must be a folder, got the file" in err


def test_a_missing_extra_is_named(run_cli, tmp_path, monkeypatch):
    from mnas_search.common import extras

    monkeypatch.setattr(extras.importlib.util, "find_spec", lambda name: None)
    code, out, err = run_cli("export", "mnasnet_a1", "--to", "onnx", "-o", tmp_path / "out")
    assert (code, out) == (2, "")
    assert "pip install 'mnas-search[onnx]'" in err
    assert err.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("form", ["timm", "huggingface", "torchvision"])
def test_without_the_package_itself(form, run_cli, tmp_path, monkeypatch):
    """What is written is compared all the same, and the user is told through what."""
    module = importlib.import_module(plugins.load("exporters", form).__module__)
    timm_model = importlib.import_module("mnas_search.export.timm.model")
    for place in (module, timm_model):
        if hasattr(place, "can_import"):
            monkeypatch.setattr(place, "can_import", lambda name: False)
    code, _, err = run_cli("export", WINNER.block_string, "--to", form, "-o", tmp_path / "out")
    assert code == 0, err
    assert err.startswith("note: ") and "cannot be imported here" in err
    assert err.count("\n") == 1


def test_why_a_package_is_absent(tmp_path, monkeypatch):
    """One that is there and does not import is not to be installed once more."""
    from mnas_search.common.extras import can_import, describe_missing

    (tmp_path / "half_installed.py").write_text(
        "raise RuntimeError('operator x::y does not exist')"
    )
    monkeypatch.syspath_prepend(tmp_path)
    assert not can_import("half_installed")
    assert describe_missing("half_installed", "it") == (
        "half_installed cannot be imported here (RuntimeError: operator x::y does not exist)"
    )
    assert describe_missing("not_installed", "it") == (
        "not_installed cannot be imported here (not installed: pip install it)"
    )


def test_onnx_is_written_without_a_word_of_torch_s(tmp_path):
    """In a process of its own, where torch has not yet said it."""
    need(*NEEDS["onnx"])
    main = "from mnas_search.cli import main; main()"
    command = [sys.executable, "-c", main, "export", "ds_r1_k3_s2_c16", "--to", "onnx", "-o"]
    done = subprocess.run([*command, tmp_path / "out"], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"{tmp_path / 'out' / 'model.onnx'}\n"


@pytest.mark.parametrize(
    "name, options, expected",
    [
        ("torchvision", [], (1e-5, 0.1, "symmetric")),
        ("timm", [], None),  # nothing is told: the architecture's own
        ("timm", ["--weights-of", "timm"], (1e-5, 0.1, "symmetric")),
        ("timm", ["--weights-of", "timm-tf"], (1e-3, 0.1, "same")),
        ("ours", [], (3e-3, 0.02, "symmetric")),
        ("hub", [], (1e-3, 0.1, "same")),
        ("own hub", [], (3e-3, 0.02, "same")),
    ],
)
def test_settings_come_from_the_source(name, options, expected, run_cli, tmp_path):
    """Of B0's weights, which are the same numbers wherever they are from."""
    state = trained(B0).state_dict()
    file, names = tmp_path / "w.safetensors", torchvision_names(B0, state)
    metadata = {"format": "pt"}
    if name == "ours":
        metadata |= {"bn_eps": "0.003", "bn_momentum": "0.02", "padding": "symmetric"}
    theirs = {names[k]: v for k, v in state.items()} if name == "torchvision" else state
    save_file(theirs, file, metadata)
    config = {"hub": {"architecture": "tf_efficientnet_b0"}}
    arguments = {"bn_eps": 3e-3, "bn_momentum": 0.02, "pad_type": "same"}
    config["own hub"] = {"architecture": "efficientnet_b0", "model_args": arguments}
    if name in config:
        (tmp_path / "config.json").write_text(json.dumps(config[name]))
    code, _, err = run_cli(
        "export", "efficientnet_b0", "--to", "pytorch", "--weights", file, *options,
        "-o", tmp_path / "out",
    )  # fmt: skip
    assert code == 0, err
    assert ("note: batch norm's epsilon" in err) == (expected is not None)
    eps, momentum, padding = expected or (1e-3, 0.01, "symmetric")
    source = (tmp_path / "out" / "model.py").read_text()
    assert f"eps={eps!r}, momentum={momentum!r}" in source
    assert ("class PaddedConv2d" in source) == (padding == "same")
    again = load_file(tmp_path / "out" / "weights.safetensors")
    assert all(torch.equal(again[k], v) for k, v in state.items() if "tracked" not in k)


def test_weights_of_nobody(run_cli, tmp_path):
    options = ["--to", "pytorch", "--weights-of", "timm", "-o", tmp_path / "out"]
    code, _, err = run_cli("export", "efficientnet_b0", *options)
    assert code == 2
    assert "--weights-of timm requires --weights" in err


# -- generated code ------------------------------------------------------------------------------


@pytest.mark.parametrize("name, network", [("efficientnet_b0", B0), ("winner", WINNER)])
def test_model_py_is_as_it_was_read(name, network):
    """Written again with `MNAS_SEARCH_GOLDEN=1`, and then to be read."""
    file = GOLDEN / f"{name}.model.py.txt"
    if os.environ.get("MNAS_SEARCH_GOLDEN"):
        file.write_text(model_source(network))
    assert model_source(network) == file.read_text()


@given(architectures())
def test_model_py_of_any_network(architecture):
    """What one network does not need is left out; what it needs is not."""
    torch.manual_seed(0)
    network = build(architecture).double().eval()
    namespace = {"__name__": "exported", "__file__": "model.py"}
    source = model_source(architecture)
    exec(compile(source, "model.py", "exec"), namespace)
    written = namespace["Model"]().double().eval()
    state = network.state_dict()
    for value in state.values():
        if value.ndim == 1:
            value += 0.1 * torch.rand(value.shape)
    assert list(written.state_dict()) == list(state)
    written.load_state_dict(state)
    images = torch.randn(2, 3, architecture.resolution, architecture.resolution).double()
    with torch.no_grad():
        torch.testing.assert_close(written(images), network(images))
        network.train()(images.repeat(2, 1, 1, 1))  # stochastic depth is there, too
        written.train()(images.repeat(2, 1, 1, 1))
    rates = [m.rate for m in written.modules() if type(m).__name__ == "DropPath" and m.rate]
    assert rates == [m.rate for m in network.modules() if type(m).__name__ == "DropPath"]
    used = {stage.activation for stage in architecture.stages}
    assert ("ACTIVATIONS = {" in source) == (len(used) > 1)
    if not any(stage.se_ratio for stage in architecture.stages):
        assert "SqueezeExcite" not in source
    if not any(stage.skip == "pool" for stage in architecture.stages):
        assert "AvgPool" not in source


# -- files of people unknown ---------------------------------------------------------------------


class Bomb:
    """Unpickled by a careless reader, it writes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return (Path.touch, (Path(self.path),))


def pickled(bomb):
    return pickle.dumps(bomb)


def inside_torch(bomb):
    content = io.BytesIO()
    torch.save({"state_dict": {"conv_stem.weight": bomb}}, content)
    return content.getvalue()


def truncated(_):
    content = io.BytesIO()
    torch.save(build(SMALL).state_dict(), content)
    return content.getvalue()[:-1000]


HOSTILE = {
    "pickle.pt": pickled,
    "pickle.pkl": pickled,
    "pickle.safetensors": pickled,
    "inside.pt": inside_torch,
    "truncated.pt": truncated,
    "empty.pt": lambda _: b"",
    "empty.safetensors": lambda _: b"",
    "zeros.pt": lambda _: bytes(1000),
    "text.pt": lambda _: b"conv_stem.weight: 1\n" * 100,
    "opcodes.pt": lambda _: bytes(range(256)) * 10,
    "json.safetensors": lambda _: (8).to_bytes(8, "little") + b'{"a": 1}',
    "header.safetensors": lambda _: (2**62).to_bytes(8, "little") + b"{}",
    "deep.safetensors": lambda _: (200_000).to_bytes(8, "little") + b"[" * 200_000,
}


@pytest.mark.parametrize("name", HOSTILE)
def test_hostile_weights(name, run_cli, tmp_path):
    sign = tmp_path / "executed"
    file = tmp_path / name
    file.write_bytes(HOSTILE[name](Bomb(str(sign))))
    options = ["--weights", file, "-o", tmp_path / "out"]
    code, out, err = run_cli("export", SMALL.block_string, "--to", "pytorch", *options)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1 and len(err) < 1000
    assert "expected " in err or "must be " in err
    assert [p.name for p in tmp_path.iterdir()] == [name]  # nothing executed, nothing written


def test_truncated_safetensors_and_100_megabytes_of_text(run_cli, weights_file, tmp_path):
    whole = weights_file.read_bytes()
    for number, content in enumerate((whole[:-1000], whole[:100], b"lorem ipsum " * 8_750_000)):
        for suffix in ("safetensors", "pt"):
            file = tmp_path / f"{number}.{suffix}"
            file.write_bytes(content)
            options = ["--weights", file, "-o", tmp_path / "out"]
            code, _, err = run_cli("export", SMALL.block_string, "--to", "pytorch", *options)
            assert code == 2
            assert err.count("\n") == 1 and len(err) < 1000
            file.unlink()
    assert not list(tmp_path.iterdir())


def test_weights_of_other_shapes_and_other_numbers(run_cli, weights_file, tmp_path):
    network, given = weights_file.with_name("small.json"), load_file(weights_file)
    stem = given["conv_stem.weight"]
    cases = {
        "wrong": (
            {"conv_stem.weight": stem[:, :2].contiguous()},
            "conv_stem.weight [32, 3, 3, 3]",
        ),
        "more": ({"blocks.9.0.conv.weight": stem.clone()}, "have no place in it: blocks.9.0"),
        "nan": ({"conv_stem.weight": stem * torch.nan}, "not finite numbers"),
        "infinite": ({"bn1.running_var": given["bn1.running_var"] - torch.inf}, "not finite"),
        "complex": ({"conv_stem.weight": stem.to(torch.complex64)}, "complex64"),
    }
    for name, (change, says) in cases.items():
        torch.save({**given, **change}, tmp_path / f"{name}.pt")
        options = ["--weights", tmp_path / f"{name}.pt", "-o", tmp_path / "out"]
        code, _, err = run_cli("export", network, "--to", "pytorch", *options)
        assert (code, says in err) == (2, True), (name, err)
        assert err.splitlines()[-1].startswith("error: ")
        assert not (tmp_path / "out").exists()


def described(change):
    return json.dumps({**SMALL.to_dict(), **change})


@pytest.mark.parametrize(
    "text, says",
    [
        (described({"secret": 1}), "no field 'secret'; its fields are "),
        (described({"stem": {"channels": 8, "exec": "rm"}}), "no field 'exec'; its fields are "),
        (
            described({"num_classes": 10**30}),
            "num_classes must be a whole number from 1 to 10,000,000, got 1000",
        ),
        (
            described({"resolution": -1}),
            "resolution must be a whole number from 1 to 16,384, got -1",
        ),
        (described({"stages": []}), "stages must be a tuple of Stage, got ()"),
        (described({"bn_eps": "__import__('os')"}), "bn_eps must be a number in (0, 1], got"),
        ("[" * 500_000, "not valid JSON"),
        ('{"stages":' * 100_000, "not valid JSON"),
        ("", "not valid JSON"),
        ("x" * 20_000_000, "at most 10,000,000 bytes, got 20,000,000"),
    ],
    ids=range(10),
)
def test_hostile_architectures(text, says, run_cli, tmp_path):
    file = tmp_path / "net.json"
    file.write_text(text)
    for form in ("pytorch", "timm"):
        code, out, err = run_cli("export", file, "--to", form, "-o", tmp_path / "out")
        assert (code, out) == (2, "")
        assert says in err
        assert err.count("\n") == 1 and len(err) < 1000
    assert [p.name for p in tmp_path.iterdir()] == ["net.json"]


def test_a_name_stays_text_in_every_format(run_cli, tmp_path):
    name = '"""\nraise SystemExit("escaped")\n---\n| <script> `${}` {0}'
    (tmp_path / "net.json").write_text(replace(SMALL, name=name).to_json())
    for form in QUICK:
        code, _, err = run_cli(
            "export", tmp_path / "net.json", "--to", form, "-o", tmp_path / form
        )
        assert code == 0, err
        for file in (tmp_path / form).glob("model.py"):
            compile(file.read_text(), file, "exec")
            assert "SystemExit(?escaped?)" in file.read_text() or form == "huggingface"


def test_folders_handed_over(run_cli, tmp_path):
    """JSON beside the weights that nobody can read says nothing, and does no harm."""
    deep = "[" * 200_000
    for number, (config, words) in enumerate([("{}", deep), (deep, "{}"), ("[]", "[1]")]):
        folder = tmp_path / str(number)
        folder.mkdir()
        (folder / "config.json").write_text(config)
        (folder / "weights.json").write_text(words)
        torch.save(trained(SMALL).state_dict(), folder / "weights.pt")
        (tmp_path / "small.json").write_text(SMALL.to_json())
        options = ["--weights", folder, "-o", tmp_path / f"out{number}"]
        code, _, err = run_cli("export", tmp_path / "small.json", "--to", "pytorch", *options)
        assert code == 0, err
    (tmp_path / "0" / "journal.jsonl").touch()
    (tmp_path / "0" / "best.json").write_text(deep)
    code, _, err = run_cli("export", tmp_path / "0", "--to", "json", "-o", tmp_path / "no")
    assert code == 2
    assert "nested too deeply" in err


def test_an_origin_s_text_stays_in_its_cell():
    from mnas_search.export.timm.model_card import model_card

    card = model_card(
        SMALL, Origin(weights="a | b\n# c", facts=(("x\n", "<b>"),)), registered=False
    )
    assert "| weights | a \\| b # c |" in card
    assert "| x | &lt;b> |" in card
