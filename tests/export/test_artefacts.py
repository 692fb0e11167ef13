"""What lies beside an export, `predict`, and int8: all equal to the test's own evaluation."""

import csv
import json
import runpy
import shutil
import subprocess
import sys

import numpy as np
import pytest
import torch
from other_packages import need
from PIL import Image
from safetensors.torch import load_file, save_file

from mnas_search.architecture.value import Architecture
from mnas_search.common import plugins
from mnas_search.common.errors import WorkFailed
from mnas_search.data.preprocessing import Preprocessing
from mnas_search.experiments.fit import exports
from mnas_search.experiments.search.recommendation import Recommendation, write_recommended
from mnas_search.experiments.training.session import start
from mnas_search.experiments.training.settings import TrainingConfig
from mnas_search.export.artefacts import predict_source

NETWORK = Architecture.from_block_string(
    "ds_r1_k3_s1_e1_c8 ir_r1_k3_s2_e3_c16_se0.25",
    head_channels=32,
    resolution=16,
    bn_momentum=0.1,
)
CLASSES = ("brick", "grass", "sky")
COLOURS = ((150, 110, 100), (110, 140, 100), (110, 120, 150))


def write_images(folder, count, seed):
    """Noisy images of three colours, 24x20 pixels, so that cropping and resizing matter."""
    rng = np.random.default_rng(seed)
    for name, colour in zip(CLASSES, COLOURS, strict=True):
        (folder / name).mkdir(parents=True)
        for number in range(count):
            pixels = np.array(colour) + rng.normal(0, 90, (20, 24, 3)) + rng.normal(0, 25, 3)
            image = Image.fromarray(pixels.clip(0, 255).astype(np.uint8))
            image.save(folder / name / f"{number:03}.{'jpg' if number % 2 else 'png'}")


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    folder = tmp_path_factory.mktemp("photos")
    write_images(folder / "train", 60, seed=0)
    write_images(folder / "test", 20, seed=1)
    return folder


