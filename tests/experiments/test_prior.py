"""Priors that are trained before a search: plan, networks, phase, agreement, report."""

import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from runs import PATIENCE, timeless
from small_space import SmallSpace

from mnas_search.architecture.blocks import plan as plan_network
from mnas_search.architecture.traced_network import TracedNetwork
from mnas_search.common.errors import RunFolderError, UsageError, WorkFailed
from mnas_search.common.statistics import kendall_tau
from mnas_search.experiments.listener import Listener
from mnas_search.experiments.search.options import RunConfig
from mnas_search.experiments.search.prior.agreement import COUNTS, MEMBER, PRIOR, agree
from mnas_search.experiments.search.prior.networks import spread_out
from mnas_search.experiments.search.prior.plan import (
    MAX_NETWORKS,
    MIN_NETWORKS,
    MIN_STEPS,
    PriorRecipe,
    default_time,
    fill_in,
)
from mnas_search.experiments.search.report.printed import print_result
from mnas_search.experiments.search.report.prior import prior_report
from mnas_search.experiments.search.report.summary import summary
from mnas_search.experiments.search.run import reopen, resume, start
from mnas_search.nas.evaluator import PriorTimes
from mnas_search.nas.objective import Objective
from mnas_search.nas.problem import problem
from mnas_search.nas.space.choices import Decision, decode, sample_codes
from mnas_search.nas.space.contract import SearchSpace
from mnas_search.nas.surrogate.predictor import Predictor
from mnas_search.search_spaces.efficientnet import EfficientNetSpace

HERE = Path(__file__).parents[1]
ENSEMBLE = f"{HERE / 'evaluators_for_tests.py'}:Ensemble"
SPACE = f"{HERE / 'small_space.py'}:SmallSpace"
PROBLEM = problem(SmallSpace(), Objective(target=4e5))


def config(**changes):
    options = {
        "target_flops": 40e6,
        "space": SPACE,
        "evaluator": ENSEMBLE,
        "data": "digits",
        "prior": ENSEMBLE,
        "prior_recipe": "members=2,steps=30,networks=12",
        "workers": 0,
        "trials": 5,
    }
    return RunConfig(**{**options, **changes})


def without_sessions(folder):
    return [event for event in timeless(folder) if event["event"] != "session"]


def of_kind(folder, kind):
    return [event for event in timeless(folder) if event["event"] == kind]


# -- the plan ------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 1, 2, 5, 64])
@pytest.mark.parametrize("seconds", [90.0, 360.0, 3_600.0])
@pytest.mark.parametrize(("step", "reading"), [(0.3, 0.2), (0.005, 0.01), (0.1, 0.01)])
def test_a_plan_fits_into_its_time(workers, seconds, step, reading):
    times = PriorTimes(step=step, reading=reading, max_steps=5_000)
    try:
        found = fill_in(PriorRecipe(), times, seconds=seconds, measuring=2.0, workers=workers)
    except UsageError:
        assert seconds == 90.0
        return
    assert found.members == max(2, min(8, workers))
    assert MIN_NETWORKS <= found.networks <= MAX_NETWORKS
    assert MIN_STEPS <= found.steps <= 5_000
    rounds = math.ceil(found.members / max(1, workers))
    assert 2.0 + rounds * (found.steps * step + found.networks * reading) <= seconds
    if found.steps < 5_000:  # and spends most of it
        spent = rounds * (found.steps * step + found.networks * reading)
        assert spent * 1.25 >= 0.8 * (0.95 * seconds - 17.0)


def test_members_that_share_a_gpu_are_planned_as_if_in_turn():
    times = PriorTimes(step=0.1, reading=0.05, max_steps=10_000, gpus=1)
    found = fill_in(PriorRecipe(), times, seconds=360.0, measuring=0.0, workers=16)
    assert found.members == 2
    assert 2 * (found.steps * 0.1 + found.networks * 0.05) <= 360.0
    four = replace(times, gpus=4)
    assert fill_in(PriorRecipe(), four, seconds=360.0, measuring=0.0, workers=16).members == 4


