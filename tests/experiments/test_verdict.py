"""The verdict on a user's data: the best of a search beside baselines."""

import json
import pickle
from dataclasses import replace

import numpy as np
import pytest
from evaluators_for_tests import by_params
from scipy import stats

from mnas_search import reference
from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.scaling import scale, widest
from mnas_search.common.errors import UsageError
from mnas_search.controllers.random_search import RandomSearch
from mnas_search.evaluators.proxy_training import ProxyTraining
from mnas_search.experiments.search.stages.baseline_comparison import (
    TOP,
    TRAININGS,
    BaselineComparison,
)
from mnas_search.nas.core import Search
from mnas_search.nas.evaluator import Evaluator
from mnas_search.nas.journal import Journal
from mnas_search.nas.objective import Objective
from mnas_search.nas.problem import problem
from mnas_search.nas.trial import Evaluation, Failure, rank
from mnas_search.search_spaces.efficientnet import EfficientNetSpace

OBJECTIVE = Objective(target=400e6)
B0 = reference.architecture("efficientnet_b0")


def drive(source, accuracy):
    count = 0
    while (work := source.next()) is not None:
        source.record(work, accuracy(work), 1.0)
        count += 1
    return count


@pytest.fixture
def journals(tmp_path):
    """Opens journals by name, and closes those that are open at the end."""
    opened = {}

    def open_journal(name):
        if name in opened:
            opened.pop(name).close()
        opened[name] = Journal(tmp_path / name)
        return opened[name]

    yield open_journal
    for journal in opened.values():
        journal.close()


def searched(journal, accuracy=by_params, seed=0):
    space = EfficientNetSpace()
    search = Search(
        space=space,
        objective=OBJECTIVE,
        controller=RandomSearch(problem(space, OBJECTIVE)),
        trials=6,
        seed=seed,
        journal=journal,
    )
    drive(search, lambda work: Evaluation(accuracy=accuracy(work.network)))
    return search


def judged(journal, search, random_baseline=None, baselines=(B0,)):
    return BaselineComparison(
        search,
        OBJECTIVE,
        baselines=baselines,
        random_baseline=random_baseline,
        seed=0,
        journal=journal,
    )


def noisy(work):
    """Better the more params; seeds differ, and the test split from the validation split."""
    rng = np.random.default_rng(work.seed)
    validation, test = np.clip(by_params(work.network) + rng.normal(0, 0.01, 2), 0, 1)
    return Evaluation(accuracy=validation, info={"test": float(test)})


def test_the_figures_by_hand(journals):
    search = searched(journals("search"))
    verdict = judged(journals("verdict"), search)
    assert verdict.improvements == () and verdict.winner is None
    assert drive(verdict.queue, noisy) == (TOP + 1) * TRAININGS
    candidates, (baseline,) = verdict.candidates, verdict.baselines
    best = sorted((t for t in search.trials if t.feasible), key=rank)[:TOP]
    assert {one.trial.number for one in candidates} == {trial.number for trial in best}
    rewards = [OBJECTIVE.reward(np.mean(one.validation), one.macs) for one in candidates]
    assert rewards == sorted(rewards, reverse=True)
    assert verdict.winner == candidates[0]

    # Each seed's winner is the best by the two other seeds.
    chosen = []
    for seed in range(TRAININGS):
        means = [
            OBJECTIVE.reward(np.mean(np.delete(one.validation, seed)), one.macs)
            for one in candidates
        ]
        chosen.append(candidates[np.argmax(means)].test[seed])
    (gain,) = verdict.improvements
    assert gain.difference == pytest.approx(np.mean(chosen) - np.mean(baseline.test))
    variance = np.mean([np.var(one.test, ddof=1) for one in (*candidates, baseline)])
    quantile = stats.t.ppf(0.975, 4 * (TRAININGS - 1))
    assert gain.margin == pytest.approx(quantile * np.sqrt(variance * 2 / TRAININGS))


@pytest.mark.parametrize(("lead", "beats"), [(0.2, True), (0.0, False), (-0.2, False)])
def test_what_is_said(journals, lead, beats):
    search = searched(journals("search"))
    verdict = judged(journals("verdict"), search)

    def outcome(work):
        mine = 0.5 + lead * (work.network != B0)
        luck = np.random.default_rng(work.seed).normal(0, 0.01)
        return Evaluation(accuracy=mine + luck, info={"test": mine + luck})

    drive(verdict.queue, outcome)
    (gain,) = verdict.improvements
    assert gain.shown is beats
    assert gain.difference == pytest.approx(lead, abs=0.03)


def test_two_equal_networks_are_hardly_ever_told_apart(journals):
    """The winner is a selected one; by itself that must not look like a gain. With a 95 % interval
    2.5 % false gains are expected: of 200, 15 or more have a chance of 0.0002."""
    search = searched(journals("search"))
    verdict = judged(journals("verdict"), search)
    drive(verdict.queue, noisy)
    false = 0
    rng = np.random.default_rng(0)
    for _ in range(200):
        for key, done in list(verdict.queue._results.items()):
            # Luck of a training shows on both splits alike.
            accuracy = float(0.5 + rng.normal(0, 0.01))
            verdict.queue._results[key] = replace(done, accuracy=accuracy, test=accuracy)
        false += verdict.improvements[0].shown
    assert false < 15


