"""The events of a search stay those of an earlier commit: see `events_of_commit.py`."""

import json
import sys
from pathlib import Path

import events_of_commit
import pytest
from events_of_commit import BASE, CASES, Case, available, checkout, differences, journals

ASK = {
    "event": "ask",
    "trial": 0,
    "choices": {"stage0.kernel": 3},
    "duplicate_of": None,
    "phase": "search",
    "time": 1.5,
}
TELL = {
    "event": "tell",
    "trial": 0,
    "accuracy": 0.625,
    "params": 3,
    "seconds": 0.25,
    "phase": "search",
    "time": 2.5,
}
EVENTS = [ASK, TELL]


def changed(**fields):
    return [ASK, {**TELL, **fields}]


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    if not available(BASE):
        pytest.skip(f"commit {BASE} is not in this checkout")
    return checkout(BASE, tmp_path_factory.mktemp("base"))


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_events_equal_those_of_the_base(name, site):
    assert differences(journals(CASES[name], site), journals(CASES[name])) == []


def test_clock_times_do_not_matter():
    later = [{**ASK, "time": 7.0}, {**TELL, "time": 8.0, "seconds": 9.0}]
    assert differences({"journal.jsonl": EVENTS}, {"journal.jsonl": later}) == []


@pytest.mark.parametrize(
    "fields",
    [
        {"accuracy": 0.6250000000000001},
        {"params": 3.0},
        {"trial": False},
        {"accuracy": None},
        {"phase": "finals"},
        {"memory": 1},
    ],
    ids=str,
)
def test_the_first_difference_is_shown_with_both_events(fields):
    (name,) = fields
    (said,) = differences({"random.jsonl": EVENTS}, {"random.jsonl": changed(**fields)})
    first, old, new = said.splitlines()
    assert first == f"random.jsonl, event 2: {name}"
    whole = {n: value for n, value in TELL.items() if n not in ("time", "seconds")}
    assert json.loads(old.removeprefix("  old: ")) == whole
    assert json.dumps(json.loads(new.removeprefix("  new: "))[name]) == json.dumps(fields[name])


def test_a_field_that_is_missing_is_a_difference():
    without = [{name: value for name, value in ASK.items() if name != "duplicate_of"}, TELL]
    (said,) = differences({"journal.jsonl": EVENTS}, {"journal.jsonl": without})
    assert said.startswith("journal.jsonl, event 1: duplicate_of\n")


def test_events_and_journals_that_are_missing_or_too_many_are_differences():
    for old, new in ((EVENTS, EVENTS[:1]), (EVENTS[:1], EVENTS)):
        (said,) = differences({"journal.jsonl": old}, {"journal.jsonl": new})
        assert "event 2" in said and "no event" in said
    both = {"journal.jsonl": EVENTS, "random.jsonl": EVENTS}
    (said,) = differences(both, {"journal.jsonl": EVENTS})
    assert said.startswith("random.jsonl, event 1") and said.endswith("new: no event")


def test_renamed_words_do_not_matter_and_the_old_ones_do(monkeypatch):
    new = [
        {("original" if name == "duplicate_of" else name): value for name, value in ASK.items()},
        {**TELL, "event": "result", "phase": "evaluation"},
    ]
    new[0]["phase"] = "evaluation"
    assert differences({"journal.jsonl": EVENTS}, {"journal.jsonl": new})
    monkeypatch.setitem(events_of_commit.RENAMED_FIELDS, "duplicate_of", "original")
    monkeypatch.setitem(events_of_commit.RENAMED_VALUES["event"], "tell", "result")
    monkeypatch.setitem(events_of_commit.RENAMED_VALUES["phase"], "search", "evaluation")
    assert differences({"journal.jsonl": EVENTS}, {"journal.jsonl": new}) == []
    assert differences({"journal.jsonl": EVENTS}, {"journal.jsonl": EVENTS})
    new[1]["accuracy"] = 0.5
    assert differences({"journal.jsonl": EVENTS}, {"journal.jsonl": new})


def test_a_run_is_recorded_read_again_and_cut(tmp_path, monkeypatch, capsys):
    evaluator = f"{Path(events_of_commit.__file__).parent / 'evaluators_for_tests.py'}:by_params"
    case = Case(("--evaluator", evaluator, "--trials", "6", "--workers", "0"), {"tell": 3})
    monkeypatch.setitem(CASES, "short", case)
    found = journals(case)["journal.jsonl"]
    assert [event["event"] for event in found] == ["session", *["ask", "tell"] * 3]
    monkeypatch.setattr(sys, "argv", ["", "--compare", str(tmp_path), "--case", "short"])
    events_of_commit.write({"journal.jsonl": found}, tmp_path / "short")
    assert events_of_commit.main() == 0
    assert f"short: equal, {len(found)} events" in capsys.readouterr().out
    found[-1]["macs"] += 1
    events_of_commit.write({"journal.jsonl": found}, tmp_path / "short")
    assert events_of_commit.main() == 1
    out = capsys.readouterr().out
    assert "short: DIFFERENT" in out and f"event {len(found)}: macs\n  old: " in out


def test_unknown_commits_are_not_available():
    assert not available("0" * 40)
