"""Early stopping: bars, books, controllers, and runs over real Ray workers that are hit."""

import csv
import json
import math
import os
import subprocess
import sys
import warnings
from collections import Counter, defaultdict
from copy import copy
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from evaluators_for_tests import Rungs
from hypothesis import given, settings
from hypothesis import strategies as st
from runs import PATIENCE

from mnas_search.common import plugins
from mnas_search.common.errors import UsageError
from mnas_search.controllers.random_search import RandomSearch
from mnas_search.evaluators.proxy_training import ProxyTraining
from mnas_search.experiments.runners.in_process import run_in_process
from mnas_search.experiments.search.config import RunConfig, Setup
from mnas_search.experiments.search.warm_start import warm_start
from mnas_search.nas.asha import REDUCTION, Asha
from mnas_search.nas.core import MOST_STOPPED, Search
from mnas_search.nas.evaluator import Evaluator
from mnas_search.nas.job import EvaluationJob, measure
from mnas_search.nas.journal import Journal
from mnas_search.nas.objective import Objective
from mnas_search.nas.problem import problem
from mnas_search.nas.space.cost_model import CostModel
from mnas_search.nas.trial import Evaluation, Failure, Stopped, Trial
from mnas_search.search_spaces.efficientnet import EfficientNetSpace
from mnas_search.testing import EvaluatorContract, ToySpace, toy_accuracy

HERE = Path(__file__).parents[1]
OBJECTIVE = Objective(target=400e3)
NETWORK = ToySpace().decode({d.name: d.options[-1] for d in ToySpace().decisions})


def events(path, kind=None):
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    return [event for event in lines if kind in (None, event["event"])]


def timeless(path):
    return [{k: v for k, v in e.items() if k not in ("time", "seconds")} for e in events(path)]


def stopped_by_the_rule(rungs):
    """ASHA written down once more: trial -> rung, from the events in their order."""
    before, stopped = defaultdict(list), {}
    for event in rungs:
        others, reward = before[event["rung"]], event["reward"]
        if others and reward < np.percentile(others, (1 - 1 / 3) * 100):
            stopped[event["trial"]] = event["rung"]
        others.append(reward)
    return stopped


# -- the rule and the books -------------------------------------------------------------------


class Toy(Evaluator):
    """The toy accuracy after four epochs; rungs at 1 and 3 show ever more of it."""

    noisy = False
    resources = None

    def __init__(self):
        self.rungs, self.epochs, self.closed = (), Counter(), 0

    def with_intermediate_reports(self, factor):
        one = copy(self)
        one.rungs = (1, factor)
        return one

    def evaluate(self, network, *, seed):
        width = [stage.out_channels for stage in network.stages]
        kernel = [stage.kernel for stage in network.stages]
        names = {f"s{i}.width": w for i, w in enumerate(width)}
        accuracy = toy_accuracy(names | {f"s{i}.kernel": k for i, k in enumerate(kernel)})
        try:
            for epoch in range(1, 5):
                self.epochs[network.fingerprint] += 1
                if epoch in self.rungs:
                    noise = np.random.default_rng((seed, epoch)).normal(0, 0.05 / epoch)
                    yield Evaluation(accuracy=accuracy * epoch / 4 + noise, rung=epoch)
            yield Evaluation(accuracy=accuracy)
        finally:
            self.closed += 1


def search(journal, *, controller=None, trials=12, stopping=True, objective=OBJECTIVE):
    return Search(
        space=ToySpace(),
        objective=objective,
        controller=controller or RandomSearch(problem(ToySpace(), objective)),
        trials=trials,
        seed=0,
        journal=journal,
        stopping=Asha() if stopping else None,
    )


@pytest.fixture(scope="module")
def toy(tmp_path_factory):
    """A search in this process: the journal, the search, the evaluator."""
    path = tmp_path_factory.mktemp("toy") / "journal.jsonl"
    evaluator = Toy().with_intermediate_reports(3)
    with Journal(path) as journal:
        done = search(journal)
        run_in_process(done, evaluator)
    return path, done, evaluator


def test_the_best_third_goes_on():
    asha = Asha()
    rewards = np.random.default_rng(0).permutation(300) / 300
    gone_on = [n for n, reward in enumerate(rewards) if asha.should_continue(n, 1, float(reward))]
    assert gone_on[0] == 0
    assert 90 <= len(gone_on) <= 120
    assert int(rewards.argmax()) in gone_on
    assert int(rewards.argmin()) not in gone_on
    # Each rung has a bar of its own.
    assert asha.should_continue(gone_on[1], 3, 0.0)
    assert not asha.should_continue(gone_on[2], 3, -1.0)


