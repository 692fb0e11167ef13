"""Second opinions, warm starts, priors, and the default run."""

import json
import os
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from evaluators_for_tests import Cheap, Contrary, by_params
from runs import PATIENCE
from toy_search import OBJECTIVE, Scripted, codes_of, finish, make

from mnas_search import reference
from mnas_search.architecture.cost.count import cost
from mnas_search.common import plugins
from mnas_search.common.errors import UsageError
from mnas_search.controllers.bayesian import Bayesian
from mnas_search.data import load
from mnas_search.experiments.search.config import RunConfig, Setup
from mnas_search.experiments.search.stages.finalist_check import (
    FINALISTS,
    TRAININGS,
    FinalistCheck,
)
from mnas_search.nas.journal import Journal
from mnas_search.nas.problem import problem
from mnas_search.nas.space.choices import decode, encode, sample_codes
from mnas_search.nas.trial import Evaluation, Failure, Trial
from mnas_search.testing import ToySpace

HERE = Path(__file__).parents[1]
CONTROLLERS = [p.name for p in plugins.installed("controllers")]


def events(folder, kind=None):
    lines = (folder / "journal.jsonl").read_text().splitlines()
    every = [json.loads(line) for line in lines]
    return [e for e in every if kind in (None, e["event"])]


# -- finals -------------------------------------------------------------------------------------


def searched(journal, numbers):
    search = make(journal, Scripted(codes_of(*numbers)), trials=len(numbers))
    while (work := search.next()) is not None:
        search.record(work, Evaluation(accuracy=by_params(work.network)), 1.0)
    return search


def finals_of(search, journal, baseline=None):
    return FinalistCheck(
        search,
        OBJECTIVE,
        searched=Cheap(),
        check=Contrary(),
        baseline=baseline,
        seed=0,
        journal=journal,
    )


def train(finals, outcome):
    while (work := finals.queue.next()) is not None:
        finals.queue.record(work, outcome(work), 1.0)


NUMBERS = [0, 1, 2, 5, 20, 40, 60, 80, 100]


def test_finalists_are_the_searchs_best_and_the_check_decides(tmp_path):
    with Journal(tmp_path / "journal.jsonl") as journal:
        search = searched(journal, NUMBERS)
        finals = finals_of(search, journal)
        within = sorted((t for t in search.trials if t.feasible), key=lambda t: -t.reward)
        assert len(within) > FINALISTS
        numbers = sorted(f.trial.number for f in finals.finalists)
        assert numbers == sorted(t.number for t in within[:FINALISTS])
        rewards = [OBJECTIVE.reward(1 - by_params(f.network), f.macs) for f in finals.finalists]
        assert rewards == sorted(rewards, reverse=True)
        assert finals.winner.trial == finals.finalists[0].trial != search.best


def test_a_finalist_that_does_not_train_is_vetoed_and_none_chosen_for_training(tmp_path):
    with Journal(tmp_path / "journal.jsonl") as journal:
        baseline = ToySpace().template
        finals = finals_of(searched(journal, NUMBERS), journal, baseline)
        first, second, third, *rest = (f.network.fingerprint for f in finals.finalists)
        accuracies = {first: 0.44, third: 1.0, baseline.fingerprint: 0.9, **dict.fromkeys(rest, 1)}

        def outcome(work):
            if work.network.fingerprint == second:
                return Failure(reason="diverged")
            return Evaluation(accuracy=accuracies[work.network.fingerprint])

        train(finals, outcome)
        assert finals.queue.finished
        assert [f.network.fingerprint for f in finals.vetoed] == [first, second]
        assert finals.winner.network.fingerprint == third  # the best by the check of those left
        assert finals.baseline.trained == pytest.approx(0.9)


def test_trainings_that_are_journalled_are_not_repeated(tmp_path):
    with Journal(tmp_path / "journal.jsonl") as journal:
        finals = finals_of(searched(journal, NUMBERS), journal, ToySpace().template)
        for _ in range(3):
            finals.queue.record(finals.queue.next(), Evaluation(accuracy=0.5), 1.0)
    before = [e["seed"] for e in events(tmp_path, "final")]
    with Journal(tmp_path / "journal.jsonl") as journal:
        search = make(journal, Scripted(codes_of(*NUMBERS)), trials=len(NUMBERS))
        finals = finals_of(search, journal, ToySpace().template)
        train(finals, lambda work: Evaluation(accuracy=0.6))
    seeds = [e["seed"] for e in events(tmp_path, "final")]
    assert seeds[:3] == before
    assert len(seeds) == len(set(seeds)) == TRAININGS * (FINALISTS + 1)


