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


def tells(*seconds):
    return Events([{"event": "tell", "status": "ok", "seconds": s, "time": 0.0} for s in seconds])


def limit(seconds, journal, *, workers=2, ago=0.0):
    return TimeLimit(seconds, journal, workers=workers, begun=time.monotonic() - ago)


@pytest.mark.parametrize(
    ("budget", "following", "allowed"),
    [
        (None, 10**6, True),
        (61.0, 8, True),  # 10 for the candidate, 4 x 10 for 8 trainings, 5 for the workers' start
        (61.0, 9, False),  # one wave more
        (14.0, 0, False),  # the start of this session took 5 of them
    ],
)
def test_a_candidate_is_allowed_where_what_follows_fits(budget, following, allowed):
    one = limit(budget, tells(50.0, 40.0, 10.0, 10.0), ago=5.0)  # two of them began workers
    assert one.allows_candidate(following) is allowed


def test_nothing_is_known_before_the_first_candidate():
    assert limit(1.0, Events()).allows_candidate(100)
    assert limit(1.0, tells(30.0, 30.0)).allows_candidate(100)
    assert not limit(1.0, Events(), ago=2.0).allows_candidate(0)


def test_a_refusal_is_final():
    one = limit(15.0, tells(10.0, 10.0, 10.0))
    assert not one.allows_candidate(4)
    assert not one.allows_candidate(0)


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