@pytest.fixture(scope="module")
def trained(photos, tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained") / "colours"
    start(TrainingConfig(architecture=NETWORK, data=str(photos), batch_size=16, epochs=4), folder)
    return folder


def predicted(run_cli, *arguments):
    code, out, err = run_cli("predict", *arguments, "--format", "json")
    assert code == 0, err
    return {row["file"]: row for row in json.loads(out)}


def accuracy(rows):
    return np.mean([row["class"] == file.split("/")[-2] for file, row in rows.items()])


def by_script(folder, files):
    """What `predict.py` prints, without mnas-search."""
    command = [sys.executable, folder / "predict.py", *files]
    done = subprocess.run(command, capture_output=True, text=True, check=True, cwd="/")
    return {row["file"]: row for row in csv.DictReader(done.stdout.splitlines())}


def test_predict_is_the_test_itself(trained, photos, run_cli):
    rows = predicted(run_cli, trained, photos / "test")
    result = json.loads((trained / "result.json").read_text())
    assert len(rows) == result["test"]["n"] == 60
    assert accuracy(rows) == result["test"]["top1"]
    assert 1 / 3 < result["test"]["top1"] < 1  # so that equality says something
    for row in rows.values():
        assert row["top"][0] == {"class": row["class"], "probability": row["probability"]}
        assert sum(entry["probability"] for entry in row["top"]) == pytest.approx(1)


@pytest.mark.parametrize("form", ["pytorch", "onnx", "torch-export"])
def test_exports_predict_the_same(form, trained, photos, run_cli, tmp_path):
    if form == "onnx":
        need("onnx", "onnxruntime", "onnxscript")
    folder = tmp_path / form
    code, out, err = run_cli("export", trained, "--to", form, "-o", folder)
    assert code == 0, err
    names = {path.name for path in folder.iterdir()}
    assert {"labels.json", "preprocess.json", "predict.py"} <= names
    assert {str(folder / name) for name in names} == set(out.splitlines())
    expected = predicted(run_cli, trained, photos / "test")
    script = by_script(folder, expected)
    own = predicted(run_cli, folder, photos / "test")
    for file, row in expected.items():
        assert own[file]["class"] == row["class"] == script[file]["class"]
        for other in (own, script):
            given = float(other[file]["probability"])
            assert given == pytest.approx(row["probability"], abs=1e-4)
    for model in {"model.onnx", "model.pt2"} & names:
        assert predicted(run_cli, folder / model, photos / "test") == own


def test_one_preprocessing_everywhere(trained, run_cli, tmp_path):
    need("onnx", "onnxruntime", "onnxscript")
    import onnx

    folder = trained / "export"
    words = json.loads((folder / "weights.json").read_text())
    expected = Preprocessing(**words["normalisation"], size=16).to_dict()
    assert (words["resolution"], words["crop"], words["interpolation"]) == (16, 1, "bicubic")
    assert json.loads((folder / "preprocess.json").read_text()) == expected
    assert json.loads((folder / "labels.json").read_text()) == list(CLASSES)
    for form in ("onnx", "huggingface", "timm"):
        code, _, err = run_cli("export", trained, "--to", form, "-o", tmp_path / form)
        assert code == 0, err
        assert json.loads((tmp_path / form / "preprocess.json").read_text()) == expected
    model = onnx.load(tmp_path / "onnx" / "model.onnx")
    told = {entry.key: entry.value for entry in model.metadata_props}
    assert told["interpolation"] == expected["interpolation"]
    for name in ("mean", "std", "size", "crop"):
        assert json.loads(told[name]) == expected[name]
    assert json.loads(told["names"]) == list(CLASSES)
    assert "trained on" in json.loads(told["provenance"])["weights"]
    config = json.loads((tmp_path / "huggingface" / "config.json").read_text())["pretrained_cfg"]
    assert [config[n] for n in ("mean", "std", "crop_pct", "interpolation", "input_size")] == [
        *(expected[n] for n in ("mean", "std", "crop", "interpolation")),
        [3, 16, 16],
    ]
    assert '"crop_pct": 1.0' in (tmp_path / "timm" / "model.py").read_text()
    card = (tmp_path / "huggingface" / "README.md").read_text()
    assert "size 16, crop 1.0, interpolation bicubic" in card


def test_exports_are_architectures_with_weights(trained, photos, run_cli, tmp_path):
    """An export is exported again, with its weights, names and preprocessing."""
    code, _, err = run_cli("export", trained, "--to", "timm", "-o", tmp_path / "timm")
    assert code == 0, err
    code, _, err = run_cli("export", tmp_path / "timm", "--to", "pytorch", "-o", tmp_path / "two")
    assert code == 0, err
    one = load_file(trained / "export" / "weights.safetensors")
    two = load_file(tmp_path / "two" / "weights.safetensors")
    assert all(torch.equal(v, two[name]) for name, v in one.items() if "tracked" not in name)
    for name in ("labels.json", "preprocess.json"):
        assert (tmp_path / "two" / name).read_text() == (trained / "export" / name).read_text()
    again = predicted(run_cli, tmp_path / "timm", photos / "test")
    assert again == predicted(run_cli, trained, photos / "test")


def test_forms_and_broken_images(trained, photos, run_cli, tmp_path):
    good = tmp_path / "in" / "deep" / "good.png"
    good.parent.mkdir(parents=True)
    shutil.copy(photos / "test" / "sky" / "000.png", good)
    (tmp_path / "in" / "broken.jpg").write_bytes(b"\xff\xd8\xff\xe0 no image")
    missing = tmp_path / "none.png"
    code, out, err = run_cli("predict", trained, tmp_path / "in", missing, "--format", "csv")
    assert code == 1
    lines = err.splitlines()
    assert len(lines) == 3 and "broken.jpg' cannot be read" in lines[0]
    assert "none.png' cannot be read (No such file" in lines[1]
    assert lines[2] == "error: 2 of 3 images cannot be read"
    (row,) = csv.DictReader(out.splitlines())
    assert list(row) == ["file", "class", "probability", "top"]
    assert (row["file"], row["top"].count(", ")) == (str(good), 2)
    code, out, err = run_cli("predict", trained, good)
    assert (code, err) == (0, "") and row["class"] in out
    done = subprocess.run(
        [sys.executable, trained / "export" / "predict.py", missing, good],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1 and "none.png" in done.stderr and str(good) in done.stdout


@pytest.mark.parametrize(
    ("form", "missing", "package"),
    [
        ("pytorch", "numpy", "numpy"),
        ("pytorch", "PIL", "pillow"),
        ("pytorch", "torch", "torch"),
        ("torch-export", "torch", "torch"),
        ("onnx", "onnxruntime", "onnxruntime"),
        ("huggingface", "timm", "timm"),
        ("timm", "timm", "timm"),
        ("torchvision", "torchvision", "torchvision"),
        ("torchvision", "safetensors", "safetensors"),
    ],
)
def test_a_script_names_the_package_that_is_missing(tmp_path, form, missing, package):
    script = tmp_path / "predict.py"
    script.write_text(predict_source(plugins.load("exporters", form).runtime))
    imports = f"import {missing}\n" if missing in ("timm", "torchvision") else ""
    (tmp_path / "model.py").write_text(f"{imports}Model = model = None\n")
    blocked = (
        "import runpy, sys; sys.modules[{0!r}] = None; sys.path.insert(0, {1!r}); "
        "runpy.run_path({2!r}, run_name={3!r})"
    )

    def run(name):
        code = blocked.format(missing, str(tmp_path), str(script), name)
        return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)

    done = run("__main__")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"error: predict.py requires {package}: pip install {package}\n"
    if package == "pillow":
        assert "ModuleNotFoundError" in run("imported").stderr


def test_what_predict_refuses(trained, photos, run_cli, tmp_path):
    image = photos / "test" / "sky" / "000.png"
    (tmp_path / "empty").mkdir()
    assert (
        run_cli("export", NETWORK.block_string, "--to", "pytorch", "-o", tmp_path / "new")[0] == 0
    )
    for arguments, message in (
        ((trained,), "missing argument IMAGE..."),
        ((), "missing argument FOLDER|MODEL"),
        ((trained, tmp_path / "empty"), "must have images, got none"),
        ((tmp_path / "empty", image), "predict requires the folder of a training"),
        ((image, image), "predict requires the folder of a training"),
        ((tmp_path / "new", image), "must be trained, got untrained ones"),
    ):
        code, out, err = run_cli("predict", *arguments)
        assert (code, out, err.count("\n")) == (2, "", 1), err
        assert message in err


def test_predict_refuses_a_torn_onnx_file(photos, run_cli, tmp_path):
    need("onnxruntime")
    torn = tmp_path / "torn.onnx"
    torn.write_bytes(b"no model")
    code, out, err = run_cli("predict", torn, photos / "test" / "sky" / "000.png")
    assert (code, out, err.count("\n")) == (2, "", 1), err
    assert "ONNX Runtime cannot read" in err


def test_predict_refuses_a_torn_program_and_one_without_its_preprocessing(
    trained, photos, run_cli, tmp_path
):
    image, folder = photos / "test" / "sky" / "000.png", tmp_path / "exported"
    assert run_cli("export", trained, "--to", "torch-export", "-o", folder)[0] == 0
    (folder / "preprocess.json").unlink()
    (tmp_path / "torn.pt2").write_bytes((folder / "model.pt2").read_bytes()[:1000])
    for model, message in (
        (folder, "must have preprocess.json beside it"),
        (tmp_path / "torn.pt2", "torch cannot read"),
    ):
        code, out, err = run_cli("predict", model, image)
        assert (code, out, err.count("\n")) == (2, "", 1), err
        assert message in err


def test_a_fit_s_folder_stands_for_its_trained_network(trained, photos, run_cli, tmp_path):
    folder = tmp_path / "fit"
    shutil.copytree(trained, folder / "training")
    (folder / "journal.jsonl").touch()
    write_recommended(Recommendation(name="fit", source="baseline", architecture=NETWORK), folder)
    code, _, err = run_cli("export", folder, "--to", "pytorch", "-o", tmp_path / "exported")
    assert code == 0, err
    images = photos / "test" / "sky"
    expected = predicted(run_cli, trained, images)
    for same in (folder, tmp_path / "exported"):
        assert predicted(run_cli, same, images) == expected


@pytest.mark.parametrize("error", [WorkFailed("outputs differ"), RuntimeError("outputs differ")])
def test_without_onnx_a_fit_has_the_other_files(trained, tmp_path, monkeypatch, error):
    def fail(*_):
        raise error

    with monkeypatch.context() as patched:
        patched.setattr(exports, "write_export", fail)
        (note,) = exports.write_exports(trained, tmp_path / "export")
    assert note.startswith("no ONNX file: ") and "outputs differ" in note
    assert {"model.py", "weights.pt"} <= {one.name for one in (tmp_path / "export").iterdir()}
    assert not (tmp_path / "export" / "onnx").exists()
    need("onnx", "onnxscript")
    assert exports.write_exports(trained, tmp_path / "export") == ()
    assert (tmp_path / "export" / "onnx" / "model.onnx").is_file()


def test_untrained_exports_have_nothing_beside_them(run_cli, tmp_path):
    fresh = ("export", NETWORK.block_string, "--to", "pytorch", "-o")
    assert run_cli(*fresh, tmp_path / "x")[0] == 0
    assert not {"labels.json", "preprocess.json", "predict.py"} & {
        path.name for path in (tmp_path / "x").iterdir()
    }


@pytest.mark.filterwarnings("ignore:Overwriting mnas_")  # in timm's registry
@pytest.mark.parametrize(
    ("form", "packages"),
    [
        ("onnx", ("onnx", "onnxruntime", "onnxscript")),
        ("pytorch", ()),
        ("torch-export", ()),
        ("huggingface", ("timm", "torchvision")),
        ("timm", ("timm", "torchvision")),
        ("torchvision", ("torchvision",)),
    ],
)
def test_200_images_in_every_format(trained, run_cli, tmp_path, monkeypatch, form, packages):
    """By `predict.py` of each export, without mnas-search; timm loads in this process only."""
    need(*packages)
    write_images(tmp_path / "test", 67, seed=2)
    expected = predicted(run_cli, trained, tmp_path / "test")
    files = sorted(expected)[:200]
    folder = tmp_path / form
    code, _, err = run_cli("export", trained, "--to", form, "-o", folder)
    assert code == 0, err
    monkeypatch.syspath_prepend(str(folder))
    monkeypatch.delitem(sys.modules, "model", raising=False)  # of another format
    script = runpy.run_path(str(folder / "predict.py"))
    for file in files:
        found, row = script["predict"](file), expected[file]
        assert script["LABELS"][found.argmax()] == row["class"], file
        given = dict(zip(script["LABELS"], found, strict=True))
        for entry in row["top"]:
            assert given[entry["class"]] == pytest.approx(entry["probability"], abs=1e-4)


# -- int8 ----------------------------------------------------------------------------------------


def test_int8_is_measured_beside_fp32(trained, photos, run_cli, tmp_path):
    need("onnx", "onnxruntime", "onnxscript")
    import onnx

    folder = tmp_path / "int8"
    options = ["--to", "onnx", "--quantize", "int8", "--max-drop", "20", "-o", folder]
    code, _, err = run_cli("export", trained, *options)
    assert code == 0, err
    assert "test accuracy int8 0." in err and "of 60 images" in err
    model = onnx.load(folder / "model.onnx")
    operators = [node.op_type for node in model.graph.node]
    assert "QuantizeLinear" in operators and "DequantizeLinear" in operators
    scales = [t for t in model.graph.initializer if t.dims and t.dims[0] > 1 and "scale" in t.name]
    assert scales  # one for each channel
    told = {entry.key: entry.value for entry in model.metadata_props}
    said = json.loads(told["provenance"])["quantised"]
    assert json.loads(told["names"]) == list(CLASSES)
    rows = predicted(run_cli, folder, photos / "test")
    assert f"test accuracy int8 {accuracy(rows):.4f}" in said
    test = json.loads((trained / "result.json").read_text())["test"]
    assert f"fp32 {test['top1']:.4f}" in said
    expected = predicted(run_cli, trained, photos / "test")
    equal = np.mean([rows[file]["class"] == row["class"] for file, row in expected.items()])
    assert f"{equal:.1%} have the same class" in said and equal > 0.8


def test_int8_with_too_large_a_drop_is_refused(trained, photos, run_cli, tmp_path):
    """A channel of large values that no class reads takes the whole range of int8."""
    need("onnx", "onnxruntime", "onnxscript")
    shutil.copytree(trained / "export", tmp_path / "odd")
    (tmp_path / "odd" / "weights.pt").unlink()
    weights = load_file(tmp_path / "odd" / "weights.safetensors")
    weights["bn2.bias"][0] = 1e5
    weights["classifier.weight"][:, 0] = 0
    save_file(weights, tmp_path / "odd" / "weights.safetensors")
    network = tmp_path / "net.json"
    network.write_text(NETWORK.to_json())
    options = ["--weights", tmp_path / "odd", "--to", "onnx", "--quantize", "int8"]
    code, out, err = run_cli("export", network, *options, "-o", tmp_path / "no")
    assert (code, out) == (2, "") and "--quantize requires --data" in err
    code, out, err = run_cli("export", network, *options, "--data", photos, "-o", tmp_path / "no")
    assert (code, out) == (1, "")
    last = err.splitlines()[-1]
    assert "--max-drop is 2" in last and "mnas-search train ARCH --lite" in last
    assert not (tmp_path / "no").exists()
    code, _, err = run_cli("export", trained, "--to", "timm", "--quantize", "int8", "-o", "no")
    assert code == 2 and "--quantize requires --to onnx, got 'timm'" in err
    code, _, err = run_cli("export", trained, *options[2:], "--data", "digits", "-o", "no")
    assert code == 2 and "3 classes, got 'digits' with 10" in err


def test_lite_is_what_the_message_says(photos, run_cli, tmp_path):
    options = ["--data", photos, "--epochs", "1", "--batch-size", "32", "--output", tmp_path / "t"]
    (tmp_path / "net.json").write_text(NETWORK.to_json())
    code, _, err = run_cli("train", tmp_path / "net.json", "--lite", *options)
    assert code == 0, err
    source = (tmp_path / "t" / "export" / "model.py").read_text()
    assert "ReLU6" in source and "SiLU" not in source and "SqueezeExcite" not in source


# -- explain -------------------------------------------------------------------------------------


def test_explain_takes_folders_and_equal_names(trained, photos, run_cli, tmp_path):
    two = [photos / "test" / name / "000.png" for name in ("sky", "grass")]
    code, _, err = run_cli("explain", trained, *two, "-o", tmp_path / "a")
    assert code == 0, err
    made = {str(p.relative_to(tmp_path / "a")) for p in (tmp_path / "a").rglob("*.png")}
    assert made == {"sky/000-map.png", "grass/000-map.png"}
    same = tmp_path / "same"
    same.mkdir()
    shutil.copy(two[0], same / "x.png")
    shutil.copy(two[0], same / "x.jpg")
    (same / "deep").mkdir()
    shutil.copy(two[0], same / "deep" / "y.png")
    code, _, err = run_cli("explain", trained, same, same / "x.png", "-o", tmp_path / "b")
    assert code == 0, err
    made = {str(p.relative_to(tmp_path / "b")) for p in (tmp_path / "b").rglob("*.png")}
    assert made == {"x.png-map.png", "x.jpg-map.png", "deep/y.png-map.png"}
    code, _, err = run_cli("explain", trained, same / "deep", "-o", tmp_path / "c")
    assert code == 0 and (tmp_path / "c" / "y-map.png").exists()
