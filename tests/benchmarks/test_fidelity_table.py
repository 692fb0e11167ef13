"""`bench fidelity`: tau and regret against values computed otherwise, resume, the command."""

import itertools
import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy.stats import kendalltau

from mnas_search.benchmarks.fidelity import running
from mnas_search.benchmarks.fidelity.agreement import Judge, Predictions
from mnas_search.benchmarks.fidelity.macro import recorded
from mnas_search.benchmarks.fidelity.phases import controls, members, training_recipe
from mnas_search.benchmarks.fidelity.place import Place
from mnas_search.benchmarks.fidelity.predictor import of_readings
from mnas_search.benchmarks.fidelity.settings import MACRO, SCORES, Settings, confirm_settings
from mnas_search.benchmarks.fidelity.short_trainings import stopped_early
from mnas_search.benchmarks.fidelity.store import JOURNAL, Store
from mnas_search.benchmarks.fidelity.subject import make_subject
from mnas_search.benchmarks.fidelity.supernets import SupernetReading, SupernetTraining
from mnas_search.benchmarks.fidelity.tasks import Scoring
from mnas_search.benchmarks.fidelity.tuning import tuned
from mnas_search.benchmarks.ranking import scores
from mnas_search.common.errors import UsageError

TARGETS = (30.0, 60.0, 90.0)
SMALL = Settings(
    networks=6,
    trained=4,
    scores=("snip",),
    proxies=("epochs=1",),
    trainings=(0.5,),
    supernet="width=0.125,batch_size=32",
    budgets=(0.3, 0.6),
    supernets=2,
    images=40,
    tuned=2,
    told=(4,),
    total=20.0,
    draws=2,
)


@pytest.fixture(scope="module")
def made_up():
    """Thirty networks: accuracies, multiply-adds, blocks, and predictions by two groups."""
    rng = np.random.default_rng(0)
    accuracy = rng.uniform(0.5, 0.9, 30)
    macs, blocks = rng.integers(10, 100, 30), rng.integers(0, 4, 30)
    values = accuracy + rng.normal(0, 0.1, (2, 30))
    return accuracy, macs, blocks, values


def judge(accuracy, macs, blocks, count=200):
    return Judge(accuracy, macs=macs, blocks=blocks, targets=TARGETS, count=count)


# Agreement


def pairs_tau(values, truth, pairs):
    """Concordant less discordant pairs, where nothing is tied."""
    signs = [np.sign((values[i] - values[j]) * (truth[i] - truth[j])) for i, j in pairs]
    return np.mean(signs)


def test_tau_is_the_mean_of_scipys_over_groups(made_up):
    accuracy, macs, blocks, values = made_up
    found = judge(accuracy, macs, blocks).agreement(Predictions.untold(values))
    taus = [kendalltau(own, accuracy).statistic for own in values]
    assert found.all.value == pytest.approx(np.mean(taus))
    assert found.all.low < found.all.value < found.all.high
    assert found.networks == 30


def test_parts_are_pairs_of_alike_networks(made_up):
    accuracy, macs, blocks, values = made_up
    found = judge(accuracy, macs, blocks).agreement(Predictions.untold(values[:1]))
    every = list(itertools.combinations(range(30), 2))
    better = accuracy >= np.median(accuracy)
    fifth = np.argsort(np.argsort(macs, kind="stable")) * 5 // 30
    for name, chosen in {
        "top": lambda i, j: better[i] and better[j],
        "quintiles": lambda i, j: fifth[i] == fifth[j],
        "depth": lambda i, j: blocks[i] == blocks[j],
    }.items():
        own = pairs_tau(values[0], accuracy, [pair for pair in every if chosen(*pair)])
        assert getattr(found, name).value == pytest.approx(own)


def test_networks_that_were_told_are_in_no_tau(made_up):
    accuracy, macs, blocks, values = made_up
    told = np.zeros((1, 1, 30), bool)
    told[..., :10] = True
    cheating = np.where(told, 1 - accuracy, values[:1, None])
    found = judge(accuracy, macs, blocks).agreement(Predictions(values=cheating, told=told))
    expected = kendalltau(values[0, 10:], accuracy[10:]).statistic
    assert found.all.value == pytest.approx(expected)


def test_networks_without_a_prediction_leave_no_regret(made_up):
    accuracy, macs, blocks, values = made_up
    partly = np.where(np.arange(30) < 20, values[:1], np.nan)
    found = judge(accuracy, macs, blocks).agreement(Predictions.untold(partly))
    assert (found.networks, found.regret) == (20, None)
    assert found.all.value == pytest.approx(kendalltau(values[0, :20], accuracy[:20]).statistic)


