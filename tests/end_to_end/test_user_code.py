"""Code of users: what it raises is one line with file, line and cause; what it prints and where it
goes does not reach the result."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from mnas_search.common.errors import describe_exception, reason_of, text_of

SOURCE = """
import os, sys
import mnas_search
from mnas_search import Controller, Dataset, Evaluation, Evaluator, Resources, SearchSpace
from mnas_search.testing import ToySpace

class Unprintable(Exception):
    def __str__(self): raise RuntimeError("no text")

def act():
    {act}

class Space(ToySpace):
    @property
    def template(self): return act() if "{place}" == "template" else super().template
    @property
    def stage_decisions(self):
        return act() if "{place}" == "decisions" else super().stage_decisions
    def stage(self, index, choices):
        return act() if "{place}" == "stage" else super().stage(index, choices)

class Control(Controller):
    def __init__(self, problem):
        if "{place}" == "controller": act()
        self.decisions = problem.decisions
    def ask(self, rng):
        if "{place}" == "ask": return act()
        return {{d.name: d.options[rng.integers(len(d.options))] for d in self.decisions}}
    def tell(self, trial):
        if "{place}" == "tell": act()

class Measure(Evaluator):
    def __init__(self, *, data=None):
        if "{place}" == "evaluator": act()
    @property
    def resources(self): return act() if "{place}" == "resources" else Resources()
    @property
    def label(self): return act() if "{place}" == "label" else "accuracy of a toy"
    def check_space(self, space):
        if "{place}" == "check_space": act()
    def caveats(self, network): return act() if "{place}" == "caveats" else ()
    def evaluate(self, network, *, seed):
        if "{place}" == "evaluate": act()
        yield Evaluation(accuracy=0.5)

def data():
    return act()

if "{place}" == "import": act()
"""


def plug_in(folder, place, act):
    file = folder / f"mine{len(list(folder.iterdir()))}.py"
    file.write_text(SOURCE.format(place=place, act=act))
    lines = file.read_text().splitlines()
    return file, lines.index(f"    {act}") + 1


def arguments(file, output, *more):
    return (
        *("run", "--target-flops", "2M", "--trials", 2, "--workers", 0, "--output", output),
        *("--space", f"{file}:Space", "--controller", f"{file}:Control"),
        *("--evaluator", f"{file}:Measure", *more),
    )


PLACES = (
    *("import", "template", "decisions", "stage", "controller", "ask", "tell", "evaluator"),
    *("resources", "label", "check_space", "caveats", "evaluate"),
)


@pytest.mark.parametrize(
    ("act", "cause"),
    [
        ("raise BrokenPipeError(32, 'Broken pipe')", "BrokenPipeError: "),
        ("raise type('Ending', (BaseException,), {})('the end')", "Ending: the end"),
    ],
)
@pytest.mark.parametrize("place", ["template", "label"])
def test_errors_that_others_take_for_their_own_are_named(run_cli, tmp_path, place, act, cause):
    file, line = plug_in(tmp_path, place, act)
    code, _, err = run_cli(*arguments(file, tmp_path / "run"))
    assert code == 1 and err.splitlines()[-1].startswith("error: ")
    assert cause in err and f"{file}, line {line}" in err and "Traceback" not in err


AFTER_THE_FOLDER = ("ask", "tell", "caveats", "evaluate", "label")


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(
    ("act", "cause"),
    [
        ("raise OSError('text alone')", "OSError: text alone"),
        ("sys.exit(0)", "SystemExit: 0"),
        (
            "raise Unprintable()",
            "Unprintable: its text cannot be had: __str__ raised RuntimeError",
        ),
    ],
)
def test_errors_name_file_line_and_cause(run_cli, tmp_path, place, act, cause):
    file, line = plug_in(tmp_path, place, act)
    code, out, err = run_cli(*arguments(file, tmp_path / "run"))
    last = err.splitlines()[-1]
    assert code == (2 if place == "import" else 1), err
    assert last.startswith("error: ") and cause in last and f"{file}, line {line}" in last
    assert "Traceback" not in err and out == ""
    assert (tmp_path / "run").exists() == (place in AFTER_THE_FOLDER)


@pytest.mark.parametrize("command", ["run", "train"])
def test_a_data_function_that_ends_the_process_is_named(run_cli, tmp_path, command):
    file, line = plug_in(tmp_path, "data", "exit(0)")
    data = ("--data", f"{file}:data", "--output", tmp_path / "out")
    given = {"run": ("run", "--target-flops", "9M"), "train": ("train", "ds_r1_k3_s1_c8")}
    code, _, err = run_cli(*given[command], *data)
    assert code == 1 and f"SystemExit: 0 ({file}, line {line})" in err
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("workers", [0, 1])
@pytest.mark.parametrize("value", ["{'cpus': 1}", "3", "'all'", "Resources"])
def test_resources_of_a_wrong_type_are_refused_before_a_folder(run_cli, tmp_path, workers, value):
    file, _ = plug_in(tmp_path, "resources", f"return {value}")
    code, _, err = run_cli(*arguments(file, tmp_path / "run", "--workers", workers))
    assert code == 2 and "resources must be mnas_search.Resources(" in err
    assert not (tmp_path / "run").exists()


def test_an_error_without_a_word_has_one():
    assert reason_of(OSError("text")) == "text"
    assert reason_of(OSError(2, "No such file", "x")) == "No such file"
    assert reason_of(OSError()) == "OSError"

    class Mute(Exception):
        def __str__(self):
            raise SystemExit("out")

    assert text_of(Mute()) == "its text cannot be had: __str__ raised SystemExit"
    assert describe_exception(Mute()).startswith("Mute: its text")


PRINTING = """
import atexit, os, subprocess, sys
def score(architecture):
    print("PRINTED")
    os.write(1, b"WRITTEN\\n")
    subprocess.run([sys.executable, "-c", "print('CHILD')"], check=True)
    os.chdir("/")
    return 0.5