def test_a_rung_counts_once_however_often_a_trial_comes_by():
    asha, twice = Asha(), Asha()
    for number, reward in enumerate([0.5, 0.9, 0.1, 0.8, 0.7, 0.95]):
        expected = asha.should_continue(number, 1, reward)
        assert not twice.has_decided(number, 1)
        assert twice.should_continue(number, 1, reward) == expected
        assert twice.has_decided(number, 1) and not twice.has_decided(number, 3)
        assert twice.should_continue(number, 1, 0.0 if number % 2 else 1.0) == expected
    assert asha.should_continue(9, 1, 0.85) == twice.should_continue(9, 1, 0.85)


@pytest.fixture(scope="module")
def ray_scheduler():
    """Ray Tune's own scheduler, as a function of (trial, rung, reward); a new one every call."""
    pytest.importorskip("ray")
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from ray.tune.schedulers import ASHAScheduler

    def make():
        scheduler = ASHAScheduler(
            time_attr="rung",
            metric="reward",
            mode="max",
            grace_period=1,
            reduction_factor=REDUCTION,
            max_t=10**9,
        )

        def decide(number, rung, reward):
            trial = SimpleNamespace(trial_id=number)
            scheduler.on_trial_add(None, trial)
            result = {"rung": rung, "reward": reward}
            return scheduler.on_trial_result(None, trial, result) == "CONTINUE"

        return decide

    return make


_REWARD = st.floats(-1, 1) | st.sampled_from([0.0, 0.1, 0.2, 0.3, 1 / 3, 0.7])
_RUNG = st.integers(1, 12) | st.sampled_from([26, 27, 28, 81, 243, 3**18 - 1, 3**18, 10**9 - 1])


@settings(max_examples=2_000, deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), _RUNG, _REWARD), max_size=80))
def test_every_decision_is_that_of_ray_tunes_scheduler(ray_scheduler, reports):
    """In any order of trials and rungs, where trials skip rungs, fall back and tie."""
    asha, oracle, decided = Asha(), ray_scheduler(), set()
    for number, rung, reward in reports:
        if (number, rung) not in decided:  # what is reported a second time, Ray takes as new
            decided.add((number, rung))
            expected = oracle(number, rung, reward)
            assert asha.should_continue(number, rung, reward) is expected


@pytest.mark.parametrize("seed", range(3))
def test_a_long_run_is_decided_as_by_ray_tunes_scheduler(ray_scheduler, seed):
    """1,000 trials in an order as of eight workers, each trained until it is stopped."""
    rng = np.random.default_rng(seed)
    asha, oracle, stopped = Asha(), ray_scheduler(), 0
    flying = [[number, 0] for number in range(8)]
    for number in range(8, 1_008):
        while True:
            place = rng.integers(8)
            flying[place][1] += 1
            report = (*flying[place], round(rng.normal(0.5, 0.1), 3))
            expected = oracle(*report)
            assert asha.should_continue(*report) is expected
            if not expected or flying[place][1] == 30:
                break
        stopped += not expected
        flying[place] = [number, 0]
    assert 500 < stopped < 1_000


def test_a_run_in_one_process_imports_no_ray(tmp_path):
    script = (
        "import sys\n"
        "from mnas_search.cli import main\n"
        "try:\n    main()\n"
        "finally:\n    print(sorted(n for n in sys.modules if n.partition('.')[0] == 'ray'))"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, *command(tmp_path / "run", workers=0)],
        capture_output=True,
        text=True,
        env={**os.environ, "TRAINED_LOG": str(tmp_path / "log")},
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == "[]"
    assert events(tmp_path / "run" / "journal.jsonl", "rung")


def test_bad_ones_are_stopped_and_the_best_is_trained_to_its_end(toy):
    path, done, evaluator = toy
    tells, asks = events(path, "tell"), {e["trial"]: e for e in events(path, "ask")}
    expected = stopped_by_the_rule(events(path, "rung"))
    told = {e["trial"]: e["rung"] for e in tells if e["status"] == "stopped"}
    assert expected == {n: r for n, r in told.items() if asks[n]["duplicate_of"] is None}
    assert expected
    assert done.best.status == "ok"
    assert done.best.rung is None
    assert done.done == 12  # of those that were not stopped
    for trial in done.trials:
        length = trial.rung if trial.status == "stopped" else 4
        assert evaluator.epochs[trial.fingerprint] == length
    stopped = [t for t in done.trials if t.status == "stopped"]
    assert {t.reward for t in stopped} == {None}
    assert all(t.accuracy is not None for t in stopped)
    assert evaluator.closed == len(done.trials)  # none hangs on at its rung