def test_regret_is_what_the_best_within_each_target_has_more(made_up):
    accuracy, macs, blocks, values = made_up
    found = judge(accuracy, macs, blocks).agreement(Predictions.untold(values[:1]))
    lost = []
    for target in TARGETS:
        within = np.flatnonzero(macs <= target)
        taken = within[values[0, within].argmax()]
        lost.append(accuracy[within].max() - accuracy[taken])
    assert found.regret.value == pytest.approx(100 * np.mean(lost))
    perfect = judge(accuracy, macs, blocks).agreement(Predictions.untold(accuracy[None]))
    assert (perfect.all.value, perfect.regret.value, perfect.regret.high) == (1, 0, 0)


def test_equal_predictions_rank_nothing_and_are_taken_equally_often(made_up):
    accuracy, macs, blocks, _ = made_up
    found = judge(accuracy, macs, blocks).agreement(Predictions.untold(np.ones((1, 30))))
    assert (found.all.value, found.all.high) == (0, 0)
    within = [accuracy[macs <= target] for target in TARGETS]
    expected = 100 * np.mean([own.max() - own.mean() for own in within])
    assert found.regret.value == pytest.approx(expected)


def test_a_difference_is_over_the_networks_that_both_predict(made_up):
    accuracy, macs, blocks, values = made_up
    by = judge(accuracy, macs, blocks)
    partly = Predictions.untold(np.where(np.arange(30) < 20, accuracy, np.nan)[None])
    other = Predictions.untold(values[:1])
    found = by.difference(partly, other)
    expected = 1 - kendalltau(values[0, :20], accuracy[:20]).statistic
    assert found.value == pytest.approx(expected)
    assert found.above_zero
    same = by.difference(other, other)
    assert (same.value, same.low, same.high) == (0, 0, 0)


def test_supernets_that_disagree_widen_the_interval(made_up):
    accuracy, macs, blocks, values = made_up
    by = judge(accuracy, macs, blocks)
    alike = by.agreement(Predictions.untold(np.stack([values[0], values[0]])))
    unlike = by.agreement(Predictions.untold(np.stack([accuracy, -accuracy])))
    assert unlike.all.value == pytest.approx(0)
    assert unlike.all.margin > 0.9
    assert alike.all.margin < 0.3


# Settings and networks


def test_settings_are_json():
    assert Settings.from_json(SMALL.to_json()) == SMALL
    with pytest.raises(UsageError, match="settings must have known names, got 'colour'"):
        Settings.from_json('{"colour": 1}')
    with pytest.raises(UsageError, match="trained must be a whole number of 4 or more, got 1"):
        Settings(trained=1)


def test_scores_are_those_of_bench_ranking():
    assert all(callable(getattr(scores, name)) for name in SCORES)


def test_what_confirms_is_fixed():
    settings = confirm_settings()
    assert (settings.split, settings.is_macro) == ("confirm", True)
    assert (max(settings.budgets), settings.supernets) == (300, 6)  # three pairs


def test_the_networks_of_a_part_have_their_recorded_counts():
    subject = make_subject(Settings(), "", 10)
    known = recorded.networks("choose")
    np.testing.assert_array_equal(subject.macs, known.macs)
    np.testing.assert_array_equal(subject.blocks, (known.codes > 0).sum(axis=1))
    assert len(set(subject.read.tolist())) == 300
    assert set(subject.trained) <= set(subject.read)


def test_networks_of_a_space_lie_in_the_band():
    settings = Settings.of({"space": "efficientnet", "band": (300e6, 310e6), "networks": 8})
    subject = make_subject(replace(settings, trained=4), "digits", 10)
    assert len(subject) == 8
    assert ((subject.macs >= 300e6) & (subject.macs <= 310e6)).all()
    assert subject.blocks.min() > 0
    assert len({subject.architecture(i).fingerprint for i in range(8)}) == 8
    with pytest.raises(UsageError, match="space 'efficientnet' requires a band of multiply-adds"):
        make_subject(replace(settings, band=None), "digits", 10)


def test_a_score_is_a_prior_of_networks_that_it_did_not_read():
    """A sum over the layers that there are, read of 100 networks."""
    subject = make_subject(Settings(networks=100), "", 10)
    worth = (subject.codes > 0) @ np.arange(1.0, 9.0)
    (prior,) = of_readings("", "score", subject, -1 / worth[None, subject.read], 0.0).priors
    others = np.setdiff1d(np.arange(len(subject)), subject.read)
    assert kendalltau(prior(subject.codes[others]), worth[others]).statistic > 0.9


# Results


def place(tmp_path, settings=SMALL):
    return Place(settings=settings, data="digits", folder=tmp_path)


