"""Class activation maps: exact against the logits, Grad-CAM against it, pictures, the command."""

import importlib.util
import io
import json
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from PIL import Image
from strategies import architectures
from torch import nn

from mnas_search import reference
from mnas_search.architecture.blocks import plan
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import UsageError
from mnas_search.common.files import read_json
from mnas_search.common.render import activation_maps as drawing
from mnas_search.data import digits
from mnas_search.experiments.training.session import start
from mnas_search.experiments.training.settings import TrainingConfig
from mnas_search.networks import build, explain
from mnas_search.networks.weights import loading as weights

NETWORK = "ds_r1_k3_s1_e1_c8 ir_r2_k3_s2_e3_c16_se0.25"


def randomised(network):
    """In double precision, with no layer near what it was initialised to: the outputs of a fresh
    network are close to zero, where any comparison passes."""
    generator = torch.Generator().manual_seed(3)
    network = network.double()
    with torch.no_grad():
        for value in network.state_dict().values():
            if value.ndim == 1:  # scales, biases and batch-norm statistics
                value += 0.2 * torch.rand(value.shape, generator=generator).double() + 0.05
    return network


def image(side, seed=0):
    return torch.randn(1, 3, side, side, generator=torch.Generator().manual_seed(seed)).double()


def assert_exact(network, found):
    """The map's mean and the bias are the logit."""
    bias = network.classifier.bias[found.target]
    assert float(found.logits.abs().max()) > 1e-3
    torch.testing.assert_close(
        found.values.mean() + bias, found.logits[found.target], rtol=1e-9, atol=1e-12
    )


# -- maps --------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["efficientnet_b0", "mobilenet_v1", "mobilenet_v2", "mnasnet_a1"])
def test_the_mean_of_a_map_and_the_bias_are_the_logit(name):
    architecture = replace(reference.architecture(name), num_classes=7)
    network = randomised(build(architecture))
    pixels = image(96)
    for target in (None, 0, 6):
        found = explain.activation_map(network, pixels, target)
        assert found.size == (3, 3)
        assert target in (None, found.target)
        assert_exact(network, found)
    network.eval()
    with torch.no_grad():
        torch.testing.assert_close(found.logits, network(pixels)[0], rtol=0, atol=0)


@given(architectures())
def test_every_architecture_has_an_exact_map_of_its_last_features(architecture):
    network = randomised(build(architecture))
    found = explain.activation_map(network, image(architecture.resolution))
    side = plan(architecture).stages[-1][-1].out_size
    assert (found.method, found.size) == ("cam", (side, side))
    torch.testing.assert_close(
        found.values.mean() + network.classifier.bias[found.target], found.logits[found.target]
    )


