"""Code that a folder names: checked before it is run, and not run at all by a report."""

import json
import shutil

import pytest

import mnas_search
from mnas_search.common import plugins

SOURCE = """
from pathlib import Path

import numpy as np

from mnas_search import Controller, Dataset, Evaluation, Evaluator, Resources, Split
from mnas_search.testing import ToySpace

with open({marker!r}, "a") as file:
    file.write("run\\n")


class Space(ToySpace):
    pass


class Control(Controller):
    uses_prior = False

    def __init__(self, problem):
        self.problem = problem

    def ask(self, rng):
        return {{d.name: d.options[rng.integers(len(d.options))] for d in self.problem.decisions}}

    def tell(self, trial):
        pass

    def estimate(self, codes):
        return np.linspace(0.2, 0.3, len(codes))


class Measure(Evaluator):
    label = "top-1 of a toy"
    resources = Resources()

    def __init__(self, *, data=None):
        pass

    def evaluate(self, network, *, seed):
        yield Evaluation(accuracy=0.4 + seed % 97 / 1000)

    def caveats(self, network):
        return (f"measured on {{network.label}}",)


def score(architecture):
    return 0.5


def data():
    split = Split(images=np.zeros((8, 8, 8, 3), np.uint8), labels=np.arange(8) % 2)
    return Dataset(name="black", num_classes=2, train=split, validation=split, test=split)


def ten():
    images = np.random.default_rng(0).integers(0, 256, (40, 8, 8, 3), np.uint8)
    split = Split(images=images, labels=np.arange(40) % 10)
    return Dataset(name="noise", num_classes=10, train=split, validation=split, test=split)
"""


@pytest.fixture
def mine(tmp_path):
    """A plug-in's file, and the file in which it notes that it was run."""
    marker = tmp_path / "marker"
    file = tmp_path / "mine.py"
    file.write_text(SOURCE.format(marker=str(marker)))
    return file, marker


def forget(marker):
    """Have the next command read the file of code anew, as another process would."""
    plugins.load_file.cache_clear()
    marker.unlink(missing_ok=True)


def run(run_cli, folder, file, *names, **options):
    code, _, err = run_cli(
        *("run", "--target-flops", "2M" if SPACE in names else "400M"),
        *("--trials", 4, "--workers", 0, "--output", folder),
        *(f"--{option}={file}:{name}" for option, name in names),
        *(f"--{option}={value}" for option, value in options.items()),
    )
    assert code == 0, err


TRAINED = {"proxy": "epochs=1,resolution=8", "baseline": "random"}
SPACE, CONTROLLER = ("space", "Space"), ("controller", "Control")


@pytest.mark.parametrize(
    ("names", "options"),
    [
        ((SPACE, ("evaluator", "score")), {}),
        ((SPACE, CONTROLLER, ("evaluator", "Measure")), {}),
        ((SPACE, CONTROLLER, ("evaluator", "Measure"), ("data", "data")), {}),
        ((CONTROLLER,), {}),  # with the built-in evaluator and its second opinions
        ((SPACE, CONTROLLER), {**TRAINED, "data": "digits"}),  # with the built-in evaluator
        ((SPACE, ("data", "ten")), TRAINED),
        ((SPACE,), {"evaluator": "supernet", "data": "digits", "proxy": "steps=2,width=0.5"}),
    ],
)
def test_a_report_runs_no_code(run_cli, tmp_path, mine, monkeypatch, names, options):
    file, marker = mine
    folder = tmp_path / "run"
    run(run_cli, folder, file, *names, **options)
    page = (folder / "report.html").read_text()
    forget(marker)
    file.unlink()
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "another user's"))
    code, _, err = run_cli("report", folder)
    assert (code, err) == (0, ""), err
    assert (folder / "report.html").read_text() == page
    assert not marker.exists()


@pytest.mark.parametrize("command", ["report", "resume"])
def test_a_changed_file_is_not_run(run_cli, tmp_path, mine, command):
    file, marker = mine
    folder = tmp_path / "run"
    run(run_cli, folder, file, SPACE, ("evaluator", "score"))
    if command == "report":  # without the answers of the code, it would have to run it
        (folder / "answers.jsonl").unlink()
    forget(marker)
    file.write_text(file.read_text() + "# changed\n")
    code, _, err = run_cli(command, folder, *(["--trust-code"] if command == "resume" else []))
    assert code == 2 and "has changed since the run" in err
    assert not marker.exists()


