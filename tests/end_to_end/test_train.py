"""Full trainings: the command, its folder, kills at any moment, weights, several processes."""

import contextlib
import importlib.util
import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing as processes
from runs import PATIENCE
from safetensors.torch import save_file

from mnas_search.architecture.value import Architecture
from mnas_search.common.checksums import checked
from mnas_search.common.errors import RunFolderError, UsageError, WorkFailed
from mnas_search.common.files import read_json
from mnas_search.common.machine import one_thread
from mnas_search.data import digits
from mnas_search.data.preprocessing import Preprocessing
from mnas_search.experiments.listener import Listener
from mnas_search.experiments.training import checkpoints
from mnas_search.experiments.training.epochs import FullTraining, score, train_epochs
from mnas_search.experiments.training.session import resume, start
from mnas_search.experiments.training.settings import TrainingConfig
from mnas_search.networks import build
from mnas_search.networks.weights import loading as weights
from mnas_search.networks.weights import sources
from mnas_search.training import loop
from mnas_search.training.recipe import Recipe
from mnas_search.training.worker_context import WorkerContext

COMMAND = [sys.executable, "-c", "from mnas_search.cli import main; main()"]
# The stem's is the one stride that a network for 8 pixels has.
NETWORK = "ds_r1_k3_s1_e1_c8 ir_r2_k3_s1_e3_c16_se0.25"
# Everything that can make a resumed training differ: averages, Adam's moments, random images.
OPTIONS = {"recipe": "scratch", "resolution": 8, "batch-size": 256, "epochs": 4}


def command(folder, **options):
    named = {**OPTIONS, "output": folder, **options}
    return ["train", NETWORK, *(str(x) for k, v in named.items() for x in (f"--{k}", v))]


def config(**changes):
    known = {"recipe": "scratch", "resolution": 8, "batch_size": 256, "epochs": 4}
    architecture = Architecture.from_block_string(NETWORK)
    return TrainingConfig(architecture=architecture, **{**known, **changes})


def tensors(folder):
    """The exported weights, and all of the last checkpoint."""
    last = checkpoints.read(folder / checkpoints.LAST)
    exported = torch.load(folder / "export" / "weights.pt", weights_only=True)
    state = last.training["optimiser"]["state"]
    moments = {f"{n}.{k}": v for n, values in state.items() for k, v in values.items()}
    return {**{f"exported {k}": v for k, v in exported.items()}, **last.weights, **moments}


def same(one, two):
    assert one.keys() == two.keys()
    return all(torch.equal(torch.as_tensor(one[k]), torch.as_tensor(two[k])) for k in one)


def untimed(folder):
    lines = (folder / "metrics.jsonl").read_text().splitlines()
    return [{k: v for k, v in json.loads(x).items() if k != "seconds"} for x in lines]