def data():
    import numpy as np
    from mnas_search import Dataset, Split
    print("PRINTED"); os.write(1, b"WRITTEN\\n"); os.system("echo CHILD"); os.chdir("/")
    split = Split(images=np.zeros((8, 8, 8, 3), np.uint8), labels=np.arange(8) % 2)
    return Dataset(name="black", num_classes=2, train=split, validation=split, test=split)
"""


@pytest.mark.parametrize("command", ["evaluate", "run", "train"])
def test_standard_output_is_the_result_alone(tmp_path, command):
    (tmp_path / "mine.py").write_text(PRINTING)
    network = "ds_r1_k3_s1_c8"
    words = {
        "evaluate": ("evaluate", network, "--evaluator", "mine.py:score"),
        "run": (
            *("run", "--target-flops", "400M", "--trials", "2", "--workers", "0"),
            *("--controller", "random_search", "--evaluator", "mine.py:score", "--output", "out"),
        ),
        "train": (
            *("train", network, "--epochs", "1", "--resolution", "16", "--output", "out"),
            *("--data", "mine.py:data"),
        ),
    }
    done = subprocess.run(
        [sys.executable, "-m", "mnas_search", *words[command], "--format", "json"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(done.stdout)
    assert all(word in done.stderr for word in ("PRINTED", "WRITTEN", "CHILD"))
    if command != "evaluate":  # though the code works elsewhere
        assert (tmp_path / "out" / "config.json").is_file()
    if command == "run":
        assert done.stderr.startswith("run folder: out\n")


def test_an_export_lands_where_it_was_asked_for(run_cli, tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(
        "import os\n"
        "from mnas_search import Exporter\n"
        "class Export(Exporter):\n"
        "    takes_weights = False\n"
        "    def export(self, architecture, weights, path):\n"
        "        os.chdir('/')\n"
        "        (path / 'text.txt').write_text('exported')\n"
        "        return (path / 'text.txt',)\n"
    )
    monkeypatch.chdir(tmp_path)
    code, out, err = run_cli("export", "mnasnet_a1", "--to", "mine.py:Export", "-o", "out")
    assert code == 0, err
    assert out.splitlines()[0] == str(Path("out") / "text.txt")
    assert (tmp_path / "out" / "text.txt").read_text() == "exported"
    os.chdir(tmp_path)


def test_modules_beside_a_file_are_found_as_a_scripts_are(run_cli, tmp_path):
    (tmp_path / "beside_it.py").write_text("VALUE = 0.25\n")
    (tmp_path / "mine.py").write_text("import beside_it\ndef score(a): return beside_it.VALUE\n")
    name = f"{tmp_path / 'mine.py'}:score"
    code, out, _ = run_cli("evaluate", "mnasnet_a1", "--evaluator", name, "--format", "json")
    assert code == 0 and json.loads(out)[0]["accuracy"] == 0.25