def test_a_kept_result_is_not_computed_again(tmp_path):
    task = Scoring(score="snip", network=3)
    notes = []
    for _ in range(2):
        with Store(tmp_path) as store:
            assert store.compute([task], place(tmp_path), processes=1, note=notes.append) == []
            value = store.result(task)["value"]
        with (tmp_path / JOURNAL).open("ab") as file:
            file.write(b'{"event": "rea')  # as if it had been killed there
    assert notes == ["1 of 1 tasks"]
    assert value > 0
    lines = (tmp_path / JOURNAL).read_text().splitlines()
    assert [json.loads(line)["task"] for line in lines[:1]] == [task.key]


def test_parts_have_readings_of_their_own_and_share_supernets(tmp_path):
    trained = SupernetTraining(recipe="", steps=1, member=0)
    own = [Scoring(score="snip", network=3), SupernetReading(training=trained, chunk=0)]
    with Store(tmp_path, "choose") as store:
        for task in (trained, *own):
            store._keep(task, {"seconds": 1.0})
        assert store.results([trained, *own]) is not None
    with Store(tmp_path, "confirm") as store:
        assert store.result(trained) == {"seconds": 1.0}
        assert [store.result(task) for task in own] == [None, None]


def test_other_data_are_refused(tmp_path):
    with Store(tmp_path) as store:
        store.check_data("one")
    with Store(tmp_path) as store:
        store.check_data("one")
        with pytest.raises(UsageError, match="must be the images of the kept readings"):
            store.check_data("two")


def test_a_failure_is_told_and_tried_again(tmp_path):
    task = Scoring(score="unheard_of", network=0)
    with Store(tmp_path) as store:
        for _ in range(2):
            (failure,) = store.compute([task], place(tmp_path), processes=1, note=print)
            assert failure.startswith("score unheard_of of network 0: ")
        assert store.results([task]) is None


def test_lengths_are_planned_once(tmp_path):
    subject = place(tmp_path).subject()
    with Store(tmp_path) as store:
        assert training_recipe(0.5, subject, store) is None
        assert members(SMALL, store) == []
        store.plan("epochs of 0.5 s", 3.4)
        store.plan("steps of 0.3 s of supernet width=0.125,batch_size=32", 0.2)
    with Store(tmp_path) as store:
        store.plan("epochs of 0.5 s", 9.0)
        assert training_recipe(0.5, subject, store) == "epochs=3"
        assert [(one.steps, one.member) for one in members(SMALL, store, 0.3)] == [(1, 0), (1, 1)]
        assert [*controls(SMALL, store)] == ["untrained"]


def test_counts_need_no_data(tmp_path):
    settings = replace(SMALL, draws=1)
    outcome = running.run(data=None, results=tmp_path, settings=settings, only=["counts"])
    rows = {(row["predictor"], row["use"]): row for row in outcome.records}
    truth = recorded.accuracies("choose").mean(axis=1)
    blocks = (recorded.networks("choose").codes > 0).sum(axis=1)
    tau = rows["blocks", "alone"]["tau"][0]
    assert tau == pytest.approx(kendalltau(blocks, truth).statistic, abs=5e-4)
    assert rows["blocks", "prior"]["tau"][0] == tau
    assert rows["no prior", "recorded"]["trainings"] == 4
    assert rows["no prior", "recorded"]["tau"] != rows["no prior, no blocks", "recorded"]["tau"]
    assert rows["another training", "alone"]["tau"][0] > 0.85
    text = (tmp_path / MACRO / "choose" / "fidelity.md").read_text()
    assert "98 % of the variance" in text
    with pytest.raises(UsageError, match="all but counts requires --data"):
        running.run(data=None, results=tmp_path, settings=SMALL)


def test_accuracies_of_confirm_stay_unread(tmp_path, monkeypatch):
    asked = []
    monkeypatch.setattr(recorded, "accuracies", asked.append)
    notes = []
    outcome = running.run(
        data=None, results=tmp_path, settings=None, only=["counts"], note=notes.append
    )
    assert (asked, outcome.records, outcome.files) == ([], [], ())
    assert "--open-confirm" in notes[-1]
    with pytest.raises(UsageError, match="--open-confirm requires all readings, got 1,5"):
        running.run(data=None, results=tmp_path, settings=None, open_confirm=True)
    assert asked == []


def test_wrong_usage_is_one_line(run_cli, tmp_path):
    folder = ("--results", tmp_path)
    for options, says in [
        (("--only", "colours"), "--only must be of counts, scores, proxies, supernets"),
        (
            ("--split", "confirm", "--draws", "3"),
            "takes its settings from the package, got --draws",
        ),
        (("--open-confirm",), "--open-confirm requires --split confirm"),
        (("--only", "scores"), "all but counts requires --data"),
        (("--networks", "9999", "--only", "counts"), "networks must be at most 540, got 9999"),
        (("--budgets", "1,soon"), "expected a positive duration"),
        (("--band", "50M"), "band must be two numbers, the lower first, got (50000000.0,)"),
        (("--scores", "luck"), "score must be snip, grad_norm"),
        (("--supernet", "width=wide"), "supernet must be NAME=NUMBER"),
        (("--proxy", "epoch=1"), "proxy must be NAME=NUMBER"),
    ]:
        code, out, err = run_cli("bench", "fidelity", *options, *folder)
        assert (code, out) == (2, "")
        assert says in err