def contents(folder):
    return {p.name: p.read_bytes() for p in folder.iterdir() if p.is_file()}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted training."""
    folder = tmp_path_factory.mktemp("whole") / "training"
    start(config(), folder)
    return folder


@pytest.fixture(scope="module")
def small():
    """A job of one short epoch after the other."""
    data = digits()
    images = loop.normalisation(data.train)
    architecture = Architecture.from_block_string(NETWORK)
    return FullTraining(
        architecture=replace(architecture, resolution=8, num_classes=10, head_channels=32),
        data=replace(data, train=data.train.part(0.3)),
        recipe=Recipe(epochs=3, batch_size=64),
        preprocessing=Preprocessing(mean=images.mean, std=images.std, size=8),
        seed=0,
    )


# -- the command -------------------------------------------------------------------------------


def test_the_command_and_what_the_folder_holds(whole, tmp_path, run_cli, monkeypatch):
    monkeypatch.chdir(tmp_path)
    arguments = command(None, format="json", data="digits")
    del arguments[arguments.index("--output") : arguments.index("--output") + 2]
    code, out, err = run_cli(*arguments)
    assert code == 0, err
    folder = Path("trainings/network-1")
    assert err.startswith(f"training folder: {folder}\n")
    report = json.loads(out)
    found = report["name"], report["epochs"], report["folder"]
    assert found == (NETWORK, 4, str(tmp_path / folder))
    assert read_json(folder / "result.json") == report
    lines = untimed(folder)
    assert [line["epoch"] for line in lines] == [1, 2, 3, 4]
    assert report["accuracy"] == max(line["top1"] for line in lines) > 0.15  # chance is 0.1
    assert lines[3]["learning_rate"] < lines[1]["learning_rate"]

    # The exported network, run from its file alone, does on the test split what is reported.
    namespace = {"__name__": "exported", "__file__": "model.py"}
    exec((folder / "export" / "model.py").read_text(), namespace)
    network = namespace["Model"]()
    network.load_state_dict(torch.load(folder / "export" / "weights.pt", weights_only=True))
    words = json.loads((folder / "export" / "weights.json").read_text())
    assert "trained on digits by the recipe 'scratch' from random weights" in words["weights"]
    test, values = digits().test, words["normalisation"]
    images = torch.tensor(test.images).permute(0, 3, 1, 2) / 255
    images = (images - torch.tensor(values["mean"])[:, None, None]) / torch.tensor(values["std"])[
        :, None, None
    ]
    with torch.no_grad():
        logits = network.eval()(images)
    right = (logits.argmax(1).numpy() == test.labels).mean()
    five = (logits.topk(5).indices.numpy() == test.labels[:, None]).any(1).mean()
    assert report["test"]["n"] == 360
    assert report["test"]["top1"] == pytest.approx(right, abs=0.006)  # two images
    assert report["test"]["top5"] == pytest.approx(five, abs=0.006)
    low, high = report["test"]["interval"]
    assert low < report["test"]["top1"] < high

    # The folder stands for its architecture.
    code, out, _ = run_cli("profile", folder, "--format", "json")
    assert json.loads(out)[0]["params"] == report["params"]

    # The same seed, another process state: the same bits; and TensorBoard has every epoch.
    assert same(tensors(folder), tensors(whole))
    if importlib.util.find_spec("tensorboard") is None:
        return  # an extra
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder / "tensorboard"))
    events.Reload()
    found = [(e.step, e.value) for e in events.Scalars("validation/top-1")]
    assert found == [(x["epoch"], pytest.approx(x["top1"])) for x in lines]


def test_a_training_that_has_ended_is_neither_trained_nor_tested_again(whole, run_cli):
    before = contents(whole)
    code, out, err = run_cli(*command(whole, format="json"))
    assert (code, json.loads(out)) == (0, checked(json.loads(before["result.json"])))
    code, out, err = run_cli("resume", whole)
    assert code == 0
    assert "test                    top-1" in out
    code, out, err = run_cli(*command(whole, epochs=5))
    assert code == 2
    assert "which has been measured on the test split, got 5" in err
    assert contents(whole) == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"epochs": 3}, "epochs must be "),
        ({"seed": 1}, "seed must be "),
        ({"learning-rate": 0.5}, "learning_rate must be "),
        ({"recipe": "finetune"}, "recipe must be "),
        ({"resolution": 16}, "resolution must be "),
        ({"normalisation": "imagenet"}, "normalisation must be "),
    ],
)
def test_options_that_differ_are_refused_by_name(whole, run_cli, changes, message):
    before = contents(whole)
    code, _, err = run_cli(*command(whole, **changes))
    assert code == 2
    assert message in err and " to resume the training " in err and err.count("\n") == 1
    assert contents(whole) == before


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data": "nothing"}, "'nothing'"),
        (
            {"recipe": "banana"},
            "recipe must be proxy, finetune, scratch or efficientnet, got 'banana'",
        ),
        ({"epochs": 0}, "training epochs must be a whole number of 1 or more, got 0"),
        ({"batch-size": 1}, "got 1 for 1 worker"),
        ({"batch-size": 33, "workers": 2}, "got 33 for 2 workers"),
        ({"batch-size": 5000, "workers": 4}, "got 1077 (the whole training split) for 4 workers"),
        ({"learning-rate": -1}, "training learning_rate must be a number in (0, inf), got -1.0"),
        ({"resolution": 0}, "resolution must be a whole number of 1 or more, got 0"),
        ({"init": "nothing.pt"}, "nothing.pt': expected a safetensors file"),
        ({"normalisation": "grey"}, "normalisation must be data or imagenet, got 'grey'"),
        ({"workers": 0}, "workers must be a whole number of 1 or more, got 0"),
        ({"gpus-per-worker": 99}, "GPUs a worker must be at most"),
        ({"seed": 2**63}, f"seed must be a whole number from 0 to {2**63 - 1:,}, got {2**63}"),
    ],
)
def test_what_cannot_be_is_refused_before_a_folder_is_made(
    tmp_path, run_cli, monkeypatch, changes, message
):
    monkeypatch.chdir(tmp_path)
    code, out, err = run_cli(*command("new", **changes))
    assert (code, out) == (2, "")
    assert message in err and err.count("\n") == 1
    assert not list(tmp_path.iterdir())


def test_a_folder_of_something_else_is_left_alone(tmp_path, run_cli):
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "text").write_text("kept")
    assert "no training's folder, and not empty" in run_cli(*command(tmp_path / "mine"))[2]
    assert "is a file" in run_cli(*command(tmp_path / "mine" / "text"))[2]
    assert contents(tmp_path / "mine") == {"text": b"kept"}


def test_a_run_s_budgets_are_no_training_s(whole, run_cli):
    code, _, err = run_cli("resume", whole, "--trials", 5)
    assert code == 2
    assert "--trials 5 requires the folder of a run" in err


# -- kills -------------------------------------------------------------------------------------


def wait_for_epochs(process, folder, count):
    patience = time.monotonic() + PATIENCE
    while time.monotonic() < patience:
        with contextlib.suppress(OSError):
            if len((folder / "metrics.jsonl").read_text().splitlines()) >= count:
                return
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    raise AssertionError("the training does not get on")


@pytest.mark.full
def test_ctrl_c_then_a_kill_of_the_process_group_then_the_same_weights(whole, tmp_path):
    folder = tmp_path / "training"
    popen = dict(stderr=subprocess.PIPE, text=True, start_new_session=True)
    process = subprocess.Popen([*COMMAND, *command(folder)], **popen)
    wait_for_epochs(process, folder, 1)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, err
    assert f"resume with: mnas-search resume {folder}" in err
    assert "Traceback" not in err
    done = len(untimed(folder))
    process = subprocess.Popen([*COMMAND, "resume", folder], **popen)
    wait_for_epochs(process, folder, min(done + 1, 3))
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (folder / "result.json").exists()
    result = resume(folder)
    assert untimed(folder) == untimed(whole)
    assert same(tensors(folder), tensors(whole))
    assert result.test == start(config(), whole).test


class Killed(BaseException):
    """Nothing catches it, as nothing catches a kill."""


@pytest.fixture(scope="module")
def finished(small, tmp_path_factory):
    """The folder of the small job, uninterrupted."""
    folder = tmp_path_factory.mktemp("finished")
    train_epochs(small, folder, device="cpu")
    return folder


def assert_same_training(one, two):
    assert untimed(one) == untimed(two)
    for name in (checkpoints.LAST, checkpoints.BEST):
        mine, other = checkpoints.read(one / name), checkpoints.read(two / name)
        assert mine.history[-1].epoch == other.history[-1].epoch
        assert same(mine.weights, other.weights)


@pytest.mark.parametrize("moment", range(7))
def test_a_kill_between_any_two_files(small, finished, tmp_path, monkeypatch, moment):
    """A kill when this number of files are in place, and one is about to be."""
    count, replace_file = 0, os.replace

    def killing(source, target):
        nonlocal count
        if count == moment:
            raise Killed
        count += 1
        replace_file(source, target)

    monkeypatch.setattr(os, "replace", killing)
    with pytest.raises(Killed):
        train_epochs(small, tmp_path, device="cpu")
    monkeypatch.undo()
    last, _ = checkpoints.recover(tmp_path)
    done = 0 if last is None else len(last.history)
    assert done >= moment // 3
    assert [x["epoch"] for x in untimed(tmp_path)] == list(range(1, done + 1))
    train_epochs(small, tmp_path, device="cpu")
    assert_same_training(tmp_path, finished)


def shortened(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def spoiled(path):
    content = bytearray(path.read_bytes())
    middle = len(content) // 2
    content[middle : middle + 500] = bytes(500)
    path.write_bytes(content)


@pytest.mark.parametrize("harm", [shortened, spoiled, Path.unlink])
def test_a_last_checkpoint_that_is_torn_or_missing(small, finished, tmp_path, harm):
    train_epochs(small, tmp_path, device="cpu")
    harm(tmp_path / checkpoints.LAST)
    (tmp_path / checkpoints.METRICS).unlink()
    last, note = checkpoints.recover(tmp_path)
    assert f"resuming from checkpoint-best.pt, epoch {len(last.history)}" in note
    train_epochs(small, tmp_path, device="cpu")
    assert_same_training(tmp_path, finished)
    harm(tmp_path / checkpoints.LAST)
    harm(tmp_path / checkpoints.BEST)
    last, note = checkpoints.recover(tmp_path)
    assert last is None
    assert (note is None) == (harm is Path.unlink)
    assert note is None or "starts again" in note
    assert untimed(tmp_path) == []
    train_epochs(small, tmp_path, device="cpu")
    assert_same_training(tmp_path, finished)


def test_checkpoints_load_safely_and_hold_the_metrics(finished):
    for name in (checkpoints.LAST, checkpoints.BEST):
        value = torch.load(finished / name, weights_only=True)
        assert (
            value["history"]
            == [json.loads(x) for x in (finished / "metrics.jsonl").read_text().splitlines()][
                : len(value["history"])
            ]
        )
    tops = [line["top1"] for line in untimed(finished)]
    best = checkpoints.read(finished / checkpoints.BEST)
    assert best.history[-1].top1 == max(tops)


def test_a_full_disk_leaves_the_checkpoint_before(small, tmp_path):
    train_epochs(replace(small, recipe=replace(small.recipe, epochs=1)), tmp_path, device="cpu")
    before = contents(tmp_path)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    size = (tmp_path / checkpoints.LAST).stat().st_size
    ignored = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size // 2, limits[1]))
    try:
        with pytest.raises(WorkFailed, match=r"cannot write .*checkpoint-.*File too large"):
            train_epochs(small, tmp_path, device="cpu")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, ignored)
    assert contents(tmp_path) == before


def test_a_loss_that_is_no_number_ends_the_training_and_keeps_its_checkpoints(small, tmp_path):
    train_epochs(replace(small, recipe=replace(small.recipe, epochs=1)), tmp_path, device="cpu")
    before = contents(tmp_path)
    wild = replace(small, recipe=replace(small.recipe, learning_rate=1e30))
    with pytest.raises(WorkFailed, match=r"epoch 2: the training loss is nan.*--learning-rate"):
        train_epochs(wild, tmp_path, device="cpu")
    assert contents(tmp_path) == before


class Hungry:
    """An augmentation that no memory is enough for."""

    mirrors = False

    def __call__(self, images, generator):
        return torch.empty(2**50)


def test_too_little_memory_names_the_batch_size(small, tmp_path):
    hungry = replace(small, recipe=replace(small.recipe, augmentations=(Hungry(),)))
    with pytest.raises(WorkFailed, match="with batches of 64 images at 8 pixels; a smaller --bat"):
        train_epochs(hungry, tmp_path, device="cpu")


def test_more_epochs_go_on_and_one_process_at_a_time(tmp_path, run_cli):
    folder = tmp_path / "training"

    class Second(Listener):
        def on_progress(self, done, total, text):
            if done == 1:
                code, _, err = run_cli("resume", folder)
                assert code == 2
                assert "is in use by another mnas-search" in err
            if done == 2:
                raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        start(config(epochs=3), folder, Second())
    assert start(config(epochs=4), folder).epochs == 4
    assert [x["epoch"] for x in untimed(folder)] == [1, 2, 3, 4]
    assert json.loads((folder / "config.json").read_text())["config"]["epochs"] == 4


@pytest.mark.full
def test_data_that_have_changed_are_refused(tmp_path, run_cli):
    source = tmp_path / "mine.py"
    text = (
        "from dataclasses import replace\n"
        "from mnas_search.data import digits\n"
        "def mine():\n"
        "    data = digits()\n"
        "    return replace(data, train=data.train.part({}))\n"
    )
    source.write_text(text.format(0.2))
    options = {"data": f"{source}:mine", "epochs": 1, "batch-size": 64}
    code, _, err = run_cli(*command(tmp_path / "training", **options))
    assert code == 0, err
    source.write_text(text.format(0.3))
    done = subprocess.run(
        [*COMMAND, "resume", tmp_path / "training"], capture_output=True, text=True
    )
    assert done.returncode == 2
    assert "has changed since the training" in done.stderr


# -- weights to start from ---------------------------------------------------------------------


SMALL_B0 = replace(
    Architecture.from_block_string(
        "ds_r1_k3_s1_e1_c8_se0.25 ir_r2_k3_s2_e6_c16_se0.25 er_r1_k3_s1_e4_c16"
    ),
    num_classes=7,
    resolution=32,
)
BATCH_NORM = ("weight", "bias", "running_mean", "running_var", "num_batches_tracked")


def torchvision_names():
    """`SMALL_B0` as torchvision's EfficientNet names its layers: `features` holds the stem, the
    stages and the head; a block's layers lie in `block`, convolutions with their batch norm in
    pairs, squeeze-and-excitation as fc1 and fc2."""

    def pair(path):
        return [f"{path}.0.weight", *(f"{path}.1.{name}" for name in BATCH_NORM)]

    def gate(path):
        return [f"{path}.{fc}.{name}" for fc in ("fc1", "fc2") for name in ("weight", "bias")]

    def mbconv(path):
        return [*pair(f"{path}.0"), *pair(f"{path}.1"), *gate(f"{path}.2"), *pair(f"{path}.3")]

    return [
        *pair("features.0"),
        *pair("features.1.0.block.0"),
        *gate("features.1.0.block.1"),
        *pair("features.1.0.block.2"),
        *mbconv("features.2.0.block"),
        *mbconv("features.2.1.block"),
        *pair("features.3.0.block.0"),
        *pair("features.3.0.block.1"),
        *pair("features.4"),
        "classifier.1.weight",
        "classifier.1.bias",
    ]


@pytest.fixture(scope="module")
def trained():
    """Weights of a network of `SMALL_B0`, no two tensors alike."""
    generator = torch.Generator().manual_seed(1)
    state = build(SMALL_B0).state_dict()
    return {
        k: torch.rand(v.shape, generator=generator) if v.is_floating_point() else v
        for k, v in state.items()
    }


def test_torchvision_s_names_are_matched(trained, tmp_path):
    theirs = dict(zip(torchvision_names(), trained.values(), strict=True))
    torch.save({"model": theirs, "epoch": 3}, tmp_path / "checkpoint.pth")
    # safetensors sorts names its own way.
    save_file({k: v.contiguous() for k, v in theirs.items()}, tmp_path / "model.safetensors")
    for name in ("checkpoint.pth", "model.safetensors"):
        found = weights.fit(sources.read(tmp_path / name), SMALL_B0)
        assert found.matched_by == "torchvision's names"
        assert not found.new and not found.left
        learnt = {k: v for k, v in trained.items() if "num_batches" not in k}
        assert same(found.weights, learnt)


def test_other_names_are_matched_by_the_order_of_layers(trained):
    theirs = dict(zip(torchvision_names(), trained.values(), strict=True))
    theirs = {name.replace(".block.", ".conv."): value for name, value in theirs.items()}
    found = weights.fit(theirs, SMALL_B0)
    assert found.matched_by == "the order of layers"
    assert same(found.weights, {k: v for k, v in trained.items() if "num_batches" not in k})


@pytest.mark.parametrize(
    "wrap",
    [
        lambda state: state,
        lambda state: {"state_dict": state},
        lambda state: {"model": {f"module.{k}": v for k, v in state.items()}},
        lambda state: {
            "model": {k: v * 0 for k, v in state.items()},
            "model_ema": {
                "n_averaged": torch.tensor(3),
                **{f"module.{k}": v for k, v in state.items()},
            },
        },
    ],
)
def test_timm_s_names_are_ours_however_they_are_wrapped(trained, tmp_path, wrap):
    torch.save(wrap(trained), tmp_path / "timm.pth")
    found = weights.fit(sources.read(tmp_path / "timm.pth"), SMALL_B0)
    assert found.matched_by == "name"
    assert same(found.weights, {k: v for k, v in trained.items() if "num_batches" not in k})


def test_another_number_of_classes_gets_a_new_classifier(trained):
    ten = replace(SMALL_B0, num_classes=10)
    found = weights.fit(trained, ten)
    assert found.new == ("classifier.weight", "classifier.bias")
    assert found.left == found.new
    assert found.text.endswith(
        "new: classifier.weight and classifier.bias; left over: classifier.weight, classifier.bias"
    )
    headless = {k: v for k, v in trained.items() if not k.startswith("classifier")}
    assert weights.fit(headless, SMALL_B0).new == found.new


def test_every_other_mismatch_is_refused_by_name(trained):
    deeper = Architecture.from_block_string(SMALL_B0.block_string.replace("ir_r2", "ir_r3"))
    with pytest.raises(UsageError, match=r"blocks\.1\.2\.conv_pw\.weight \[.*\] \(there: nothing"):
        weights.fit(trained, deeper)
    # The other way all that is wanted is there, but for another network.
    with pytest.raises(UsageError, match=r"have no place in it: blocks\.1\.2\.conv_pw\.weight"):
        weights.fit(build(deeper).state_dict(), SMALL_B0)
    wider = Architecture.from_block_string(SMALL_B0.block_string.replace("c8", "c12"))
    with pytest.raises(UsageError, match=r"conv_pw\.weight \[12, 32, 1, 1\] \(there: .*\[8, 32"):
        weights.fit(trained, wider)
    theirs = dict(zip(torchvision_names(), trained.values(), strict=True))
    with pytest.raises(UsageError, match=r"expected those of the same network"):
        weights.fit(theirs, deeper)


def test_files_that_are_no_weights(tmp_path, run_cli):
    torch.save({"optimizer": {"lr": 0.1}}, tmp_path / "empty.pt")
    torch.save(build(SMALL_B0), tmp_path / "pickled.pt")
    (tmp_path / "text.safetensors").write_text("no tensors")
    (tmp_path / "text.pt").write_text("no tensors")
    (tmp_path / "folder").mkdir()
    for name in ("empty.pt", "pickled.pt", "text.safetensors", "text.pt", "folder"):
        with pytest.raises(UsageError, match=rf"{name}.*(: expected|must be) "):
            sources.read(tmp_path / name)
    assert run_cli("export", NETWORK, "--to", "pytorch", "-o", tmp_path / "fresh")[0] == 0
    with pytest.raises(UsageError, match="must be trained, got untrained ones"):
        sources.read(tmp_path / "fresh")


def test_transfer_from_a_training_s_folder(whole, tmp_path, run_cli):
    """Other data, with other classes: the backbone is kept, and starts the new training."""
    source = tmp_path / "even.py"
    source.write_text(
        "from mnas_search.data import Dataset, Split, digits\n"
        "def even():\n"
        "    data = digits()\n"
        "    def half(s):\n"
        "        kept = s.labels < 4\n"
        "        return Split(images=s.images[kept], labels=s.labels[kept])\n"
        "    return Dataset(name='four', num_classes=4, train=half(data.train),\n"
        "        validation=half(data.validation), test=half(data.test), flips=False)\n"
    )
    options = {"data": f"{source}:even", "init": whole, "recipe": "finetune", "format": "json"}
    options |= {"batch-size": 64, "epochs": 2}
    code, out, err = run_cli(*command(tmp_path / "training", **options))
    assert code == 0, err
    assert f"weights of {whole}" in err
    assert "new: classifier.weight and classifier.bias" in err
    report = json.loads(out)
    assert report["top5"] is None and report["test"]["top5"] is None  # of four classes
    words = json.loads((tmp_path / "training" / "export" / "weights.json").read_text())
    assert f"from {whole}" in words["weights"]
    del options["init"]
    code, out, err = run_cli(*command(tmp_path / "anew", **options))
    first, anew = untimed(tmp_path / "training")[0], untimed(tmp_path / "anew")[0]
    assert first["loss"] < anew["loss"]


@pytest.mark.full
def test_a_kill_after_weights_with_settings_of_their_own(whole, tmp_path):
    """The settings are in the folder: the weights' file is not needed, nor what lay beside it."""
    (tmp_path / "from").mkdir()
    state = torch.load(whole / "export" / "weights.pt", weights_only=True)
    save_file(state, tmp_path / "from" / "model.safetensors")
    words = {"architecture": "tf_efficientnet_b0"}
    (tmp_path / "from" / "config.json").write_text(json.dumps(words))
    options = {"init": tmp_path / "from", "epochs": 3}
    known = {"init": str(tmp_path / "from"), "epochs": 3}
    start(config(**known), tmp_path / "uninterrupted")
    folder = tmp_path / "training"
    popen = dict(stderr=subprocess.PIPE, text=True, start_new_session=True)
    process = subprocess.Popen([*COMMAND, *command(folder, **options)], **popen)
    wait_for_epochs(process, folder, 1)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert not (folder / "result.json").exists()
    shutil.rmtree(tmp_path / "from")
    resume(folder)
    assert start(config(**known), folder).epochs == 3
    architecture = json.loads((folder / "config.json").read_text())["config"]["architecture"]
    assert (architecture["bn_eps"], architecture["padding"]) == (1e-3, "same")
    assert untimed(folder) == untimed(tmp_path / "uninterrupted")
    assert same(tensors(folder), tensors(tmp_path / "uninterrupted"))