def test_where_the_baseline_fails_too_nobody_is_vetoed_and_a_resume_tries_again(tmp_path):
    with Journal(tmp_path / "journal.jsonl") as journal:
        finals = finals_of(searched(journal, NUMBERS), journal, ToySpace().template)
        train(finals, lambda work: Failure(reason="out of memory"))
        assert finals.vetoed == ()
        assert finals.winner is not None
    with Journal(tmp_path / "journal.jsonl") as journal:
        search = make(journal, Scripted(codes_of(*NUMBERS)), trials=len(NUMBERS))
        finals = finals_of(search, journal, ToySpace().template)
        train(finals, lambda work: Evaluation(accuracy=0.6))
        assert finals.queue.finished
        assert all(one.trained == pytest.approx(0.6) for one in finals.finalists)


class Moody(Contrary):
    """Fails on one network, refuses another."""

    def __init__(self, fails, refuses):
        self.fails, self.refuses = fails, refuses

    def evaluate(self, network, *, seed):
        if network.fingerprint == self.fails:
            raise ValueError("boom")
        if network.fingerprint == self.refuses:
            raise UsageError("of another space")
        yield from super().evaluate(network, seed=seed)


def test_a_network_without_a_second_opinion_is_left_out(tmp_path):
    with Journal(tmp_path / "journal.jsonl") as journal:
        search = searched(journal, NUMBERS)
        baseline = ToySpace().template
        finals = FinalistCheck(
            search,
            OBJECTIVE,
            searched=Cheap(),
            check=Moody(search.best.fingerprint, baseline.fingerprint),
            baseline=baseline,
            seed=0,
            journal=journal,
        )
        assert len(finals.finalists) == FINALISTS - 1
        assert search.best not in [one.trial for one in finals.finalists]
        assert finals.baseline is None
        train(finals, lambda work: Evaluation(accuracy=0.6))
    assert len(events(tmp_path, "final")) == TRAININGS * (FINALISTS - 1)


def test_a_baseline_that_is_a_finalist_is_trained_once(tmp_path):
    with Journal(tmp_path / "journal.jsonl") as journal:
        search = searched(journal, NUMBERS)
        best = search.network(search.best)
        finals = finals_of(search, journal, best)
        train(finals, lambda work: Evaluation(accuracy=0.6))
    assert len(events(tmp_path, "final")) == TRAININGS * FINALISTS


# -- warm starts --------------------------------------------------------------------------------


def known(number):
    space = ToySpace()
    codes = codes_of(number)[0]
    choices = {d.name: d.options[c] for d, c in zip(space.decisions, codes, strict=True)}
    network = space.decode(choices)
    return Trial(
        number=99,
        choices=choices,
        fingerprint=network.fingerprint,
        status="ok",
        accuracy=0.9,
        costs={"macs": cost(network).macs, "params": cost(network).params},
        reward=None,
        feasible=True,
        seconds=7.0,
    )


def test_a_warm_start_is_learnt_from_can_win_and_costs_no_budget(tmp_path):
    with Journal(tmp_path / "journal.jsonl") as journal:
        controller = Scripted(codes_of(9, 9, 1, 2))  # the first two stand for what it is given
        search = make(journal, controller, trials=3)
        search.warm_start([known(40).choices], [known(0)])
        assert len(controller.resumed) == len(controller.told) == 1
        first = search.next()
        assert search.choices(first) == known(40).choices
        finish(search, first)
        while (work := search.next()) is not None:
            finish(search, work)
        assert search.done == 3
        assert len(search.trials) == 4
        assert search.best.number == 0  # 0.9 beats what the toy gives
        assert search.best.reward == pytest.approx(OBJECTIVE.reward(0.9, search.best.macs))


def test_a_warm_start_survives_a_cut_anywhere(tmp_path):
    def play(folder):
        with Journal(folder / "journal.jsonl") as journal:
            search = make(journal, Bayesian(problem(ToySpace(), OBJECTIVE), first=3), trials=8)
            if not journal.events:
                search.warm_start([known(40).choices, known(50).choices], [known(0), known(9)])
            while (work := search.next()) is not None:
                finish(search, work)
        return [{k: v for k, v in e.items() if k != "time"} for e in events(folder)]

    (tmp_path / "whole").mkdir()
    whole = play(tmp_path / "whole")
    lines = (tmp_path / "whole" / "journal.jsonl").read_text().splitlines(keepends=True)
    for cut in (1, 2, 3, 6, len(lines) - 1):
        folder = tmp_path / f"cut-{cut}"
        folder.mkdir()
        (folder / "journal.jsonl").write_text("".join(lines[:cut]))
        assert play(folder) == whole


def run_arguments(output, *more):
    evaluator = f"{HERE / 'evaluators_for_tests.py'}:brisk"
    base = ["run", "--target-flops", "400M", "--output", output, "--workers", 0, "--trials", 6]
    return [*base, "--evaluator", evaluator, *more]


