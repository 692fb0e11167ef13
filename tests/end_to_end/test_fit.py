"""Whole fits: images to an exported network within a time, killed in every phase."""

import json
import math
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from other_packages import need
from PIL import Image
from runs import PATIENCE, events

from mnas_search.experiments.fit.plan import MIN_TRIALS
from mnas_search.experiments.resolve import resolve_architecture
from mnas_search.experiments.search.recommendation import read_recommended

SPACE = f"{Path(__file__).parents[1] / 'small_space.py'}:SmallSpace"
TARGET, WIDER = "800K", 3_000_000  # of FLOPs: no baseline is as narrow as the first

# Plans by steps that take longer than they do on a slow machine: measured beside other work, they
# would decide whether there is a search.
PLANNED = """
from mnas_search.cli import main
from mnas_search.experiments.fit import preparing
from mnas_search.experiments.fit.plan import StepTimes

preparing.measure_steps = lambda *_: StepTimes(proxy=1.0, epoch=0.3, test=0.1)
main()
"""
WITH_SEARCH, WITHOUT_SEARCH = 150, 105  # seconds


@pytest.fixture(scope="module")
def photos(tmp_path_factory):
    """Two classes of 32 pixels, one of them darker."""
    folder, rng = tmp_path_factory.mktemp("photos"), np.random.default_rng(0)
    for name, level in (("dark", 80), ("light", 170)):
        (folder / name).mkdir()
        for number in range(30):
            pixels = np.clip(rng.normal(level, 60, (32, 32, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def arguments(photos, seconds, folder, *more):
    options = ("--target-flops", TARGET, "--space", SPACE, "--workers", 0, "--resolution", 32)
    named = ("--time", f"{seconds:.0f}s", "--output", folder)
    return [str(one) for one in ("fit", photos, *options, *named, *more)]


def read(path):
    return json.loads(path.read_text())


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(
    run_cli, photos, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    given = arguments(photos, 60, tmp_path / "new", "--dry-run")
    code, _, err = run_cli(*given)
    assert (code, "requires a fit, got --dry-run" in err) == (2, True)
    at = given.index("--output")
    del given[at : at + 2]
    code, out, err = run_cli(*given)
    assert code == 0, err
    assert not list(tmp_path.iterdir())
    lines = out.splitlines()
    assert lines[0] == "plan: the best network within 800K FLOPs, in 1 min 00 s"
    assert [line.split(":")[0] for line in lines[-2:]] == ["training", "finish"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--time", "1s"), "time must be at least "),
        (("--target-flops", "1K"), "no network in space "),
        (("--time", "0"), "invalid value for '--time': expected a positive duration"),
    ],
)
def test_what_cannot_be_done_is_refused_in_one_line(run_cli, photos, tmp_path, options, message):
    code, _, err = run_cli(*arguments(photos, 60, tmp_path / "new"), *options)
    assert code == 2
    assert err.splitlines()[-1].startswith(f"error: {message}")
    assert not (tmp_path / "new").exists()


def test_one_class_is_refused(run_cli, photos, tmp_path):
    one = tmp_path / "one"
    (one / "dark").mkdir(parents=True)
    for file in (photos / "dark").iterdir():
        (one / "dark" / file.name).write_bytes(file.read_bytes())
    code, _, err = run_cli("fit", one, "--output", tmp_path / "new")
    assert code == 2
    assert "must have images of two classes or more, got one (dark)" in err.splitlines()[-1]


@pytest.mark.full
def test_without_time_for_a_search_a_baseline_is_trained(run_cli, photos, tmp_path):
    folder = tmp_path / "fit"
    code, out, err = run_cli(*arguments(photos, 40, folder), "--format", "json")
    assert code == 0, err
    plan, found = read(folder / "plan.json"), json.loads(out)
    assert plan["trials"] == 0
    assert not (folder / "run").exists()
    assert found["source"] == "baseline"
    assert found["test"] == read_recommended(folder).test == found["training"]["test"]["top1"]
    before = (folder / "journal.jsonl").read_text(), read(folder / "plan.json")
    code, again, err = run_cli(*arguments(photos, 40, folder), "--format", "json")
    assert code == 0, err
    assert json.loads(again)["test"] == found["test"]
    new = (folder / "journal.jsonl").read_text()
    assert new.startswith(before[0])
    assert {event["event"] for event in events(folder)[len(before[0].splitlines()) :]} == {
        "session"
    }
    assert read(folder / "plan.json") == before[1]
    code, _, err = run_cli(*arguments(photos, 41, folder))
    assert (code, "time must be 40.0 to resume" in err) == (2, True)


def until_killed(arguments, started, program=PLANNED):
    """Run a command, and kill it once `started`; returns whether it was killed."""
    command = [sys.executable, "-c", program, *map(str, arguments)]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    limit = time.monotonic() + PATIENCE
    while process.poll() is None and not started() and time.monotonic() < limit:
        time.sleep(0.02)
    if process.poll() is None:
        os.kill(process.pid, signal.SIGKILL)
    process.communicate()
    return process.returncode == -signal.SIGKILL


def lines_of(path):
    return path.read_text().splitlines() if path.is_file() else []


@pytest.mark.full
def test_killed_in_every_phase_a_fit_keeps_its_lengths(run_cli, photos, tmp_path):
    folder = tmp_path / "fit"
    journal, run = folder / "journal.jsonl", folder / "run" / "journal.jsonl"
    command = arguments(photos, WITH_SEARCH, folder)
    assert until_killed(command, lambda: lines_of(journal))
    plan = read(folder / "plan.json")
    assert plan["trials"] >= MIN_TRIALS

    def told(event):
        return sum(f'"event": "{event}"' in line for line in lines_of(run))

    metrics = folder / "training" / "metrics.jsonl"
    phases = {
        "search": lambda: told("tell") >= 3,
        # Where trainings have become slower than planned, the comparison may be left out.
        "comparison": lambda: told("verdict") >= 2 or told("time over"),
        "training": lambda: len(lines_of(metrics)) >= 2,
    }
    for phase, started in phases.items():
        assert until_killed(("resume", folder), started), phase
    length = [event for event in events(folder) if event["event"] == "training"]
    assert len(length) == 1
    code, out, err = run_cli("resume", folder)
    assert code == 0, err
    assert read(folder / "plan.json") == plan
    assert read(folder / "run" / "config.json")["config"]["trials"] == plan["trials"]
    assert 3 <= told("tell") == told("ask") <= plan["trials"]  # fewer where steps became slower
    assert read(folder / "training" / "config.json")["config"]["epochs"] == length[0]["epochs"]
    epochs = length[0]["epochs"]
    if (shortened := lines_of(folder / "training" / "shortened.jsonl")) != []:
        change = json.loads(shortened[-1])
        epochs = math.ceil(change["steps"] * epochs / change["planned"])
    assert len(lines_of(metrics)) == epochs
    assert len(out.splitlines()) == 5
    result = read_recommended(folder)
    assert result.test is not None and result.weights == str(folder / "training")
    assert resolve_architecture(str(folder)) == result.architecture
    done = subprocess.run(
        [sys.executable, "model.py"], cwd=folder / "export", capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.full
def test_killed_among_the_baselines_a_fit_repeats_none(photos, tmp_path):
    folder = tmp_path / "fit"
    journal, metrics = folder / "journal.jsonl", folder / "training" / "metrics.jsonl"

    def baselines():
        return [line for line in lines_of(journal) if '"event": "baseline"' in line]

    command = arguments(photos, WITHOUT_SEARCH, folder, "--target-flops", WIDER)
    assert until_killed(command, lambda: len(baselines()) >= 2)
    plan, before = read(folder / "plan.json"), baselines()
    assert plan["trials"] == 0 and plan["seeds"] * plan["baselines"] >= len(before)
    assert until_killed(("resume", folder), lambda: lines_of(metrics))
    assert read(folder / "plan.json") == plan
    trained = [event for event in events(folder) if event["event"] == "baseline"]
    assert len({(event["fingerprint"], event["seed"]) for event in trained}) == len(trained)
    assert baselines()[: len(before)] == before
    (chosen,) = (event for event in events(folder) if event["event"] == "chosen")
    (length,) = (event for event in events(folder) if event["event"] == "training")
    assert length["network"] == chosen["network"]


@pytest.mark.full
def test_killed_while_it_exports_a_fit_trains_nothing_again(run_cli, photos, tmp_path):
    need("onnx", "onnxruntime", "onnxscript")  # without them the export ends at once
    folder = tmp_path / "fit"
    options = ("--target-flops", WIDER, "--network", "efficientnet_b0")
    trained = folder / "training" / "result.json"
    assert until_killed(arguments(photos, 45, folder, *options), trained.is_file)
    assert not (folder / "recommended.json").exists()
    metrics, result = lines_of(folder / "training" / "metrics.jsonl"), trained.read_bytes()
    code, out, err = run_cli("resume", folder)
    assert code == 0, err
    assert lines_of(folder / "training" / "metrics.jsonl") == metrics
    assert trained.read_bytes() == result
    assert out.startswith("efficientnet_b0 x") and len(out.splitlines()) == 5
    assert read_recommended(folder).source == "baseline"
    assert not list(folder.glob(".*")) and (folder / "export" / "onnx" / "model.onnx").is_file()


SLOWER = """
import time
from dataclasses import dataclass, replace
from pathlib import Path
from mnas_search.cli import main
from mnas_search.training import recipes

@dataclass(frozen=True)
class Slower:
    mirrors = False

    def __call__(self, images, generator):
        metrics = Path("fit/training/metrics.jsonl")
        if metrics.is_file() and len(metrics.read_text().splitlines()) >= 5:
            time.sleep(0.7)
        return images

recipes.RECIPES["scratch"] = replace(recipes.SCRATCH, augmentations=(Slower(),))
main()
"""


@pytest.mark.full
def test_steps_that_become_slower_are_fewer_and_the_same_after_a_kill(
    photos, tmp_path, monkeypatch
):
    """Each step takes 0.7 seconds longer once five epochs are done."""
    monkeypatch.chdir(tmp_path)
    folder = tmp_path / "fit"
    training = folder / "training"
    shortened, metrics = training / "shortened.jsonl", training / "metrics.jsonl"
    options = ("--target-flops", WIDER, "--network", "efficientnet_b0")
    command = arguments(photos, 60, folder, *options)

    def has_gone_on():
        known = [json.loads(line) for line in lines_of(shortened)]
        return known and len(lines_of(metrics)) >= known[0]["step"] + 2

    assert until_killed(command, has_gone_on, SLOWER)
    decided, trained = lines_of(shortened), lines_of(metrics)
    done = subprocess.run(
        [sys.executable, "-c", SLOWER, "resume", "fit"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
    )
    assert done.returncode == 0, done.stderr
    assert lines_of(shortened)[: len(decided)] == decided
    assert lines_of(metrics)[: len(trained)] == trained
    (length,) = (event for event in events(folder) if event["event"] == "training")
    epochs = len(lines_of(metrics))
    last = json.loads(lines_of(shortened)[-1])
    assert epochs == last["steps"] < last["planned"] == length["epochs"]  # a step each
    assert json.loads(lines_of(metrics)[-1])["learning_rate"] < 1e-4
    said = f"the machine became slower: {epochs} of {length['epochs']} epochs"
    assert f" ({said}): " in done.stdout.splitlines()[1]
    assert json.loads((training / "result.json").read_text())["shortened"] == said