def test_every_rung_is_in_the_journal_before_its_tell(toy):
    path, *_ = toy
    seen = set()
    for event in events(path):
        if event["event"] == "rung":
            assert set(event) >= {"trial", "rung", "accuracy", "seconds", "time", "phase"}
            seen.add((event["trial"], event["rung"]))
        elif event["event"] == "tell" and event["status"] == "stopped" and event["seconds"]:
            assert (event["trial"], event["rung"]) in seen
    assert len(seen) == len(events(path, "rung"))


def test_cut_anywhere_and_resumed_the_journal_is_the_same(toy, tmp_path):
    path, _, whole = toy
    lines = path.read_text().splitlines(keepends=True)
    for cut in range(1, len(lines), 9):
        again = tmp_path / f"{cut}.jsonl"
        again.write_text("".join(lines[:cut]))
        told = {e["trial"] for e in events(again, "tell")}
        fingerprints = {e["fingerprint"] for e in events(again, "ask") if e["trial"] in told}
        evaluator = Toy().with_intermediate_reports(3)
        with Journal(again) as journal:
            run_in_process(search(journal), evaluator)
        assert timeless(again) == timeless(path), f"cut after {cut} events"
        assert not fingerprints & set(evaluator.epochs)  # what was told is not trained again
    assert sum(evaluator.epochs.values()) < sum(whole.epochs.values())


def test_the_bar_is_of_rewards_not_of_accuracies(tmp_path):
    """A cheap network with less accuracy and more reward continues; a large one is stopped."""
    with Journal(tmp_path / "journal.jsonl") as journal:
        going = search(journal, objective=Objective(target=400e3, exponent=-1))
        works = sorted((going.next() for _ in range(2)), key=lambda w: _macs(w.network))
        cheap, dear = works
        assert going.should_continue(dear, Evaluation(accuracy=0.50, rung=1), 1.0)
        assert going.should_continue(cheap, Evaluation(accuracy=0.49, rung=1), 1.0)
    with Journal(tmp_path / "other.jsonl") as journal:
        going = search(journal, objective=Objective(target=400e3, exponent=-1))
        works = sorted((going.next() for _ in range(2)), key=lambda w: _macs(w.network))
        cheap, dear = works
        assert going.should_continue(cheap, Evaluation(accuracy=0.49, rung=1), 1.0)
        assert not going.should_continue(dear, Evaluation(accuracy=0.50, rung=1), 1.0)


def _macs(network):
    from mnas_search.architecture.cost.count import cost

    return cost(network).macs


def test_duplicates_of_a_stopped_trial_are_told_the_same(toy):
    path, *_ = toy
    asks = {e["trial"]: e for e in events(path, "ask")}
    tells = {e["trial"]: e for e in events(path, "tell")}
    pairs = [
        (tells[n], tells[a["duplicate_of"]])
        for n, a in asks.items()
        if a["duplicate_of"] is not None and tells[a["duplicate_of"]]["status"] == "stopped"
    ]
    assert pairs
    for copied, original in pairs:
        for name in ("status", "accuracy", "reward", "rung"):
            assert copied[name] == original[name]


def test_too_many_stopped_in_a_row_end_the_search(tmp_path, monkeypatch):
    assert MOST_STOPPED == 1_000
    monkeypatch.setattr(sys.modules["mnas_search.nas.core"], "MOST_STOPPED", 30)
    with Journal(tmp_path / "journal.jsonl") as journal:
        given = Objective(target=400e6)
        going = Search(
            space=EfficientNetSpace(),
            objective=given,
            controller=RandomSearch(problem(EfficientNetSpace(), given)),
            trials=5,
            seed=0,
            journal=journal,
            stopping=Asha(),
        )
        outcome = Stopped(evaluation=Evaluation(accuracy=0.1, rung=1))
        for _ in range(30):
            assert not going.stalled
            going.record(going.next(), outcome, 0.0)
        assert going.stalled
        assert going.next() is None
        assert going.finished