# -- scores ------------------------------------------------------------------------------------


def test_scores_count_images():
    split = digits().test.part(0.3)
    data = loop.Images(split, resolution=8, normalisation=loop.normalisation(split), flips=False)

    class Constant(torch.nn.Module):
        def __init__(self, classes):
            super().__init__()
            self.classes = classes

        def forward(self, images):
            return torch.arange(self.classes, 0.0, -1.0).expand(len(images), -1)

    found = score(Constant(10), data)  # says 0, then 1, 2, 3, 4
    assert (found.top1, found.top5) == ((split.labels == 0).mean(), (split.labels < 5).mean())
    assert found.n == len(split.labels)
    assert score(Constant(5), data).top5 is None


# -- several processes -------------------------------------------------------------------------


def plain_network():
    """Nothing in it depends on the batch or draws numbers."""
    torch.manual_seed(0)
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3), torch.nn.SiLU(), torch.nn.Flatten(), torch.nn.Linear(288, 10)
    )


def train_plainly(share):
    split = digits().train.part(0.3)
    data = loop.Images(split, resolution=8, normalisation=loop.normalisation(split), flips=False)
    recipe = Recipe(epochs=2, batch_size=64, mixup=0.2, ema_decay=0.9)
    training = loop.Training(plain_network(), data, recipe, seed=3, share=share)
    return [training.train_epoch() for _ in range(2)], training.evaluated.state_dict()


