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
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import UsageError
from mnas_search.common.statistics import wilson
from mnas_search.controllers.random_search import RandomSearch
from mnas_search.evaluators.proxy_training import ProxyTraining
from mnas_search.experiments.resolve import resolve_architecture
from mnas_search.experiments.search.recommendation import read_recommended
from mnas_search.experiments.search.result import Figures
from mnas_search.experiments.search.stages import held_out as stage
from mnas_search.experiments.search.stages.baseline_comparison import (
    TOP,
    TRAININGS,
    Baseline,
    BaselineComparison,
)
from mnas_search.experiments.search.stages.held_out import HeldOutTest
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
        baselines=[Baseline(network=network) for network in baselines],
        random_baseline=random_baseline,
        seed=0,
        journal=journal,
    )


def held_out(journal, verdict):
    return HeldOutTest(verdict, seed=0, journal=journal)


def noisy(work):
    """Better the more params; seeds differ."""
    rng = np.random.default_rng(work.seed)
    return Evaluation(accuracy=np.clip(by_params(work.network) + rng.normal(0, 0.01), 0, 1))


def measured(work):
    """The same on a validation split, and on 50 images of a test split."""
    evaluation = noisy(work)
    rng = np.random.default_rng(work.seed)
    correct = tuple((rng.random(50) < evaluation.accuracy).tolist())
    return replace(evaluation, info={"test": float(np.mean(correct))}, correct=correct)


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
        chosen.append(candidates[np.argmax(means)].validation[seed])
    (gain,) = verdict.improvements
    assert gain.difference == pytest.approx(np.mean(chosen) - np.mean(baseline.validation))
    variance = np.mean([np.var(one.validation, ddof=1) for one in (*candidates, baseline)])
    quantile = stats.t.ppf(0.975, 4 * (TRAININGS - 1))
    assert gain.margin == pytest.approx(quantile * np.sqrt(variance * 2 / TRAININGS))
    assert verdict.margin == pytest.approx(quantile * np.sqrt(variance / TRAININGS))


@pytest.mark.parametrize(("lead", "beats"), [(0.2, True), (0.0, False), (-0.2, False)])
def test_what_is_said_and_recommended(journals, lead, beats):
    search = searched(journals("search"))
    verdict = judged(journals("verdict"), search)

    def outcome(work):
        mine = 0.5 + lead * (work.network != B0)
        luck = np.random.default_rng(work.seed).normal(0, 0.01)
        return Evaluation(accuracy=mine + luck)

    drive(verdict.queue, outcome)
    (gain,) = verdict.improvements
    assert gain.shown is beats
    assert gain.difference == pytest.approx(lead, abs=0.03)
    if lead:
        assert verdict.recommended == (verdict.winner if beats else verdict.baselines[0])
    else:  # as good: the cheaper one
        assert verdict.recommended.macs == min(verdict.winner.macs, cost(B0).macs)


# -- the test split -----------------------------------------------------------------------------


MOBILENET = reference.architecture("mobilenet_v2")


def test_only_the_recommended_network_and_the_best_baseline_are_tested(journals):
    search, journal = searched(journals("search")), journals("verdict")
    verdict = judged(journal, search, baselines=(B0, MOBILENET))
    test = held_out(journal, verdict)

    def luckless(work):  # the winner first, B0 second
        lead = {B0.fingerprint: -0.2, MOBILENET.fingerprint: -0.4}
        accuracy = 0.7 + lead.get(work.network.fingerprint, 0.0) + 0.01 * (work.seed % 3)
        return Evaluation(accuracy=accuracy)

    before = []
    while (work := verdict.queue.next()) is not None:
        assert not verdict.complete and verdict.recommended is None and verdict.winner is None
        before.append(work.seed)
        verdict.queue.record(work, luckless(work), 1.0)
    assert verdict.complete and verdict.recommended == verdict.winner
    assert verdict.best_baseline.network == B0
    assert test.of(verdict.winner) is None and test.difference is None
    assert not any("test" in json.loads(line) for line in lines(journal))

    seen = []

    def keep(work):
        seen.append(work)
        return measured(work)

    assert drive(test.queue, keep) == 2 * TRAININGS
    assert {one.network.fingerprint for one in seen} == {
        verdict.winner.network.fingerprint,
        B0.fingerprint,
    }
    assert not {one.seed for one in seen} & set(before)
    assert test.of(verdict.candidates[1]) is None

    # A difference is over seeds and paired images.
    mine, theirs = test.of(verdict.winner), test.of(verdict.best_baseline)
    right = {
        name: np.array([measured(work).correct for work in seen if work.network == network])
        for name, network in (("winner", verdict.winner.network), ("B0", B0))
    }
    one, two = right["winner"].astype(float), right["B0"].astype(float)
    assert mine.accuracy.value == pytest.approx(one.mean())
    images = (one.mean(axis=0) - two.mean(axis=0)).var(ddof=1) / 50
    seeds = [rows.mean(axis=1).var(ddof=1) / TRAININGS for rows in (one, two)]
    total = images + sum(seeds)
    freedom = total**2 / (images**2 / 49 + sum(s**2 for s in seeds) / (TRAININGS - 1))
    expected = stats.t.ppf(0.975, freedom) * np.sqrt(total)
    assert test.difference.value == pytest.approx(one.mean() - two.mean())
    assert test.difference.margin == pytest.approx(expected)
    assert test.difference == mine.minus(theirs)