def test_what_goes_wrong_at_a_rung_is_a_failure():
    class Wrong(Toy):
        def evaluate(self, network, *, seed):
            yield Evaluation(accuracy=0.5, rung=1)
            yield Evaluation(accuracy=float("nan"), rung=2)
            raise AssertionError("went on after NaN")

    asked = []
    work = EvaluationJob(number=0, network=NETWORK, seed=0)
    outcome, _ = measure(Wrong(), work, lambda *rung: bool(asked.append(rung[1].rung) or True))
    assert outcome == Failure(reason="accuracy must be a fraction from 0 to 1, got nan")
    assert asked == [1]


@pytest.mark.parametrize(
    ("figures", "says"),
    [
        ({"rung": -1}, "rung must be at least 0, got -1"),
        ({"std": math.nan}, "std must be a number of at least 0, got nan"),
        ({"info": {"test": 93.1}}, "test must be a fraction from 0 to 1, got 93.1"),
        ({"info": {"test": np.float32("nan")}}, "test must be a fraction from 0 to 1, got nan"),
    ],
)
def test_figures_that_a_journal_would_refuse_are_failures(figures, says):
    class Wrong(Toy):
        def evaluate(self, network, *, seed):
            yield Evaluation(accuracy=0.5, **figures)

    outcome, _ = measure(Wrong(), EvaluationJob(number=0, network=NETWORK, seed=0))
    assert outcome == Failure(reason=says)


# -- evaluators -------------------------------------------------------------------------------


class TestToy(EvaluatorContract):
    @pytest.fixture
    def evaluator(self):
        return Toy()

    @pytest.fixture
    def network(self):
        return NETWORK

    def test_rungs_are_asked_for(self, evaluator, network):
        assert [e.rung for e in evaluator.evaluate(network, seed=0)] == [None]


@pytest.mark.parametrize(
    ("epochs", "rungs"), [(2, None), (3, (1,)), (5, (1,)), (9, (1, 3)), (30, (1, 3, 10))]
)
def test_rungs_of_proxy_training_are_thirds_of_thirds(epochs, rungs):
    plain = ProxyTraining(proxy=f"epochs={epochs}")
    stoppable = plain.with_intermediate_reports(3)
    assert (None if stoppable is None else tuple(sorted(stoppable._rungs))) == rungs
    assert plain._rungs == ()  # without early stopping no time goes into them


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"early_stopping": "banana"}, "early_stopping must be asha, got 'banana'"),
        (
            {"evaluator": f"{HERE / 'evaluators_for_tests.py'}:by_params"},
            "requires an evaluator with intermediate reports, such as proxy_training",
        ),
        ({"evaluator": None}, "or more, got 'accel_nasbench'"),
        ({"proxy": "epochs=2"}, "proxy_training with 3 epochs or more"),
    ],
)
def test_what_cannot_be_stopped_is_refused(options, said):
    options = {"early_stopping": "asha", **options}
    with pytest.raises(UsageError) as caught:
        Setup(RunConfig(target_flops=400e6, **options))
    assert said in str(caught.value)
    assert "\n" not in str(caught.value)


def test_the_command_line_refuses_in_one_line(run_cli, tmp_path):
    code, out, err = run_cli(
        "run", "--target-flops", "400M", "--early-stopping", "banana", "--output", tmp_path / "r"
    )
    assert (code, out) == (2, "")
    assert err.splitlines()[-1].endswith("early_stopping must be asha, got 'banana'")
    assert not (tmp_path / "r").exists()


# -- controllers ------------------------------------------------------------------------------


def _trial(given, number, choices, **own):
    codes = np.array([[d.code(choices[d.name]) for d in given.decisions]])
    macs = int(given.costs(codes)["macs"][0])
    accuracy = toy_accuracy(choices)
    trial = Trial(
        number=number,
        choices=choices,
        fingerprint=str(codes),
        status="ok",
        accuracy=accuracy,
        costs={"macs": macs, "params": 1},
        reward=given.objective.reward(accuracy, macs),
        feasible=True,
        seconds=0.0,
    )
    return replace(trial, **own)


def _asked(name, accuracy_at_rung):
    """What a controller asks for when two of three trials are stopped, with this accuracy."""
    given = problem(ToySpace(), OBJECTIVE)
    controller, asked = plugins.load("controllers", name)(given), []
    for number in range(60):
        choices = dict(controller.ask(np.random.default_rng((0, number))))
        asked.append(choices)
        own = {"status": "stopped", "accuracy": accuracy_at_rung, "reward": None, "rung": 1}
        controller.tell(_trial(given, number, choices, **(own if number % 3 else {})))
    return asked