def test_lengths_that_are_given_stay():
    recipe = PriorRecipe.parse("members=3, networks=17,width=0.5,batch_size=8")
    assert recipe == PriorRecipe(members=3, networks=17, others="width=0.5,batch_size=8")
    times = PriorTimes(step=0.1, reading=0.1, max_steps=1_000)
    found = fill_in(recipe, times, seconds=100.0, measuring=0.0, workers=0)
    assert (found.members, found.networks) == (3, 17)
    assert fill_in(
        replace(recipe, steps=4), None, seconds=0.1, measuring=0.0, workers=0
    ) == replace(recipe, steps=4)
    assert [default_time(budget) for budget in (None, 600.0, 1e5)] == [360.0, 150.0, 360.0]


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"prior_recipe": "networks=9", "prior_time": 5e-3}, "prior_time must be at least"),
        (
            {"prior_recipe": "members=1"},
            "members of prior_recipe must be a whole number of 2 or more",
        ),
        ({"prior_recipe": "steps=some"}, "steps of prior_recipe must be a whole number"),
        ({"data": None}, "requires --data, on which it is trained"),
        ({"controller": "tpe"}, "requires a controller that uses it, such as bayesian"),
        ({"prior": None}, "prior_recipe requires a prior"),
        (
            {"prior": "accel_nasbench", "space": "efficientnet"},
            "prior_recipe requires a prior that is trained",
        ),
    ],
)
def test_what_is_refused_leaves_no_folder(tmp_path, changes, says):
    changes = {"prior_recipe": "members=2", **changes}
    with pytest.raises(UsageError, match=says):
        start(config(**changes), tmp_path / "run")
    assert not (tmp_path / "run").exists()


# -- the networks --------------------------------------------------------------------------------


@pytest.mark.parametrize("target", [1.2e8, 2e8, 4e8])
def test_networks_are_spread_over_the_feasible_ones(target):
    space = EfficientNetSpace()
    known = problem(space, Objective(target=target))
    codes = spread_out(known, space, 100, seed=1)
    assert np.array_equal(codes, spread_out(known, space, 100, seed=1))
    assert len({space.decode(decode(space.decisions, row)).fingerprint for row in codes}) == 100
    assert known.is_feasible(codes).all()
    macs = known.costs(codes)["macs"]
    draws = sample_codes(space.decisions, 20_000, np.random.default_rng(0))
    feasible = draws[known.is_feasible(draws)]
    if len(feasible) > 2_000:  # groups of equal size: the quantiles are those of all feasible ones
        wanted = np.quantile(known.costs(feasible)["macs"], [0.1, 0.5, 0.9])
        assert np.quantile(macs, [0.1, 0.5, 0.9]) == pytest.approx(wanted, rel=0.05)


def test_a_small_space_gives_what_it_has():
    every = len({tuple(row) for row in spread_out(PROBLEM, SmallSpace(), 10_000, seed=0)})
    assert 0 < every <= 216
    with pytest.raises(UsageError, match="a prior requires networks within 1 FLOPs"):
        spread_out(problem(SmallSpace(), Objective(target=1.0)), SmallSpace(), 5, seed=0)


# -- the fit -------------------------------------------------------------------------------------


def test_the_predictor_ranks_networks_that_were_not_read():
    space = EfficientNetSpace()
    known = problem(space, Objective(target=4e8))
    codes = spread_out(known, space, 200, seed=0)
    weights = np.random.default_rng(0).normal(size=codes.shape[1])
    truth = -2.0 + 0.1 * codes @ weights
    noise = 0.05 * np.random.default_rng(1).normal(size=len(codes))
    found = Predictor.fit(known, codes[::2], (truth + noise)[::2])(codes[1::2])
    assert ((found > 0) & (found < 1)).all()
    assert kendall_tau(found, truth[1::2]) > 0.8


# -- agreement -----------------------------------------------------------------------------------


def networks(count, seed=0):
    space = EfficientNetSpace()
    rows = sample_codes(space.decisions, count, np.random.default_rng(seed))
    return [space.decode(decode(space.decisions, row)) for row in rows]


def test_agreement_of_members_prior_and_counts():
    read, trained = networks(40), networks(12, seed=1)
    depths = np.array([sum(map(len, plan_network(one).stages)) for one in read], float)
    depths += np.arange(40) / 1e3  # no ties
    accuracies = np.linspace(0.1, 0.9, 12)
    found = agree(np.stack([depths, 2 * depths]), read, trained, accuracies, accuracies**2)
    taus = {one.name: one for one in found.rankings}
    assert list(taus) == [MEMBER, PRIOR, *COUNTS]
    assert taus[MEMBER].readings.value == taus[MEMBER].readings.low == 1.0
    assert taus["blocks"].readings.value > taus["FLOPs"].readings.value
    assert taus[PRIOR].trainings.value == 1.0
    assert found.best_count in COUNTS
    best = taus[found.best_count].trainings
    assert found.difference.value == pytest.approx(1.0 - best.value)
    assert best.low < best.value < best.high
    few = agree(np.stack([depths, depths]), read, trained[:3], accuracies[:3], accuracies[:3])
    assert few.difference is None


