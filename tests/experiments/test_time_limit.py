"""The time budget of a whole run: its search ends in time for what follows."""

import time
from dataclasses import dataclass, field
from typing import Any

import pytest

from mnas_search.experiments.search.time_limit import TimeLimit, seconds_spent
from mnas_search.nas.trial import Trial


@dataclass
class Events:
    events: list[dict[str, Any]] = field(default_factory=list)

    def append(self, event: dict[str, Any], *, sync: bool = False) -> None:
        self.events.append({**event, "time": 0.0})


def tells(*seconds):
    return Events([{"event": "tell", "status": "ok", "seconds": s, "time": 0.0} for s in seconds])


def limit(seconds, journal, *, workers=2, ago=0.0):
    return TimeLimit(seconds, journal, workers=workers, begun=time.monotonic() - ago)


@pytest.mark.parametrize(
    ("budget", "following", "allowed"),
    [
        (None, 10**6, True),
        (56.0, 8, True),  # 10 for the candidate, 4 x 10 for 8 trainings
        (56.0, 9, False),  # one wave more
        (14.0, 0, False),  # the start of this session took 5 of them
    ],
)
def test_a_candidate_is_allowed_where_what_follows_fits(budget, following, allowed):
    one = limit(budget, tells(50.0, 40.0, 10.0, 10.0), ago=5.0)  # two of them began workers
    assert one.allows_candidate(following) is allowed


def test_nothing_is_known_before_the_first_candidate():
    assert limit(1.0, Events()).allows_candidate(100)
    assert not limit(1.0, Events(), ago=2.0).allows_candidate(0)


def test_the_first_candidates_count_until_others_are_known():
    one = limit(100.0, tells(30.0))
    assert one.mean == 30.0
    assert not one.allows_candidate(8)
    assert limit(100.0, tells(30.0, 90.0, 10.0)).mean == 10.0


def test_a_machine_that_has_become_slower_is_noticed():
    slower = tells(1.0, 1.0, *[10.0] * 12, *[20.0] * 4)
    assert limit(100.0, slower).mean == 20.0
    assert limit(100.0, tells(1.0, 1.0, *[20.0] * 4, *[10.0] * 4)).mean == 15.0  # no hurry
    many = tells(*[1.0] * 8, *[10.0] * 4, *[20.0] * 4)  # eight workers, half of them so far
    assert limit(100.0, many, workers=8).mean == 15.0
    assert not limit(100.0, slower).allows_candidate(8)  # 20 for it, 80 for the rest


@pytest.mark.parametrize(
    ("left", "candidate", "comparison"),
    [
        (75.0, True, True),  # 10 for the candidate, 60 for twelve trainings by two workers
        (65.0, False, True),
        (40.0, True, False),  # too late for a comparison: the search has its time
        (9.0, False, False),
    ],
)
def test_a_comparison_that_cannot_end_in_time_is_left_out(left, candidate, comparison):
    journal = tells(10.0, 10.0, 10.0)
    one = limit(100.0, journal, ago=100.0 - left)
    assert one.allows_candidate(0, 12) is candidate
    assert one.allows_comparison(12) is comparison
    assert not one.left_out
    one.leave_out_comparison()
    assert one.left_out and limit(100.0, journal).left_out
    assert not limit(101.0, journal).left_out  # it can be made up for


def test_what_has_begun_may_end_a_little_late():
    one = limit(100.0, tells(10.0), ago=60.0)
    assert one.allows_comparison(8)
    journal = tells(10.0)
    late = limit(100.0, journal, ago=103.0)
    assert not late.is_late and late.left < 0
    assert limit(100.0, journal, ago=109.0).is_late
    assert not limit(None, journal, ago=1e6).is_late


def test_a_refusal_is_final():
    journal = tells(10.0, 10.0, 10.0)
    one = limit(15.0, journal)
    assert not one.allows_candidate(4)
    assert not one.allows_candidate(0)
    assert [event["event"] for event in journal.events[3:]] == ["time over"]
    assert not limit(15.0, journal, workers=8).allows_candidate(0)  # in a later session, too
    assert len(journal.events) == 4
    assert limit(50.0, journal).allows_candidate(4)


def test_other_work_gets_half_of_the_limit_at_most():
    short = tells(0.1, 0.1, 0.1)
    assert limit(10.0, short).allows_candidate(0, reserved=30.0)
    assert not limit(10.0, short, ago=5.0).allows_candidate(0, reserved=30.0)


def test_durations_of_finished_candidates_are_learned():
    one = limit(100.0, Events())
    assert one.allows_candidate(0) and one.mean is None
    for status, seconds in (
        ("ok", 90.0),
        ("ok", 80.0),
        ("ok", 30.0),
        ("stopped", 1.0),
        ("ok", 50.0),
    ):
        one.record(trial(status, seconds))
    assert one.mean == 40.0
    assert one.duration(3) == pytest.approx(80.0, abs=1.0)
    assert not one.allows_candidate(3)


def test_earlier_sessions_count_from_their_start_to_their_last_event():
    times = [("session", 0.0), ("ask", 2.0), ("tell", 9.0), ("session", 100.0), ("ask", 101.5)]
    journal = Events([{"event": name, "time": at} for name, at in times])
    assert seconds_spent(journal) == 10.5
    assert seconds_spent(Events()) == 0.0
    journal.events[0]["seconds"] = 3.0  # before the first event
    assert seconds_spent(journal) == 13.5


def test_the_start_of_the_workers_counts_without_what_comes_before(monkeypatch):
    now = 0.0
    monkeypatch.setattr(time, "monotonic", lambda: now)
    one = TimeLimit(1000.0, Events(), workers=1, begun=0.0)
    now = 180.0  # a table of latencies was built
    assert one.allows_candidate(1)
    one.start()
    now = 200.0
    one.record(trial("ok", 12.0))
    assert one.duration(1) == 20.0


def trial(status, seconds):
    return Trial(
        number=0,
        choices={},
        fingerprint="f",
        status=status,
        accuracy=0.5,
        costs={"macs": 1, "params": 1},
        reward=0.5 if status == "ok" else None,
        feasible=True,
        seconds=seconds,
        rung=1 if status == "stopped" else None,
    )