@pytest.mark.parametrize("name", ["evolution", "nsga2", "ppo", "random_search"])
def test_no_controller_takes_an_accuracy_at_a_rung_for_a_result(name):
    assert _asked(name, 0.01) == _asked(name, 1.0)


def test_tpe_ranks_stopped_trials_below_all_that_were_not():
    from optuna.trial import TrialState

    given = problem(ToySpace(), OBJECTIVE)
    controller = plugins.load("controllers", "tpe")(given)
    choices = [dict(controller.ask(np.random.default_rng(n))) for n in range(3)]
    own = {"status": "stopped", "accuracy": 0.3, "reward": None, "rung": 3}
    controller.tell(_trial(given, 0, choices[0]))
    controller.tell(_trial(given, 1, choices[1], **own))
    controller.tell(
        _trial(given, 2, choices[2], status="failed", accuracy=None, reward=None, error="x")
    )
    one, two = controller._study._study.get_trials()  # samplers do not see the failed one
    assert [t.state for t in (one, two)] == [TrialState.COMPLETE, TrialState.PRUNED]
    macs = _trial(given, 1, choices[1]).macs
    assert two.intermediate_values == {3: pytest.approx(given.objective.reward(0.3, macs))}


# -- whole runs -------------------------------------------------------------------------------


def command(folder, *more, evaluator="Rungs", trials=5, workers=2):
    named = {
        "target-flops": "400M",
        "controller": "random_search",
        "early-stopping": "asha",
        "evaluator": evaluator and f"{HERE / 'evaluators_for_tests.py'}:{evaluator}",
        "trials": trials,
        "workers": workers,
        "output": folder,
        "format": "json",
    }
    given = [str(x) for name, value in named.items() if value is not None and value != ""
             for x in (f"--{name}", value)]  # fmt: skip
    return ["run", *given, *map(str, more)]