def test_start_from_architectures_and_runs(run_cli, tmp_path):
    one, two = tmp_path / "one", tmp_path / "two"
    code, _, err = run_cli(*run_arguments(one, "--start-from", "efficientnet_b0"))
    assert code == 0, err
    first = events(one, "ask")[0]
    assert first["fingerprint"] == reference.architecture("efficientnet_b0").fingerprint
    code, _, err = run_cli(*run_arguments(two, "--start-from", one, "--seed", 1))
    assert code == 0, err
    (start,) = events(two, "warm start")
    assert len(start["known"]) == 6
    assert len((two / "trials.csv").read_text().splitlines()) == 1 + 12
    # The earlier run may go; the later one has what it needs.
    for file in one.iterdir():
        if file.is_file():
            file.unlink()
    code, _, err = run_cli("resume", two, "--trials", 8)
    assert code == 0, err


@pytest.mark.parametrize(
    ("start", "says"),
    [
        ("efficientnet_b1000", "unknown architecture 'efficientnet_b1000'"),
        (" ".join(["ir_r1_k3_s1_e6_c320"] * 20), "start from"),
        ("mobilenet_v2", "start from 'mobilenet_v2': stage 2 is not in the space"),
        (".", "is no run's folder"),
    ],
)
def test_what_cannot_be_started_from(run_cli, tmp_path, start, says):
    code, _, err = run_cli(*run_arguments(tmp_path / "new", "--start-from", start))
    assert code == 2
    assert says in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "new").exists()


def test_accuracies_of_another_evaluator_are_refused(run_cli, tmp_path):
    assert run_cli(*run_arguments(tmp_path / "one"))[0] == 0
    other = f"{HERE / 'evaluators_for_tests.py'}:by_params"
    code, _, err = run_cli(
        *run_arguments(tmp_path / "two", "--start-from", tmp_path / "one"), "--evaluator", other
    )
    assert code == 2
    assert "evaluator of the run" in err
    assert not (tmp_path / "two").exists()


# -- what a run's problem knows ---------------------------------------------------------------


def test_a_problem_knows_its_blocks_and_the_images_that_accuracies_are_counted_on():
    trained = Setup(RunConfig(target_flops=400e6, data="digits"))
    assert trained.problem.validation_images == len(load("digits", side=8).validation.labels)
    codes = sample_codes(trained.space.decisions, 5, np.random.default_rng(0))
    networks = [trained.space.decode(decode(trained.space.decisions, row)) for row in codes]
    repeats = [sum(stage.repeats for stage in network.stages) for network in networks]
    assert trained.problem.blocks(codes).tolist() == repeats
    brisk = RunConfig(target_flops=400e6, evaluator=f"{HERE / 'evaluators_for_tests.py'}:brisk")
    assert Setup(brisk).problem.validation_images is None


# -- priors -------------------------------------------------------------------------------------


def test_a_prior_is_a_scale_plus_a_residual():
    """Where accuracies are half the prior plus a constant, a few trials give the whole."""
    setup = Setup(RunConfig(target_flops=400e6, prior="accel_nasbench", data="digits"))
    controller = Bayesian(setup.problem)
    rng = np.random.default_rng(0)
    codes = sample_codes(setup.space.decisions, 60, rng)
    truth = 0.2 + 0.5 * setup.problem.prior(codes)
    plain = Bayesian(problem(setup.space, setup.objective))
    for number in range(20):
        trial = Trial(
            number=number,
            choices=decode(setup.space.decisions, codes[number]),
            fingerprint=str(number),
            status="ok",
            accuracy=float(truth[number] + 0.002 * rng.normal()),
            costs={"macs": 1, "params": 1},
            reward=0.0,
            feasible=True,
            seconds=0.0,
        )
        controller.tell(trial)
        plain.tell(trial)
    errors = [
        np.sqrt(((c.estimate(codes[20:]) - truth[20:]) ** 2).mean()) for c in (controller, plain)
    ]
    assert errors[0] < 0.003
    assert errors[0] < 0.5 * errors[1]


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"controller": "tpe"}, "requires a controller that uses it"),
        ({"space": "mnasnet"}, "must be an evaluator with predictions for this search space"),
    ],
)
def test_priors_that_cannot_be(options, says):
    with pytest.raises(UsageError, match=says):
        Setup(RunConfig(target_flops=400e6, data="digits", prior="accel_nasbench", **options))