# -- the phase -----------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """A run from beginning to end, in this process."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    start(config(), folder)
    return folder


def test_all_of_the_phase_is_in_the_journal_before_the_search(whole):
    kinds = [event["event"] for event in without_sessions(whole)]
    phase = ["prior plan", *["prior training"] * 2, *["prior reading"] * 24, "prior"]
    assert kinds[: len(phase)] == phase
    assert not {"prior", "prior training"} & set(kinds[len(phase) :])
    readings = of_kind(whole, "prior reading")
    assert len({(event["seed"], event["fingerprint"]) for event in readings}) == 24
    assert [event["steps"] for event in of_kind(whole, "prior training")] == [30, 30]


def test_the_search_has_the_prior_that_was_read(whole):
    result = reopen(whole)
    readings = result.readings
    assert readings.log_likelihoods.shape == (2, 12)
    event = of_kind(whole, "prior reading")[3]
    number, member = event["network"], event["seed"]
    assert readings.log_likelihoods[member, number] == math.log(event["accuracy"])
    assert result.agreement.trained == 5
    before = json.dumps(summary(result)["prior"])
    assert json.dumps(summary(reopen(whole))["prior"]) == before


def test_a_finished_prior_is_not_trained_again(whole, tmp_path, monkeypatch):
    log = tmp_path / "log"
    monkeypatch.setenv("TRAINED_LOG", str(log))
    before = without_sessions(whole)
    result = resume(whole, trials=7)
    assert without_sessions(whole)[: len(before)] == before
    assert not log.exists()
    assert result.agreement.trained == 7
    resume(whole, trials=7)


class StopAt(Listener):
    """Raises when it hears of the prior for the n-th time, or of a trial."""

    def __init__(self, status=None, trial=None):
        self.left, self.trial = status, trial

    def on_status(self, text):
        if self.left is not None:
            self.left -= 1
            if not self.left:
                raise KeyboardInterrupt

    def on_trial(self, trial):
        if trial.number == self.trial:
            raise KeyboardInterrupt


@pytest.mark.parametrize("where", [{"status": n} for n in (1, 4, 7, 19)] + [{"trial": 2}])
def test_interrupted_anywhere_the_journal_is_the_same(whole, tmp_path, where):
    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        start(config(trials=5), folder, StopAt(**where))
    assert len(without_sessions(folder)) < len(without_sessions(whole))
    resume(folder)
    expected = without_sessions(whole)[: len(without_sessions(folder))]
    assert without_sessions(folder) == expected