def test_a_folder_of_another_user_is_resumed_with_trust_code_alone(
    run_cli, tmp_path, mine, monkeypatch
):
    file, marker = mine
    run(run_cli, tmp_path / "run", file, SPACE, ("evaluator", "score"))
    shutil.copytree(tmp_path / "run", tmp_path / "copy")
    forget(marker)
    assert run_cli("resume", tmp_path / "copy")[0] == 0  # the same user's
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    forget(marker)
    code, _, err = run_cli("resume", tmp_path / "copy", "--trials", 5)
    assert code == 2 and "code that you have not run before" in err and "--trust-code" in err
    assert not marker.exists()
    assert run_cli("resume", tmp_path / "copy", "--trials", 5, "--trust-code")[0] == 0
    assert marker.exists()
    assert run_cli("resume", tmp_path / "copy", "--trials", 6)[0] == 0  # known from then on


def test_where_no_state_can_be_kept_resume_asks(run_cli, tmp_path, mine, monkeypatch):
    file, _ = mine
    (tmp_path / "file").write_text("")
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "file"))
    run(run_cli, tmp_path / "run", file, SPACE, ("evaluator", "score"))
    assert "--trust-code" in run_cli("resume", tmp_path / "run", "--trials", 5)[2]
    assert run_cli("resume", tmp_path / "run", "--trials", 5, "--trust-code")[0] == 0


def test_a_training_on_a_users_data_is_resumed_by_the_same_user(
    run_cli, tmp_path, mine, monkeypatch
):
    file, marker = mine
    folder = tmp_path / "training"
    network = "ds_r1_k3_s1_c8"
    code, _, err = run_cli(
        *("train", network, "--epochs", 1, "--resolution", 16, "--data", f"{file}:data"),
        *("--output", folder),
    )
    assert code == 0, err
    assert run_cli("resume", folder)[0] == 0
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    forget(marker)
    assert run_cli("resume", folder)[0] == 2
    assert not marker.exists()


def test_a_study_of_another_user_runs_only_code_that_the_command_names(
    run_cli, tmp_path, mine, monkeypatch
):
    file, marker = mine
    names = ("--space", f"{file}:Space", "--evaluator", f"{file}:Measure")
    more = ("--reference", f"{file}:score", "--workers", 0, "--output", tmp_path / "study")
    study = ("fidelity", "--proxy", "default", "--architectures", 4, *more)
    code, _, err = run_cli(*study, *names)
    assert code == 0, err
    resumed = ("fidelity", "--output", tmp_path / "study", "--workers", 0)
    assert run_cli(*resumed)[0] == 0  # the same user's
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    forget(marker)
    for given in ((), names, ("--reference", f"{file}:score")):
        code, _, err = run_cli(*resumed, *given)
        assert code == 2 and "code that you have not run before" in err
        assert "give it to the command (--data, --space" in err and not marker.exists()
    code, _, err = run_cli(*resumed, *names, "--reference", f"{file}:score")
    assert code == 0, err
    for changed in (False, True):
        forget(marker)
        file.write_text(file.read_text() + "# changed\n" * changed)
        code, _, err = run_cli(*resumed)
        assert marker.exists() is not changed and ("has changed since" in err) is changed


def test_data_of_another_user_s_training_are_not_run_to_quantise(
    run_cli, tmp_path, mine, monkeypatch
):
    file, marker = mine
    folder, network = tmp_path / "training", "ds_r1_k3_s1_c8"
    training = ("train", network, "--epochs", 1, "--resolution", 16, "--data", f"{file}:data")
    assert run_cli(*training, "--output", folder)[0] == 0
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    forget(marker)
    export = ("export", folder, "--to", "onnx", "--quantize", "int8", "-o", tmp_path / "out")
    code, _, err = run_cli(*export)
    assert code == 2 and "give it to the command as --data" in err
    assert not marker.exists() and not (tmp_path / "out").exists()


def test_runs_of_installed_plug_ins_need_no_trust(run_cli, tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    folder = tmp_path / "run"
    arguments = ("--target-flops", "400M", "--trials", 2, "--controller", "random_search")
    assert run_cli("run", *arguments, "--workers", 0, "--output", folder)[0] == 0
    page = (folder / "report.html").read_text()
    assert not (tmp_path / "state").exists()
    assert run_cli("report", folder)[0] == 0 and (folder / "report.html").read_text() == page
    lines = (folder / "answers.jsonl").read_text().splitlines()
    assert {json.loads(line)["event"] for line in lines} == {"opinion"}


def test_a_run_of_python_objects_can_be_reported_without_them(run_cli, tmp_path):
    folder = tmp_path / "run"
    mnas_search.search(
        "400M",
        evaluator=lambda architecture: 0.5,
        controller="random_search",
        trials=3,
        workers=0,
        output=folder,
    )
    page = (folder / "report.html").read_text()
    assert run_cli("report", folder)[0] == 0
    assert (folder / "report.html").read_text() == page
    assert "Python object of the program that began the run" in run_cli("resume", folder)[2]