# -- the default run ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("options", "says"),
    [
        (
            ["--space", "mnasnet"],
            "was not recorded by Accel-NASBench: stage 0 is not in the space",
        ),
        (["--resolution", 192], "resolution must be 224, got 192"),
        (["--num-classes", 10], "num_classes must be 1000, got 10"),
        (
            ["--data", "digits"],
            "data 'digits' requires an evaluator that takes data, got AccelNasBench",
        ),
    ],
)
def test_what_the_evidence_knows_nothing_of_is_refused_before_a_folder(
    run_cli, tmp_path, options, says
):
    code, out, err = run_cli(
        *("run", "--target-flops", "400M", "--evaluator", "accel_nasbench"),
        *("--output", tmp_path / "new", *options),
    )
    assert (code, out) == (2, "")
    assert says in err
    assert len(err.splitlines()) == 1
    assert not (tmp_path / "new").exists()


def test_what_a_run_searches_by_where_nothing_is_said():
    assert Setup(RunConfig(target_flops=400e6)).config.evaluator == "accel_nasbench"
    for options in (
        {"data": "digits"},
        {"space": "mnasnet"},
        {"resolution": 192},
        {"num_classes": 10},
    ):
        setup = Setup(RunConfig(target_flops=400e6, **options))
        assert setup.config.evaluator == "proxy_training"
        assert setup.check is None


@pytest.mark.full
def test_the_default_run_survives_a_kill_in_its_finals(tmp_path):
    """The real thing: evidence, second opinion, trainings over Ray, family, export."""
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "mnas_search"]
    start = [*command, "run", "--target-flops", "400M", "--trials", "20", "--output", folder]
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            list(map(str, start)), stdout=log, stderr=log, start_new_session=True
        )
        deadline = time.monotonic() + PATIENCE
        while time.monotonic() < deadline and process.poll() is None:
            if (folder / "journal.jsonl").exists() and len(events(folder, "final")) >= 2:
                break
            time.sleep(0.2)
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()
    before = (folder / "journal.jsonl").read_text()
    before = before[: before.rfind("\n") + 1]
    assert '"final"' in before, (tmp_path / "log").read_text()[-2000:]
    done = subprocess.run(
        [*command, "resume", str(folder), "--format", "json"],
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-2000:]
    assert (folder / "journal.jsonl").read_text().startswith(before)
    finals = events(folder, "final")
    assert len(finals) == len({e["seed"] for e in finals}) == TRAININGS * (FINALISTS + 1)
    summary = json.loads(done.stdout)
    best = json.loads((folder / "best.json").read_text())
    assert best["trial"] == summary["best"]["trial"] == summary["finalists"][0]["trial"]
    assert best["check"]["reward"] == max(f["reward"] for f in summary["finalists"])
    assert best["macs"] <= 400e6
    assert summary["baseline"]["architecture"] == "efficientnet_b0"
    assert len(summary["baseline"]["trainings"]) == TRAININGS
    assert len(summary["family"]) == 8
    assert (folder / "export" / "model.py").exists()


@pytest.mark.full
@pytest.mark.parametrize("controller", CONTROLLERS)
def test_kill_and_resume_with_every_controller(tmp_path, run_cli, controller):
    """kill -9 in the middle; the journal continues as one that was never interrupted."""
    options = ["--controller", controller, "--trials", "40"]
    killed, whole = tmp_path / "killed", tmp_path / "whole"
    command = [sys.executable, "-m", "mnas_search", *map(str, run_arguments(killed, *options))]
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline and process.poll() is None:
        if (killed / "journal.jsonl").exists() and len(events(killed, "tell")) >= 16:
            break
        time.sleep(0.02)
    process.kill()
    process.wait()
    assert 16 <= len(events(killed, "tell")) < 40
    assert run_cli("resume", killed)[0] == 0
    assert run_cli(*run_arguments(whole, *options))[0] == 0

    def timeless(folder):
        drop = ("time", "seconds")
        return [
            {k: v for k, v in e.items() if k not in drop}
            for e in events(folder)
            if e["event"] != "session"
        ]

    assert timeless(killed) == timeless(whole)


@pytest.mark.parametrize("start", [True, False])
def test_bayesian_finds_every_network_of_a_small_space(tmp_path, start):
    """All that are within the target, before it repeats itself."""
    space, objective = ToySpace(), OBJECTIVE
    every = np.array(list(np.ndindex(3, 2, 3, 2, 3, 2)))
    given = problem(space, objective)
    within = [tuple(row) for row in every[given.costs(every)["macs"] <= 350e3].tolist()]
    tight = replace(given, objective=replace(objective, target=350e3))
    controller = Bayesian(tight, start=start)
    asked = []
    for k in range(len(within)):
        choices = controller.ask(np.random.default_rng(k))
        asked.append(encode(space.decisions, choices))
        controller.tell(replace(known(0), choices=choices, accuracy=0.5 + 0.01 * (k % 7)))
    assert 12 < len(within) < 216
    assert set(asked) == set(within)