def test_checkpoints_have_absolute_paths_since_workers_have_other_folders(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("TRAINED_LOG", str(tmp_path / "log"))

    class Elsewhere(Listener):
        def on_stage(self, text):
            if text.startswith("training 2 members"):
                monkeypatch.chdir("/")

        def on_status(self, text):
            monkeypatch.chdir(tmp_path if text.endswith("readings") else "/")

    start(config(), Path("run"), Elsewhere())
    assert {file.name for file in (tmp_path / "run/prior").iterdir()} == {
        "member-0.pt",
        "member-1.pt",
    }


def test_a_lost_checkpoint_is_trained_again(tmp_path):
    folder = tmp_path / "run"
    with pytest.raises(KeyboardInterrupt):
        start(config(), folder, StopAt(status=10))
    (folder / "prior" / "member-1.pt").unlink()
    resume(folder)
    assert [event["member"] for event in of_kind(folder, "prior training")] == [0, 1, 1]
    assert len(of_kind(folder, "prior reading")) == 24


def test_a_member_that_fails_is_left_out(tmp_path):
    folder = tmp_path / "run"
    recipe = "members=3,steps=20,networks=8,fail=1"
    result = start(config(prior_recipe=recipe), folder)
    errors = [event["error"] for event in of_kind(folder, "prior training")]
    assert errors[0] is None and errors[2] is None
    assert errors[1].startswith("ValueError: this one cannot be trained (")
    assert result.readings.log_likelihoods.shape == (2, 8)
    resume(folder)
    assert len(of_kind(folder, "prior training")) == 3  # the search's prior stays


def test_without_any_member_the_run_fails_and_can_be_resumed(tmp_path):
    folder, recipe = tmp_path / "run", "members=2,steps=4,networks=3,fail=-1"
    for _ in range(2):
        with pytest.raises(WorkFailed, match="cannot be trained; the first reason: ValueError"):
            start(config(prior_recipe=recipe), folder)
    assert len(of_kind(folder, "prior training")) == 4
    assert not of_kind(folder, "prior")


def test_a_journal_that_does_not_fit_is_refused(whole, tmp_path):
    folder = tmp_path / "run"
    folder.mkdir()
    (folder / "config.json").write_text((whole / "config.json").read_text())
    lines = (whole / "journal.jsonl").read_text().splitlines(keepends=True)
    kept = [line for line in lines if '"event": "prior plan"' not in line]
    (folder / "journal.jsonl").write_text("".join(kept))
    with pytest.raises(RunFolderError, match="prior does not fit together"):
        reopen(folder)


# -- the report ----------------------------------------------------------------------------------


def test_prior_and_counts_are_printed_and_on_the_page(whole, capsys):
    result = reopen(whole)
    print_result(result)
    out = " ".join(capsys.readouterr().out.split())
    found = prior_report(result)
    assert found.rankings[0][1].endswith("12 networks")
    for text in (*found.notes, MEMBER, *COUNTS):
        assert text in out
    page = (whole / "report.html").read_text()
    assert "<h2>The prior</h2>" in page
    told = summary(result)["prior"]
    assert told["members"] == 2 and told["steps"] == 30 and told["read"] == 12
    assert {one["name"] for one in told["rankings"]} == {MEMBER, PRIOR, *COUNTS}


@pytest.mark.parametrize(
    ("low", "says"),
    [(-0.1, "not distinguishable from counts"), (0.1, "better than counts")],
)
def test_the_verdict(whole, monkeypatch, low, says):
    result = reopen(whole)
    found = result.agreement
    difference = replace(found.difference, value=0.2, low=low, high=0.3)
    monkeypatch.setattr(result, "agreement", replace(found, difference=difference))
    assert any(says in note for note in prior_report(result).notes)
    monkeypatch.setattr(result, "agreement", replace(found, difference=None, trained=2))
    assert any("is not known" in note for note in prior_report(result).notes)


# -- kill -9 -------------------------------------------------------------------------------------

COMMAND = [sys.executable, "-c", "from mnas_search.cli import main; main()"]


def run(*arguments, **environment):
    return subprocess.run(
        [*COMMAND, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=PATIENCE,
    )


def arguments(folder, **changes):
    options = {
        "target-flops": "40M",
        "space": SPACE,
        "evaluator": ENSEMBLE,
        "data": "digits",
        "prior": ENSEMBLE,
        "prior-recipe": "members=2,steps=30,networks=12",
        "workers": 0,
        "trials": 5,
        "output": folder,
        **changes,
    }
    return ["run", *(text for name, value in options.items() for text in (f"--{name}", value))]


def prior_and_rest(folder):
    """The events of the phase in any order, as several workers write them, and those after it."""
    found = without_sessions(folder)
    end = next(n for n, event in enumerate(found) if event["event"] == "prior")
    return sorted(map(json.dumps, found[: end + 1])), found[end + 1 :]


def check_same_journal(folder, whole, workers):
    prior, rest = prior_and_rest(folder)
    expected, after = prior_and_rest(whole)
    assert prior == expected
    # With several workers, the first proposal alone hears of no trial, only of the prior.
    assert rest[: 1 if workers else None] == after[: 1 if workers else None]


@pytest.fixture(scope="module", params=[0, 2])
def by_command(request, tmp_path_factory):
    """Workers, and the folder of a run of the command with as many, from beginning to end."""
    folder = tmp_path_factory.mktemp("command") / "run"
    done = run(*arguments(folder, workers=request.param))
    assert done.returncode == 0, done.stderr
    return request.param, folder


@pytest.mark.full
@pytest.mark.parametrize("kill", ["train 25", "train 55", "read 5", "read 23"])
def test_kill_9_and_resume_give_the_same_journal(by_command, tmp_path, kill):
    (workers, whole), folder, log = by_command, tmp_path / "run", tmp_path / "log"
    relative = os.path.relpath(folder)  # workers have other working directories
    killing = {"TRAINED_LOG": str(log), "KILL_PRIOR_AT": kill}
    if workers:  # the run's own process, and with it all workers
        starter = "import os; os.environ['KILL_PID'] = str(os.getpid());"
        command = [sys.executable, "-c", starter + " from mnas_search.cli import main; main()"]
        killed = subprocess.run(
            [*command, *map(str, arguments(relative, workers=workers))],
            capture_output=True,
            env={**os.environ, **killing},
            timeout=PATIENCE,
        )
    else:
        killed = run(*arguments(relative, workers=workers), **killing)
    assert killed.returncode == -signal.SIGKILL
    assert not of_kind(folder, "prior")
    done = run("resume", relative)
    assert done.returncode == 0, done.stderr

    check_same_journal(folder, whole, workers)


def kill_when(ready, *arguments):
    """Start a run in a process group of its own, and kill the group once something is there."""
    process = subprocess.Popen(
        [*COMMAND, *map(str, arguments)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    deadline = time.monotonic() + PATIENCE
    while not ready():
        assert process.poll() is None and time.monotonic() < deadline, process.stderr.read()
        time.sleep(0.02)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()


@pytest.mark.full
@pytest.mark.parametrize("workers", [0, 2])
def test_supernets_killed_in_training_readings_and_trials(tmp_path, workers):
    options = {
        "evaluator": "proxy_training",
        "prior": "supernet",
        "prior-recipe": "members=2,steps=100,networks=40,batch_size=32,reading_images=100",
        "proxy": "epochs=1,fraction=0.2",
        "baseline": "none",
        "trials": 4,
        "workers": workers,
    }
    whole, folder = tmp_path / "whole", tmp_path / "run"
    done = run(*arguments(whole, **options))
    assert done.returncode == 0, done.stderr

    def there(kind, count=1):
        return (folder / "journal.jsonl").exists() and len(of_kind(folder, kind)) >= count

    checkpoint = folder / "prior" / "member-0.pt"
    kill_when(checkpoint.exists, *arguments(folder, **options))
    assert not there("prior training", 2)
    kill_when(lambda: there("prior reading", 10), "resume", folder)
    assert not there("prior")
    kill_when(lambda: there("ask"), "resume", folder)
    done = run("resume", folder)
    assert done.returncode == 0, done.stderr
    check_same_journal(folder, whole, workers)


def test_a_run_with_supernets(tmp_path, run_cli):
    folder = tmp_path / "run"
    recipe = "members=2,steps=3,networks=6,batch_size=16,reading_images=50"
    options = {"prior": "supernet", "prior-recipe": recipe, "trials": 4}
    code, out, err = run_cli(*arguments(folder, **options))
    assert code == 0, err
    assert "another member" in out and "from counts" in out
    assert {file.name for file in (folder / "prior").iterdir()} == {"member-0.pt", "member-1.pt"}
    assert reopen(folder).readings.log_likelihoods.shape == (2, 6)


class Deep(SearchSpace):
    """Networks of one stage or two."""

    decisions = (Decision(name="stages", options=(1, 2)),)

    def decode(self, choices):
        whole = SmallSpace().template
        return replace(whole, stages=whole.stages[:1] * choices["stages"])


class Traced(SearchSpace):
    """Networks that are no chain of stages."""

    decisions = (Decision(name="key", options=("a", "b")),)

    def decode(self, choices):
        return TracedNetwork(build=tiny, key=choices["key"], resolution=32)


def tiny():
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten()
    )


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"space": f"{__file__}:Deep"}, "number of stages, got 1 and 2"),
        ({"space": f"{__file__}:Traced"}, "supernet requires networks of stages"),
        ({"prior-recipe": "width=0.01"}, "must keep the options of .* apart"),
        ({"prior-recipe": "size=3"}, "supernet must be NAME=NUMBER"),
        ({"prior-time": "1s"}, "prior_time must be at least"),
        ({"data": None}, "prior 'supernet' requires --data"),
        ({"controller": "ppo"}, "requires a controller that uses it"),
    ],
)
def test_what_supernets_refuse_is_one_line(tmp_path, run_cli, changes, says):
    folder = tmp_path / "run"
    options = {"prior": "supernet", "prior-recipe": "batch_size=16", **changes}
    given = {name: value for name, value in options.items() if value is not None}
    words = arguments(folder, **given)
    if "data" in changes:
        words[words.index("--data") : words.index("--data") + 2] = []
    code, out, err = run_cli(*words)
    assert code == 2 and out == ""
    assert re.search(says, err.splitlines()[-1])
    assert not folder.exists()
