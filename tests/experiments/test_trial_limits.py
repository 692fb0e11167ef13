"""Trials that time out, and what still runs after the time budget."""

import math
import subprocess
import sys
import time

import pytest
from runs import PATIENCE, arguments, events
from toy_search import Scripted, codes_of, make

from mnas_search.experiments.jobs import JournalledQueue, trial_members
from mnas_search.experiments.runners.in_process import run_in_process
from mnas_search.experiments.runners.limits import MARK, TrialLimits, longest_of
from mnas_search.experiments.search.time_limit import TimeLimit
from mnas_search.nas.evaluator import Evaluator
from mnas_search.nas.job import TIMED_OUT, EvaluationJob, measure
from mnas_search.nas.journal import MemoryJournal
from mnas_search.nas.trial import Evaluation, Failure
from mnas_search.testing import ToySpace

HANGING = arguments("")[arguments("").index("--evaluator") + 1].replace("by_params", "hanging")
STUCK = HANGING.replace("hanging", "stuck")


class Hanging(Evaluator):
    """Waits for ever where the network's number of parameters is odd in thousands."""

    resources = None

    def __init__(self, *hanging):
        self.hanging, self.begun = hanging, []

    def evaluate(self, network, *, seed):
        del seed
        self.begun.append(network.fingerprint)
        while network.fingerprint in self.hanging:
            time.sleep(0.01)
        yield Evaluation(accuracy=0.5)


def network(number):
    space = ToySpace()
    codes = codes_of(number)[0]
    return space.decode(
        {d.name: d.options[c] for d, c in zip(space.decisions, codes, strict=True)}
    )


def test_the_limit_comes_from_the_longest_trial():
    limits = TrialLimits()
    assert limits.seconds == 86_400
    limits.record(Failure(reason="no"), 100.0)
    assert limits.seconds == 86_400
    limits.record(Evaluation(accuracy=0.5), 1.0)
    assert limits.seconds == 600
    limits.record(Evaluation(accuracy=0.5), 90.0)
    assert limits.seconds == 900
    assert TrialLimits(7.0, longest=90.0).seconds == 7.0
    told = [
        {"event": "ask"},
        {"event": "tell", "status": "ok", "seconds": 70.5},
        {"event": "tell", "status": "failed", "seconds": 100.0},
    ]
    assert TrialLimits(longest=longest_of(told)).seconds == 705


def test_a_trial_that_times_out_has_failed_and_is_not_trained_again():
    evaluator = Hanging(network(1).fingerprint)
    journal, controller = MemoryJournal(), Scripted(codes_of(0, 1, 2, 1, 3))
    run_in_process(make(journal, controller, trials=4), evaluator, TrialLimits(0.1))
    told = {e["trial"]: (e["status"], e["error"]) for e in journal.events if e["event"] == "tell"}
    failed = ("failed", "timed out")
    assert told == {0: ("ok", None), 1: failed, 2: ("ok", None), 3: failed, 4: ("ok", None)}
    assert len(set(evaluator.begun)) == len(evaluator.begun) == 4
    tell = next(e for e in journal.events if e["event"] == "tell" and e["trial"] == 1)
    assert 0.1 <= tell["seconds"] < 60
    again = make(journal, Scripted([]), trials=4)
    assert again.finished and again.next() is None


def test_further_trainings_that_time_out_are_not_repeated_in_the_next_session():
    def queue():
        return JournalledQueue(
            "repeat",
            jobs=lambda: [EvaluationJob(number=n, network=network(n), seed=n) for n in range(3)],
            journal=journal,
            members=trial_members("seed noise"),
        )

    journal, evaluator = MemoryJournal(), Hanging(network(1).fingerprint)
    run_in_process(queue(), evaluator, TrialLimits(0.1))
    assert [e["error"] for e in journal.events] == [None, "timed out", None]
    assert queue().finished


def test_what_runs_after_the_time_budget_is_cut_off_and_is_trained_by_a_later_session(monkeypatch):
    monkeypatch.setattr("mnas_search.experiments.runners.limits._LATE", 0.05)
    evaluator, end = Hanging(network(1).fingerprint), time.monotonic() + 1.0
    journal, controller = MemoryJournal(), Scripted(codes_of(0, 1, 2))
    limits = TrialLimits(60.0, cut_off=lambda: end)
    search = make(journal, controller, trials=3, has_time=lambda: time.monotonic() < end)
    run_in_process(search, evaluator, limits)
    assert limits.cut == 1 and search.finished and search.done == 1
    assert [e["event"] for e in journal.events] == ["ask", "tell", "ask"]
    later = make(journal, Scripted(codes_of(0, 1, 2)), trials=2)
    run_in_process(later, Hanging(), TrialLimits(60.0))
    assert later.finished and [trial.status for trial in later.trials] == ["ok", "ok"]