def call(arguments, **environment):
    return subprocess.run(
        [sys.executable, "-c", "from mnas_search.cli import main; main()", *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=PATIENCE,
    )


def trained(log):
    """Number of epochs, by fingerprint."""
    return Counter(line.split()[0] for line in log.read_text().splitlines())


@pytest.fixture(scope="module")
def troubled(tmp_path_factory):
    """A run over two workers, in which some networks give NaN and some kill their worker."""
    folder = tmp_path_factory.mktemp("troubled") / "run"
    log = folder.parent / "log"
    done = call(command(folder, evaluator="TroubledRungs", trials=8), TRAINED_LOG=str(log))
    assert done.returncode == 0, done.stderr
    return folder, log, json.loads(done.stdout)


@pytest.mark.full
def test_a_run_over_workers_is_stopped_by_the_rule(troubled):
    folder, log, report = troubled
    journal = folder / "journal.jsonl"
    asks = {e["trial"]: e for e in events(journal, "ask")}
    tells = {e["trial"]: e for e in events(journal, "tell")}
    expected = stopped_by_the_rule(events(journal, "rung"))
    stopped = {n: t["rung"] for n, t in tells.items() if t["status"] == "stopped"}
    assert stopped == expected
    assert stopped
    statuses = Counter(t["status"] for t in tells.values())
    assert statuses["ok"] + statuses["failed"] == report["trials"] == 8
    assert report["stopped"] == len(stopped)
    assert tells[report["best"]["trial"]]["status"] == "ok"
    assert statuses["failed"]
    assert list(folder.parent.glob("log.*"))  # marks of workers that died
    best = max(t["reward"] for t in tells.values() if t["status"] == "ok")
    assert report["best"]["reward"] == best
    rungs = events(journal, "rung")
    assert len({(e["trial"], e["rung"]) for e in rungs}) == len(rungs)
    epochs = trained(log)
    for number, tell in tells.items():
        fingerprint = asks[number]["fingerprint"]
        kind = int(fingerprint, 16) % 4
        died = kind == 1  # and was begun anew, after its first rung
        if tell["status"] == "stopped":
            assert epochs[fingerprint] >= tell["rung"]
            assert died or epochs[fingerprint] == tell["rung"]
        elif tell["status"] == "failed":
            assert (kind, tell["error"]) == (0, "accuracy must be a fraction from 0 to 1, got nan")
        else:
            assert epochs[fingerprint] == 9 + died
    assert sum(epochs.values()) < 9 * len(tells)
    assert len({line.split()[2] for line in log.read_text().splitlines()}) >= 2


@pytest.mark.full
def test_the_files_of_a_run_say_where_it_was_stopped(troubled):
    folder, _, report = troubled
    with (folder / "trials.csv").open() as file:
        rows = list(csv.DictReader(file))
    stopped = [row for row in rows if row["status"] == "stopped"]
    assert len(stopped) == report["stopped"]
    assert {row["rung"] for row in stopped} <= {"1", "3"}
    assert all(row["accuracy"] and not row["reward"] for row in stopped)
    assert all(not row["rung"] for row in rows if row["status"] != "stopped")
    with (folder / "pareto.csv").open() as file:
        front = list(csv.DictReader(file))
    assert {row["status"] for row in front} == {"ok"}
    counts = Counter(int(row["rung"]) for row in stopped)
    at = ", ".join(f"{rung} ({count})" for rung, count in sorted(counts.items()))
    said = f"{len(stopped)} of {len(rows)} candidates were stopped early, at rung"
    (note,) = [note for note in report["notes"] if note.startswith(said)]
    assert note.endswith(at)
    page = (folder / "report.html").read_text()
    assert note in page
    assert f"{len(stopped)} of them stopped early" in page


@pytest.mark.full
def test_a_warm_start_takes_no_stopped_trial(troubled):
    folder, *_ = troubled
    config = json.loads((folder / "config.json").read_text())["config"]
    objective = Objective(target=400e6)
    _, known = warm_start([str(folder)], EfficientNetSpace(), objective, CostModel(), config)
    tells = events(folder / "journal.jsonl", "tell")
    assert len(known) == sum(t["status"] != "stopped" for t in tells)
    assert {t.status for t in known} <= {"ok", "failed"}


@pytest.mark.full
def test_killed_at_a_rung_and_resumed_by_the_same_bars(tmp_path):
    """kill -9 of a run in one process; resumed over two workers."""
    folder, log = tmp_path / "run", tmp_path / "log"
    # The first trial is never stopped; the process dies in an epoch after some trial's rung.
    killed = call(command(folder, workers=0), TRAINED_LOG=str(log), KILL_AT="26")
    assert killed.returncode == -9, killed.stderr
    journal = folder / "journal.jsonl"
    before = journal.read_text()
    told = {e["trial"] for e in events(journal, "tell")}
    asks = {e["trial"]: e["fingerprint"] for e in events(journal, "ask")}
    (in_flight,) = set(asks) - told
    halfway = [e["rung"] for e in events(journal, "rung") if e["trial"] == in_flight]
    assert halfway
    assert told
    log.write_text("")
    done = call(["resume", folder, "--workers", 2, "--format", "json"], TRAINED_LOG=str(log))
    assert done.returncode == 0, done.stderr
    assert journal.read_text().startswith(before)
    epochs = trained(log)
    assert not {asks[n] for n in told} & set(epochs)
    assert epochs[asks[in_flight]] == 9 or in_flight in stopped_by_the_rule(
        events(journal, "rung")
    )
    rungs = events(journal, "rung")
    assert len({(e["trial"], e["rung"]) for e in rungs}) == len(rungs)
    stopped = {e["trial"]: e["rung"] for e in events(journal, "tell") if e["rung"] is not None}
    assert stopped == stopped_by_the_rule(rungs)
    assert json.loads(done.stdout)["trials"] == 5


@pytest.mark.full
def test_digits_are_really_trained_and_really_stopped(tmp_path):
    folder = tmp_path / "run"
    more = ["--data", "digits", "--proxy", "epochs=4,fraction=0.1,width=0.125"]
    done = call(command(folder, *more, evaluator=None, trials=6))
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["trials"] == 6
    journal = folder / "journal.jsonl"
    rungs = events(journal, "rung")
    assert {e["rung"] for e in rungs} == {1}
    stopped = {e["trial"]: e["rung"] for e in events(journal, "tell") if e["rung"] is not None}
    assert stopped == stopped_by_the_rule(rungs)
    repeats = events(journal, "repeat")  # of those that came to their end, to their end
    assert repeats
    assert not {e["trial"] for e in repeats} & set(stopped)
    assert report["seed_noise"] is not None


def test_another_process_would_find_the_same_rungs():
    """An evaluator that was given rungs keeps them on its way to a worker."""
    import pickle

    assert pickle.loads(pickle.dumps(Rungs().with_intermediate_reports(3))).rungs == (1, 3)