def test_failures_and_resume(journals):
    search = searched(journals("search"))
    best = min((t for t in search.trials if t.feasible), key=rank).fingerprint
    verdict = judged(journals("verdict"), search)

    def outcome(work):
        return Failure(reason="no") if work.network.fingerprint == best else noisy(work)

    drive(verdict.queue, outcome)
    assert verdict.winner.trial.fingerprint != best  # cannot be trained: cannot win
    again = judged(journals("verdict"), search)
    assert again.winner == verdict.winner
    assert drive(again.queue, noisy) == TRAININGS  # the failed ones alone
    assert again.candidates[0].validation


def test_a_random_search_beside(journals):
    search, drawn = searched(journals("search")), searched(journals("random"), seed=1)
    verdict = judged(journals("verdict"), search, drawn)
    drive(verdict.queue, noisy)
    assert [gain.over.label.split()[0] for gain in verdict.improvements] == [
        "efficientnet_b0",
        "random",
    ]
    assert len(verdict.random_candidates) == TOP


def within(objective, network):
    return objective.is_feasible({"macs": cost(network).macs})


@pytest.mark.parametrize("name", ["efficientnet_b0", "mobilenet_v2", "mnasnet_a1"])
@pytest.mark.parametrize("target", [30e6, 400e6, 1.5e9])
def test_baselines_fill_the_budget(name, target):
    network = widest(
        reference.architecture(name), lambda one: within(Objective(target=target), one)
    )
    assert cost(network).macs <= target
    width = float(network.label.partition(" x")[2] or 1)
    assert cost(scale(reference.architecture(name), width=width + 0.01)).macs > target


def test_no_width_is_small_enough():
    with pytest.raises(UsageError, match="no width of efficientnet_b0 is within the constraints"):
        widest(B0, lambda one: within(Objective(target=1e7), one))


def test_the_test_split_stays_at_home():
    evaluator = ProxyTraining()
    assert evaluator._held_out is not None
    travelled = pickle.loads(pickle.dumps(evaluator))
    assert travelled._held_out is None and travelled._test is None
    assert isinstance(evaluator.with_test_split(), Evaluator)
    assert pickle.loads(pickle.dumps(evaluator.with_test_split()))._test is not None


def test_rungs_keep_the_test_split():
    """Else a run with early stopping would end without a verdict."""
    evaluator = ProxyTraining(proxy="epochs=3,fraction=0.1,width=0.125").with_intermediate_reports(
        3
    )
    *rungs, result = evaluator.with_test_split().evaluate(B0, seed=0)
    assert [one.rung for one in rungs] == [1]
    assert 0 <= result.info["test"] <= 1


@pytest.mark.full
def test_a_run_on_data_ends_with_a_verdict(run_cli, tmp_path):
    folder = tmp_path / "run"
    options = (
        "--data",
        "digits",
        "--proxy",
        "epochs=1,fraction=0.2",
        "--workers",
        "0",
        "--trials",
        "4",
    )
    options += ("--controller", "random_search", "--baseline", "random", "--target-flops", "100M")
    code, out, _ = run_cli("run", *options, "--output", folder, "--format", "json")
    assert code == 0
    said = json.loads(out)["verdict"]
    assert [gain["over"].split()[0] for gain in said["gains"]] == [
        "efficientnet_b0",
        "mobilenet_v2",
        "mnasnet_a1",
        "random",
    ]
    assert all(one["macs"] <= 100e6 for one in said["networks"])
    assert "beats efficientnet_b0" in said["sentence"] or "use efficientnet_b0" in said["sentence"]
    best = json.loads((folder / "best.json").read_text())
    assert best["verdict"]["gains"] == said["gains"]
    assert best["trial"] == next(
        one["trial"] for one in said["networks"] if one["trial"] is not None
    )
    assert "need no search" in (folder / "report.html").read_text()
    journals = [(folder / name).read_bytes() for name in ("journal.jsonl", "random.jsonl")]

    code, _, err = run_cli("resume", folder)  # nothing is trained again
    assert code == 0, err
    after = [(folder / name).read_bytes() for name in ("journal.jsonl", "random.jsonl")]
    assert after[1] == journals[1]
    assert after[0].startswith(journals[0])
    assert after[0].count(b'"verdict"') == journals[0].count(b'"verdict"')


def test_baselines_that_cannot_be(run_cli):
    options = ("run", "--target-flops", "400M", "--baseline")
    for given, said in (
        (("banana",), "baseline must be random, got 'banana'"),
        (("random",), "with a test split, such as proxy_training, got 'accel_nasbench'"),
        (
            ("random", "--data", "digits", "--time-budget", "5m"),
            "requires a number of trials and no time budget",
        ),
    ):
        code, _, err = run_cli(*options, *given)
        assert code == 2 and said in err