def in_a_process(rank, count, folder, job):
    os.environ |= {"MASTER_ADDR": "127.0.0.1"}
    dist.init_process_group(
        "gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=count
    )
    share = WorkerContext(rank=rank, world_size=count)
    with one_thread():
        torch.save(train_plainly(share), folder / f"plain-{rank}.pt")
    for name, epochs in (("halves", (1, 3)), ("at-once", (3,))):
        for number in epochs:
            part = replace(job, recipe=replace(job.recipe, epochs=number))
            train_epochs(part, folder / name, device="cpu", share=share, finished=print)
            share.barrier()
    dist.destroy_process_group()


@pytest.mark.full
def test_two_processes_train_as_one(small, tmp_path):
    for name in ("halves", "at-once"):
        (tmp_path / name).mkdir()
    constant = replace(small, recipe=replace(small.recipe, schedule=_constant))
    processes.spawn(in_a_process, (2, tmp_path, constant), nprocs=2)
    alone_losses, alone = train_plainly(WorkerContext())
    both = [torch.load(tmp_path / f"plain-{rank}.pt") for rank in range(2)]
    assert both[0][0] == both[1][0] == pytest.approx(alone_losses, rel=1e-5)
    assert same(both[0][1], both[1][1])  # bit by bit
    for name, values in alone.items():
        assert torch.allclose(both[0][1][name], values, rtol=1e-4, atol=1e-6), name
    # Batch norm, dropout and stochastic depth: resumed, the same bits.
    assert len(untimed(tmp_path / "at-once")) == 3
    assert_same_training(tmp_path / "halves", tmp_path / "at-once")