def lines(journal):
    return journal._path.read_text().splitlines()


def test_a_recommended_baseline_is_tested_alone_and_a_resume_tests_nothing_again(journals):
    search = searched(journals("search"))
    verdict = judged(journals("verdict"), search)

    def outcome(work):
        return Evaluation(accuracy=0.5 + 0.3 * (work.network == B0) + 0.01 * (work.seed % 2))

    drive(verdict.queue, outcome)
    test = held_out(journals("test"), verdict)
    assert verdict.recommended == verdict.best_baseline
    assert drive(test.queue, measured) == TRAININGS
    assert test.difference is None
    again = held_out(journals("test"), verdict)
    assert drive(again.queue, measured) == 0
    found, first = again.of(verdict.recommended), test.of(verdict.recommended)
    assert found.accuracy == first.accuracy
    assert (found.by_image == first.by_image).all()


def test_journals_that_tested_every_network_are_read(journals):
    """As they were written before: `test` in the events of the comparison, no images."""
    search, journal = searched(journals("search")), journals("verdict")
    verdict = judged(journal, search)
    drive(verdict.queue, lambda work: replace(measured(work), correct=None))
    test = held_out(journal, verdict)
    assert drive(test.queue, measured) == 0
    found = test.of(verdict.recommended)
    results = verdict.old_tests(verdict.recommended.network)
    assert found.accuracies == tuple(one.test for one in results)
    assert found.by_image is None
    bounds = stats.ttest_1samp(found.accuracies, 0.0).confidence_interval(0.95)
    assert (found.accuracy.low, found.accuracy.high) == pytest.approx((bounds.low, bounds.high))


def test_the_interval_of_an_accuracy_lies_within_0_and_1_and_has_a_width():
    perfect = stage.Tested(accuracies=(1.0,) * 3, by_image=np.ones(60)).accuracy
    assert (perfect.value, perfect.low, perfect.high) == (1.0, *wilson(60, 60))
    wrong = stage.Tested(accuracies=(0.0,) * 3, by_image=np.zeros(60)).accuracy
    assert (wrong.low, wrong.high) == wilson(0, 60)
    shares = np.ones(60)
    shares[0] = 0.0
    near = stage.Tested(accuracies=(0.95, 1.0, 1.0), by_image=shares).accuracy
    assert 0.9 < near.low < near.value < near.high == 1.0
    figures = Figures(accuracy=0.98, reward=1.0, margin=0.04)
    assert figures.interval == (pytest.approx(0.94), 1.0)


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
            accuracy = float(0.5 + rng.normal(0, 0.01))
            verdict.queue._results[key] = replace(done, accuracy=accuracy)
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


def events(folder, kind):
    lines = (folder / "journal.jsonl").read_text().splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == kind]


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
    best = json.loads((folder / "best.json").read_text())
    assert best["verdict"]["gains"] == said["gains"]
    validation = next(n["validation"] for n in said["networks"] if n["trial"] == best["trial"])
    assert best["accuracy"] == pytest.approx(np.mean(validation))
    assert best["searched"]["accuracy"] in [t["accuracy"] for t in events(folder, "tell")]
    found = read_recommended(folder)
    assert said["test"]["recommended"]["mean"] == pytest.approx(found.test)
    assert found.interval[0] < found.test < found.interval[1]
    tests = events(folder, "test")
    assert len(tests) in (TRAININGS, 2 * TRAININGS)
    assert not any("test" in event for event in events(folder, "verdict"))
    shown = f"use {'the winner' if found.source == 'winner' else found.name}"
    assert said["sentence"].startswith(shown)
    taken = resolve_architecture(str(folder))
    assert taken.fingerprint == found.architecture.fingerprint
    family = json.loads((folder / "family" / "run-b0.json").read_text())
    assert Architecture.from_dict(family).stages == taken.stages
    winner = resolve_architecture(str(folder / "best.json"))
    assert winner.fingerprint == best["fingerprint"]
    assert best["trial"] == next(
        one["trial"] for one in said["networks"] if one["trial"] is not None
    )
    page = (folder / "report.html").read_text()
    assert "need no search" in page
    assert page.count('class="violet diamond"') == page.count('class="violet bar"') == 3
    assert page.count('class="orange bar"') == 1
    journals = [(folder / name).read_bytes() for name in ("journal.jsonl", "random.jsonl")]

    code, _, err = run_cli("resume", folder)  # nothing is trained again
    assert code == 0, err
    after = [(folder / name).read_bytes() for name in ("journal.jsonl", "random.jsonl")]
    assert after[1] == journals[1]
    assert after[0].startswith(journals[0])
    for event in (b'"event": "verdict"', b'"event": "test"'):
        assert after[0].count(event) == journals[0].count(event)


def test_baselines_that_cannot_be(run_cli):
    options = ("run", "--target-flops", "400M", "--baseline")
    for given, said in (
        (("banana",), "baseline must be random or none, got 'banana'"),
        (("random",), "with a test split, such as proxy_training, got 'accel_nasbench'"),
        (
            ("random", "--data", "digits", "--time-budget", "5m"),
            "requires a number of trials and no time budget",
        ),
    ):
        code, _, err = run_cli(*options, *given)
        assert code == 2 and said in err