def test_further_trainings_that_are_cut_off_remain():
    jobs = [EvaluationJob(number=n, network=network(n), seed=n) for n in range(2)]
    queue = JournalledQueue(
        "repeat",
        jobs=lambda: jobs,
        journal=MemoryJournal(),
        members=trial_members("seed noise"),
        has_time=lambda: False,
    )
    queue._has_time = lambda: True
    job = queue.next()
    queue._has_time = lambda: False
    assert not queue.finished
    queue.release(job)
    assert queue.finished and queue.remaining == 2


@pytest.mark.parametrize(
    ("seconds", "told", "after"),
    [
        (20.0, [], 30.0),  # half a minute
        (1_000.0, [], 500.0),  # half of the limit, as long as nothing is known
        (1_000.0, [5.0, 10.0], 80.0),  # 8 % of the limit
        (1_000.0, [5.0, 100.0], 200.0),  # twice the longest training
        (None, [5.0], math.inf),
    ],
)
def test_when_what_still_runs_is_cut_off(seconds, told, after):
    journal = MemoryJournal()
    for one in told:
        journal.append({"event": "tell", "status": "ok", "seconds": one, "time": 0.0})
    limit = TimeLimit(seconds, journal, workers=2, begun=time.monotonic())
    assert limit.cut_off() - time.monotonic() == pytest.approx((seconds or 0.0) + after, abs=5.0)


def test_a_measurement_times_out_over_all_of_its_rungs():
    class Slow(Hanging):
        def evaluate(self, network, *, seed):
            for rung in range(1, 1_000):
                time.sleep(0.02)
                yield Evaluation(accuracy=0.5, rung=rung)

    job = EvaluationJob(number=0, network=network(0), seed=0)
    outcome, seconds = measure(Slow(), job, limit=0.2)
    assert outcome == TIMED_OUT
    assert 0.2 <= seconds < 10


def test_a_run_whose_trials_hang(run_cli, tmp_path):
    options = {"evaluator": HANGING, "trials": 6, "trial-timeout": "1", "baseline": "none"}
    code, _, err = run_cli("run", *arguments(tmp_path / "run", **options))
    assert code == 0, err
    assert "a trial that takes longer than 1.0 s has timed out (--trial-timeout)" in err
    errors = {e["error"] for e in events(tmp_path / "run") if e["event"] == "tell"}
    assert errors == {None, "timed out"}
    assert not (tmp_path / "run" / MARK).exists()


def test_a_run_whose_trial_cannot_be_interrupted_ends_with_1_and_resumes_without_it(
    run_cli, tmp_path, monkeypatch
):
    folder, log = tmp_path / "run", tmp_path / "log"
    monkeypatch.setenv("TRAINED_LOG", str(log))
    code = (
        "from mnas_search.common.processes import alarm; alarm.GRACE = alarm._HELD = 0.3\n"
        "from mnas_search.cli import main; main()"
    )
    line = arguments(folder, evaluator=STUCK, trials=4, **{"trial-timeout": "1"})
    line = [sys.executable, "-c", code, "run", *map(str, line)]
    for _ in range(4):  # a process for each of the networks that are stuck, at most
        done = subprocess.run(line, capture_output=True, text=True, timeout=PATIENCE, check=False)
        if done.returncode != 1:
            break
        assert "sum" not in done.stdout and "in stuck" in (folder / MARK).read_text()
        line = [sys.executable, "-c", code, "resume", str(folder)]
    assert done.returncode == 0, done.stderr
    asks = {e["trial"]: e["fingerprint"] for e in events(folder) if e["event"] == "ask"}
    tells = {e["trial"]: e["error"] for e in events(folder) if e["event"] == "tell"}
    assert tells == {
        n: "timed out" if int(fingerprint, 16) % 2 else None for n, fingerprint in asks.items()
    }
    assert "timed out" in tells.values()
    begun = [f for f in log.read_text().split() if int(f, 16) % 2]
    assert len(begun) == len(set(begun))  # none trained twice


def test_a_time_budget_that_is_shorter_than_the_start_says_so(run_cli, tmp_path):
    options = {"time-budget": "0.001", "evaluator": HANGING}
    code, _, err = run_cli("run", *arguments(tmp_path / "run", **options))
    assert code == 1
    assert "the time budget of 0.0 s ended before the first candidate could begin" in err


@pytest.mark.parametrize("value", ["0", "-1", "soon"])
def test_a_limit_must_be_a_duration(run_cli, tmp_path, value):
    code, _, err = run_cli("run", *arguments(tmp_path / "run", **{"trial-timeout": value}))
    assert code == 2 and "--trial-timeout" in err