def _constant(step, /, *, steps, epochs):
    return 0.5


@pytest.mark.slow
def test_two_ray_workers_and_a_resume_by_one_process(tmp_path):
    """Real Ray Train; what it began, this process ends."""
    folder = tmp_path / "training"
    options = {"recipe": "scratch", "workers": 2, "epochs": 3}
    process = subprocess.Popen(
        [*COMMAND, *command(folder, **options)],
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_for_epochs(process, folder, 1)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, err
    assert f"resume with: mnas-search resume {folder}" in err
    result = resume(folder, workers=1)
    assert result.epochs == 3
    assert [x["epoch"] for x in untimed(folder)] == [1, 2, 3]
    # What a worker says comes out as it would from this process.
    wild = command(tmp_path / "wild", **{**options, "learning-rate": 1e30, "recipe": "proxy"})
    done = subprocess.run([*COMMAND, *wild], capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("error: epoch 1: the training loss is nan")


def test_a_best_checkpoint_that_is_damaged_is_written_again_or_refused(small, tmp_path):
    train_epochs(small, tmp_path, device="cpu")
    last = checkpoints.read(tmp_path / checkpoints.LAST)
    assert last is not None
    best = checkpoints.best(last.history)
    spoiled(tmp_path / checkpoints.BEST)
    if best.epoch == last.history[-1].epoch:
        assert "is written again" in str(checkpoints.recover(tmp_path)[1])
    # An epoch later, nothing else has its weights.
    later = replace(last.history[-1], epoch=best.epoch + 1, top1=best.top1 - 0.01)
    history = (*last.history[: best.epoch], later)
    checkpoints.save(tmp_path, replace(last, history=history))
    spoiled(tmp_path / checkpoints.BEST)
    with pytest.raises(RunFolderError, match=f"the weights of epoch {best.epoch}, the best one"):
        checkpoints.recover(tmp_path)
    (tmp_path / checkpoints.BEST).unlink()
    found, what = checkpoints.recover(tmp_path)
    assert what is None
    assert found is not None
    assert found.history == history