# Short trainings


def test_early_stopping_leaves_what_the_total_pays_for():
    """Six trainings of nine epochs and 9 s: the first continues at each rung, the second stops at
    the first one, the third passes; then 18.5 s are spent."""
    curves = [(0.3, 0.4, 0.5), (0.2, 0.9, 0.9), (0.4, 0.5, 0.6), (0.5, 0.5, 0.5), *[(0, 0, 0)] * 2]
    results = [
        {"accuracy": end, "rungs": [(3, middle), (1, begin)], "epochs": 9, "seconds": 9.0}
        for begin, middle, end in curves
    ]
    values, seconds = stopped_early(results, total=18.5)
    assert values[:3] == [2.5, 0.2, 2.6]
    assert seconds == 9 + 1 + 9
    assert np.isnan(values[3:]).all()
    assert stopped_early(results, total=1e9)[0][3] == 2.5


def test_a_slice_learns(tmp_path):
    """More steps from a slice lower its loss on the images that are read; no step leaves the
    network its slice."""
    here = place(tmp_path)
    training = SupernetTraining(recipe=SMALL.supernet, steps=0, member=0)
    supernet, images = training.load(here), training.trained(here)
    pixels, labels = training.images(here)
    network = here.subject().architecture(0)
    losses = []
    for steps in (0, 40):
        with torch.inference_mode():
            logits = supernet.logits(network, pixels)
        own = tuned(supernet, network, images, steps)(pixels).detach()
        losses.append(float(torch.nn.functional.cross_entropy(own, labels)))
        if not steps:
            torch.testing.assert_close(own, logits)
    assert losses[1] < 0.8 * losses[0]


# Whole tables


def rows_of(outcome):
    return {(r["predictor"], r["use"], r["trainings"]): r["tau"] for r in outcome.records}


@pytest.mark.full
def test_a_table_that_was_interrupted_is_finished(tmp_path):
    """Interrupted between two tasks and in a supernet's training, then the same table."""
    seen = []

    def interrupt(line):
        seen.append(line)
        if len(seen) in (3, 9, 15):
            raise KeyboardInterrupt

    arguments = {"data": "digits", "results": tmp_path, "settings": SMALL}
    for _ in range(3):
        with pytest.raises(KeyboardInterrupt):
            running.run(**arguments, note=interrupt)
    before = (tmp_path / MACRO / JOURNAL).read_text()
    outcome = running.run(**arguments, note=seen.append)
    assert outcome.failures == ()
    assert (tmp_path / MACRO / JOURNAL).read_text().startswith(before)
    events = map(json.loads, (tmp_path / MACRO / JOURNAL).read_text().splitlines())
    tasks = [event["task"] for event in events if event["event"] == "reading"]
    assert len(tasks) == len(set(tasks)) == 23
    assert {
        ("snip", "alone", 0),
        ("params+snip", "prior", 0),
        ("epochs=1", "alone", 0),
        ("2 x 0.6 s", "alone", 0),
        ("1 x 0.6 s, by accuracy", "alone", 0),
        ("2 x 0.3 s", "recorded", 4),
        ("2 x 0.3 s", "0.5 s each", 4),
        ("untrained", "prior", 0),
        ("slices, 2 steps more", "alone", 0),
        ("asha, up to 0.5 s each", "alone", 0),
        ("random labels", "alone", 0),
    } <= rows_of(outcome).keys()
    again = running.run(**arguments, report_only=True)
    assert again.records == outcome.records


@pytest.mark.full
def test_networks_of_a_space_are_judged_by_their_own_trainings(tmp_path):
    settings = replace(
        SMALL,
        space="efficientnet",
        band=(50e6, 90e6),
        scores=(),
        trainings=(),
        budgets=(0.5,),
        supernets=1,
        reference_seconds=0.5,
    )
    outcome = running.run(data="digits", results=tmp_path, settings=settings)
    assert outcome.failures == ()
    rows = {(r["predictor"], r["use"]): r for r in outcome.records}
    assert rows["1 x 0.5 s", "alone"]["networks"] == 6
    # Four trainings are told and paid for.
    assert rows["no prior", "recorded"]["seconds"] > 0.5
    assert "space `efficientnet`" in (tmp_path / "efficientnet" / "fidelity.md").read_text()
