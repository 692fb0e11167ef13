"""How much time of a fit is left."""

import time

import pytest

from mnas_search.experiments.fit import clock as module
from mnas_search.experiments.fit.clock import Clock, PhaseListener
from mnas_search.experiments.listener import Listener

PLANNED = {
    "measuring": 10.0,
    "baselines": 0.0,
    "search": 100.0,
    "comparison": 50.0,
    "training": 500.0,
    "finish": 20.0,
}


class Time:
    """A clock that a test moves."""

    def __init__(self):
        self.now = 1_000.0

    def monotonic(self):
        return self.now


@pytest.fixture
def moved(monkeypatch):
    one = Time()
    monkeypatch.setattr(module, "time", one)
    return one


def test_the_plan_counts_before_the_first_reports_and_then_the_pace(moved):
    clock = Clock(PLANNED, spent=0.0, begun=990.0)
    clock.begin("search")
    assert (clock.left, clock.elapsed) == (670.0, 10.0)
    clock.progress(0, 10, "")
    moved.now += 30.0  # inside a trial, the time left shrinks as time passes
    assert clock.left == 640.0
    clock.progress(1, 10, "")
    moved.now += 20.0
    clock.progress(2, 10, "best")
    assert clock.left == 8 * 20.0 + 570.0
    moved.now += 5.0
    assert clock.left == 8 * 20.0 + 570.0 - 5.0
    assert clock.description == "search: 2 of 10, best"
    clock.begin("training", 300.0)
    assert clock.left == 320.0
    assert clock.share == pytest.approx(65.0 / 385.0)


def test_time_left_is_never_negative_and_earlier_sessions_count(moved):
    clock = Clock(PLANNED, spent=100.0, begun=1_000.0)
    clock.begin("finish")
    moved.now += 1_000.0
    assert (clock.left, clock.elapsed, clock.share) == (0.0, 1_100.0, 1.0)


def test_what_follows_the_candidates_is_the_comparison():
    clock = Clock(PLANNED, spent=0.0, begun=time.monotonic())
    listener = PhaseListener(Listener(), clock)
    clock.begin("search")
    listener.on_progress(12, 12, "")
    listener.on_stage("training the best candidates")
    assert clock.phase == "comparison"
    assert clock.left == pytest.approx(570.0, abs=5.0)


def test_a_comparison_that_is_left_out_is_made_up_for_by_a_longer_fit(tmp_path):
    notes = []

    class Notes(Listener):
        def on_note(self, text):
            notes.append(text)

    run, fit = Notes(), PhaseListener(Notes(), Clock(PLANNED, spent=0.0, begun=0.0))
    for listener in (run, fit):
        listener.on_left_out("comparison", tmp_path / "a run")
    assert notes[0].startswith("no time was left for the comparison; a larger --time-budget ")
    assert notes[0].endswith(f"mnas-search resume '{tmp_path}/a run' --time-budget ...")
    assert notes[1] == "no time was left for the comparison; a new fit with a longer --time has it"