def test_a_map_by_hand():
    """Red, green and blue are the features and the classifier weighs them."""
    network = nn.Sequential(nn.Identity(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(3, 2))
    with torch.no_grad():
        network[3].weight.copy_(torch.tensor([[1.0, 0.0, 0.0], [0.0, 2.0, -1.5]]))
        network[3].bias.zero_()
    pixels = torch.arange(12.0).reshape(1, 3, 2, 2)
    found = explain.activation_map(network, pixels)
    # The channels' means are 1.5, 5.5 and 9.5.
    assert torch.equal(found.logits, torch.tensor([1.5, -3.25]))
    assert (found.method, found.target, found.predicted) == ("cam", 0, 0)
    assert torch.equal(found.values, torch.tensor([[0.0, 1.0], [2.0, 3.0]]))
    other = explain.activation_map(network, pixels, 1)
    assert torch.equal(other.values, torch.tensor([[-4.0, -3.5], [-3.0, -2.5]]))
    assert other.probability == pytest.approx(1 / (1 + np.exp(4.75)))


def test_grad_cam_by_hand():
    """f = relu(x); logit 0 = f . [1 2; 3 -2], logit 1 = f . [0 0; 0 -4]: a = 1 and -1."""
    network = nn.Sequential(nn.ReLU(inplace=True), nn.Flatten(), nn.Linear(4, 2, bias=False))
    with torch.no_grad():
        network[2].weight.copy_(torch.tensor([[1.0, 2.0, 3.0, -2.0], [0.0, 0.0, 0.0, -4.0]]))
    pixels = torch.tensor([[[[1.0, -5.0], [2.0, 3.0]]]])
    found = explain.activation_map(network, pixels)
    assert (found.method, found.target) == ("grad-cam", 0)
    assert torch.equal(found.logits, torch.tensor([1.0, -12.0]))
    assert torch.equal(found.values, torch.tensor([[1.0, 0.0], [2.0, 3.0]]))
    against = explain.activation_map(network, pixels, 1)
    assert torch.equal(against.values, torch.zeros(2, 2))
    assert torch.equal(pixels, torch.tensor([[[[1.0, -5.0], [2.0, 3.0]]]]))  # not written into


def test_grad_cam_of_a_pooled_linear_head_is_the_exact_map_s_positive_part():
    architecture = Architecture.from_block_string(NETWORK, num_classes=5)
    network = randomised(build(architecture))
    for target in range(5):
        exact = explain.activation_map(network, image(32), target)
        other = explain.gradient_activation_map(network, image(32), target)
        assert exact.size == other.size == (8, 8)
        torch.testing.assert_close(other.values, exact.values.relu() / 64)
        assert torch.equal(other.logits, exact.logits)


def test_grad_cam_of_another_layer_and_of_a_network_of_tokens():
    network = randomised(build(Architecture.from_block_string(NETWORK, num_classes=5)))
    early = explain.gradient_activation_map(network, image(32), 2, layer=network.blocks[0][-1])
    assert early.size == (16, 16)
    assert float(early.values.min()) == 0 < float(early.values.max())
    path = Path(__file__).parents[2] / "examples" / "my_vit.py"
    spec = importlib.util.spec_from_file_location("my_vit", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    transformer = module.TinyViT(16, 1)
    found = explain.activation_map(transformer, torch.rand(1, 3, 8, 8))
    assert (found.method, found.size) == ("grad-cam", (4, 4))


def test_a_network_is_left_as_it_was():
    network = build(Architecture.from_block_string(NETWORK, num_classes=5)).train()
    network.blocks[0].eval()
    modes = [m.training for m in network.modules()]
    state = {k: v.clone() for k, v in network.state_dict().items()}
    explain.activation_map(network, image(32).float())
    explain.gradient_activation_map(network, image(32).float())
    assert [m.training for m in network.modules()] == modes
    assert all(torch.equal(v, state[k]) for k, v in network.state_dict().items())
    assert all(p.grad is None for p in network.parameters())
    assert not any(m._forward_hooks for m in network.modules())


def test_what_has_no_map_says_so():
    flat = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    pixels = torch.rand(1, 3, 2, 2)
    with pytest.raises(UsageError, match=r"output of Sequential must be a map \[1, C, h, w\]"):
        explain.activation_map(flat, pixels)
    pooled = nn.Sequential(nn.Conv2d(3, 4, 1), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    deep = nn.Sequential(pooled, nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2))
    assert explain.activation_map(deep, pixels).method == "grad-cam"
    ending = nn.Sequential(pooled, nn.Linear(4, 2), nn.Softmax(1))
    assert explain.activation_map(ending, pixels).method == "grad-cam"
    with pytest.raises(UsageError, match=r"class must be from 0 to 1, got 2"):
        explain.activation_map(deep, pixels, 2)
    with pytest.raises(UsageError, match=r"image must be \[1, 3, H, W\], got \[2, 3, 2, 2\]"):
        explain.activation_map(deep, pixels.repeat(2, 1, 1, 1))
    with pytest.raises(
        UsageError, match=r"of Conv2d must be logits \[1, classes\], got \[1, 4, 2, 2\]"
    ):
        explain.activation_map(pooled[0], pixels)
    with pytest.raises(UsageError, match="output of ReLU must be a map"):
        explain.gradient_activation_map(deep, pixels, layer=deep[2])


# -- pictures ----------------------------------------------------------------------------------


def test_colours_rise_evenly_in_lightness():
    table = drawing.colours(np.linspace(0, 1, 256)).astype(float) / 255
    assert len(np.unique(table, axis=0)) == 256
    linear = np.where(table <= 0.04045, table / 12.92, ((table + 0.055) / 1.055) ** 2.4)
    luminance = linear @ [0.2126, 0.7152, 0.0722]
    lightness = 116 * np.cbrt(luminance) - 16  # CIE L*
    steps = np.diff(lightness[::15])  # of 17 colours
    assert steps.min() > 0
    assert steps.max() < 2 * steps.min()


def test_a_map_lies_over_its_image_the_right_way_up():
    below = np.full((64, 64, 3), 128, np.uint8)
    drawn = drawing.overlaid(below, np.array([[0.0, 3.0], [-1.0, 0.0]]))
    light = np.asarray(Image.fromarray(drawn).convert("L")).astype(int)
    assert light.argmax() // 64 < 16 and light.argmax() % 64 >= 40  # above, right
    assert light.argmin() // 64 >= 40 and light.argmin() % 64 < 16  # below, left
    flat = drawing.overlaid(below, np.array([[2.0]]))
    assert np.array_equal(flat, below)


def test_titles_of_any_text_fit():
    side = drawing.SIDE
    names = ("a" * 500, "two\nlines", "日本語 \udcff", "")
    panels = [
        drawing.Panel(title=name, lines=(name,), values=np.eye(3, dtype=np.float32))
        for name in names
    ]
    pixels = np.zeros((side, side, 3), np.uint8)
    png = drawing.picture(pixels, names[0], names, panels)
    with Image.open(io.BytesIO(png)) as made:
        assert made.format == "PNG"
        assert made.width == 5 * (side + 12) + 12


# -- the command -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """A short training on digits at 16 pixels, whose last map is 4x4."""
    folder = tmp_path_factory.mktemp("trained") / "base"
    architecture = Architecture.from_block_string(NETWORK, head_channels=32)
    start(
        TrainingConfig(
            architecture=architecture, recipe="scratch", resolution=16, batch_size=128, epochs=2
        ),
        folder,
    )
    return folder


@pytest.fixture
def picture(tmp_path):
    """A digit as a file."""
    file = tmp_path / "digit.png"
    Image.fromarray(digits().test.images[0]).save(file)
    return file


def test_the_command_draws_and_says_what_the_network_says(trained, picture, tmp_path, run_cli):
    out = tmp_path / "out"
    code, text, err = run_cli("explain", trained, picture, "-o", out, "--format", "json")
    assert (code, err) == (0, "")
    (record,) = json.loads(text)
    assert record["file"] == str(out / "digit-map.png")
    assert (record["network"], record["map"], record["class_name"]) == ("base", "4x4", None)
    assert [p.name for p in out.iterdir()] == ["digit-map.png"]
    with Image.open(out / "digit-map.png") as made:
        assert made.format == "PNG" and made.width == 2 * (drawing.SIDE + 12) + 12

    # The exported network, given the image by hand, is as sure.
    namespace = {"__name__": "exported", "__file__": "model.py"}
    exec((trained / "export" / "model.py").read_text(), namespace)
    network = namespace["Model"]().eval()
    network.load_state_dict(torch.load(trained / "export" / "weights.pt", weights_only=True))
    words = json.loads((trained / "export" / "weights.json").read_text())["normalisation"]
    with Image.open(picture) as source:
        pixels = np.asarray(source.convert("RGB").resize((16, 16), Image.Resampling.BILINEAR))
    x = (pixels / 255 - words["mean"]) / np.array(words["std"])
    x = torch.tensor(x, dtype=torch.float32).permute(2, 0, 1)[None]
    with torch.no_grad():
        logits = network(x)[0]
    assert record["class"] == record["predicted"] == int(logits.argmax())
    assert record["logit"] == pytest.approx(float(logits.max()), abs=1e-4)
    assert record["probability"] == pytest.approx(float(logits.softmax(0).max()), abs=1e-4)
    found = explain.activation_map(network, x)
    torch.testing.assert_close(
        found.values.mean() + network.classifier.bias[found.target], logits.max()
    )

    code, text, err = run_cli("explain", trained, picture, "-o", out)
    assert (code, text) == (2, "")
    exists = f"{str(out / 'digit-map.png')!r} exists"
    assert err == f"error: {exists}; overwriting it requires --force\n"
    code, text, err = run_cli("explain", trained, picture, "-o", out, "--force", "--class", "3")
    assert code == 0 and "digit-map.png" in text


def test_orientation_and_depth_are_the_data_s_own(trained, picture, tmp_path, run_cli):
    """A turned image with EXIF's word for it, and 16 bits of grey, are the same image."""
    with Image.open(picture) as source:
        grey = source.convert("L")
    exif = Image.Exif()
    exif[0x0112] = 6  # shown turned clockwise by a quarter
    grey.transpose(Image.Transpose.ROTATE_90).save(tmp_path / "turned.png", exif=exif)
    deep = np.asarray(grey).astype(np.uint16) * 257
    Image.fromarray(deep).save(tmp_path / "deep.png")
    files = (picture, tmp_path / "turned.png", tmp_path / "deep.png")
    options = ("-o", tmp_path / "out", "--format", "json")
    code, text, err = run_cli("explain", trained, *files, *options)
    assert (code, err) == (0, "")
    assert len({record["logit"] for record in json.loads(text)}) == 1
    assert len(list((tmp_path / "out").iterdir())) == 3


def test_networks_side_by_side_and_classes_by_name(trained, picture, tmp_path, run_cli):
    named = tmp_path / "named"
    shutil.copytree(trained, named)
    words = read_json(named / "export" / "weights.json")
    words["class_names"] = [f"digit {n}" for n in range(10)]
    (named / "export" / "weights.json").write_text(json.dumps(words))
    arguments = ["explain", trained, picture, "--beside", named, "-o", tmp_path / "out"]
    arguments += ["--format", "json"]
    code, text, err = run_cli(*arguments, "--class", "digit 7")
    assert (code, err) == (0, "")
    assert [(r["network"], r["class"], r["class_name"]) for r in json.loads(text)] == [
        ("base", 7, "digit 7"),
        ("named", 7, "digit 7"),
    ]
    # A checkpoint of a training, and a state dict alone.
    best = f"{named}={named / 'checkpoint-best.pt'}"
    (tmp_path / "bare").mkdir()
    shutil.copy(trained / "export" / "weights.pt", tmp_path / "bare" / "model.pt")
    json_file = tmp_path / "net.json"
    json_file.write_text(
        replace(Architecture.from_block_string(NETWORK, head_channels=32), resolution=32).to_json()
    )
    bare = f"{json_file}={tmp_path / 'bare' / 'model.pt'}"
    code, text, err = run_cli(*arguments, "--force", "--beside", best, "--beside", bare)
    assert code == 0
    assert err.count("\n") == 1 and "ImageNet's mean and deviation are taken" in err
    records = json.loads(text)
    assert len({record["class"] for record in records}) == 1
    assert [record["map"] for record in records] == ["4x4", "4x4", "4x4", "8x8"]
    assert records[0]["logit"] == records[1]["logit"]
    with Image.open(tmp_path / "out" / "digit-map.png") as made:
        assert made.width == 5 * (drawing.SIDE + 12) + 12
    other = f"{NETWORK}={trained / 'export' / 'weights.pt'}"  # with a head of another width
    code, text, err = run_cli(*arguments, "--force", "--beside", other)
    assert code == 2 and "do not fit" in err


def test_one_position_is_told(trained, picture, tmp_path, run_cli):
    small = tmp_path / "small"
    architecture = Architecture.from_block_string(NETWORK, head_channels=32)
    shutil.copytree(trained, small)
    words = read_json(small / "export" / "weights.json")
    (small / "export" / "weights.json").write_text(json.dumps(words | {"resolution": 4}))
    code, _, err = run_cli("explain", small, picture, "-o", tmp_path / "out")
    assert code == 0 and plan(replace(architecture, resolution=4)).stages[-1][-1].out_size == 1
    assert err == (
        "note: the map of small has a single position, which locates nothing; train it at a "
        "higher --resolution\n"
    )


def test_untrained_weights_are_refused(picture, tmp_path, run_cli):
    fresh, out = tmp_path / "fresh", tmp_path / "out"
    assert run_cli("export", NETWORK, "--to", "pytorch", "-o", fresh)[0] == 0
    shutil.copy(fresh / "weights.pt", tmp_path / "renamed.pt")
    for source, words in (
        (fresh, "must be trained, got untrained ones"),
        (fresh / "weights.pt", "must be trained, got untrained ones"),
        (tmp_path / "renamed.pt", "are untrained: no batch norm has seen an image"),
    ):
        code, text, err = run_cli("explain", NETWORK, picture, "--weights", source, "-o", out)
        assert (code, text, err.count("\n")) == (2, "", 1)
        assert words in err
    code, text, err = run_cli("explain", "efficientnet_b0", picture, "-o", out)
    assert (code, text, err.count("\n")) == (2, "", 1)
    assert err.startswith("error: 'efficientnet_b0' has no weights; it requires --weights")
    assert not out.exists()


def test_what_is_refused_leaves_nothing(trained, picture, tmp_path, run_cli):
    (tmp_path / "torn.jpg").write_bytes(b"\xff\xd8\xff\xe0 no image")
    (tmp_path / "bare").mkdir()
    (tmp_path / "file").write_text("")
    headless = torch.load(trained / "export" / "weights.pt", weights_only=True)
    headless = {k: v for k, v in headless.items() if not k.startswith("classifier")}
    torch.save(headless, tmp_path / "headless.pt")
    begun = tmp_path / "begun"
    shutil.copytree(trained, begun)
    shutil.rmtree(begun / "export")
    spoiled = tmp_path / "spoiled"
    shutil.copytree(trained, spoiled)
    words = read_json(spoiled / "export" / "weights.json")
    words["normalisation"]["std"] = [1, 0, 1]
    (spoiled / "export" / "weights.json").write_text(json.dumps(words))
    four = tmp_path / "four.pt"
    rows = torch.load(trained / "export" / "weights.pt", weights_only=True)
    torch.save({k: v[:4] if "classifier" in k else v for k, v in rows.items()}, four)
    out = tmp_path / "out"
    for arguments, message in (
        ((trained, picture, tmp_path / "torn.jpg"), "torn.jpg' cannot be read (Truncated File"),
        (
            (trained, picture, tmp_path / "file"),
            "file' cannot be read (not an image): expected AVIF",
        ),
        ((trained, tmp_path / "none.png"), "none.png' cannot be read (No such file"),
        ((trained, tmp_path / "bare"), "bare' must have images, got none"),
        ((trained, picture, "--class", "10"), "--class must be 0 to 9, got '10'"),
        ((trained, picture, "--class", "cat"), "--class must be 0 to 9, got 'cat'"),
        ((trained, picture, "--weights", tmp_path / "headless.pt"), "must have a classifier"),
        ((trained, picture, "--weights", tmp_path / "no.pt"), "no weights "),
        ((begun, picture), "has not ended; it must have (mnas-search resume"),
        ((spoiled, picture), "weights.json' is not what mnas-search writes: std must be"),
        ((trained, picture, "--beside", f"{trained}={four}"), "10 and 4 classes"),
        ((trained, picture, "--beside", "efficientnet_b0"), "has no weights"),
        ((trained, picture, "--beside", "nothing=x"), "unknown architecture 'nothing'"),
    ):
        code, text, err = run_cli("explain", *arguments, "-o", out)
        assert (code, text, err.count("\n")) == (2, "", 1), err
        assert message in err
        assert not out.exists()
    code, _, err = run_cli("explain", trained, picture, "-o", tmp_path / "file")
    assert code == 2 and "--output must be a folder, got the file" in err
    # A picture never takes the place of the image that it explains.
    shutil.copy(picture, tmp_path / "x-map.png")
    shutil.copy(picture, tmp_path / "x.png")
    code, _, err = run_cli(
        "explain", trained, tmp_path / "x.png", tmp_path / "x-map.png", "-o", tmp_path, "--force"
    )
    assert code == 2 and "--output must not overwrite the image" in err and "x-map.png'" in err
    assert (tmp_path / "x-map.png").read_bytes() == picture.read_bytes()


def test_statistics_of_weights():
    state = build(Architecture.from_block_string(NETWORK)).state_dict()
    assert weights.has_initial_statistics(state)
    assert weights.count_classes(state) == 1000
    state["bn1.running_mean"][0] = 0.1
    assert not weights.has_initial_statistics(state)
    assert not weights.has_initial_statistics({})
    assert weights.count_classes({"fc.bias": torch.zeros(3)}) is None
