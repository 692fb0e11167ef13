"""The journal's checksums, and what it refuses: damaged lines, impossible values, links."""

import json
import logging

import pytest
from toy_search import Scripted, codes_of, finish, make

from mnas_search.common.checksums import CHECKSUM, with_checksum
from mnas_search.common.errors import RunFolderError
from mnas_search.nas.event_kinds import SEARCH_EVENTS, TRAINING, check_event
from mnas_search.nas.journal import CLOCK, Journal, read_events
from mnas_search.nas.trial import Failure


@pytest.fixture
def path(tmp_path):
    return tmp_path / "journal.jsonl"


@pytest.fixture
def searched(path):
    """A journal of three trials, one of them a duplicate."""
    with Journal(path, SEARCH_EVENTS) as journal:
        search = make(journal, Scripted(codes_of(3, 4, 3)), trials=2)
        while (work := search.next()) is not None:
            finish(search, work)
    return path


def timeless(events):
    return [{k: v for k, v in event.items() if k not in CLOCK} for event in events]


def test_every_flipped_bit_is_refused_or_changes_no_event(path):
    with Journal(path) as journal:
        journal.append({"event": "one", "seconds": 1.5, "trial": 1, "accuracy": 0.25})
        journal.append({"event": "two", "error": None})
    whole = path.read_bytes()
    events, refused = timeless(read_events(path)), 0
    for bit in range(8 * len(whole)):
        changed = bytearray(whole)
        changed[bit // 8] ^= 1 << bit % 8
        path.write_bytes(changed)
        try:
            found = read_events(path)
        except RunFolderError as error:
            assert str(path) in str(error)
            refused += 1
        else:
            # A flip in the name of the checksum leaves the content as it was.
            named = [{n: e.get(n) for n in own} for e, own in zip(found, events, strict=True)]
            assert named == events, bit
    clock = 8 * whole.count(b"time") * len("1764250574.123")
    assert refused > 8 * len(whole) - clock - 8 * len("checksum" + "seconds1.5")


def test_equal_searches_have_equal_lines_but_for_times(tmp_path):
    lines = []
    for name in ("a", "b"):
        with Journal(tmp_path / name) as journal:
            journal.append({"event": "tell", "trial": 0, "seconds": 1.0 if name == "a" else 2.0})
        (line,) = (tmp_path / name).read_text().splitlines()
        lines.append(json.loads(line))
    assert lines[0][CHECKSUM].startswith("crc32:")
    assert timeless(lines[:1]) == timeless(lines[1:])


def test_older_journals_are_read_and_their_new_lines_are_checked(path, caplog):
    old = '{"event": "one", "time": 1}\n{"event": "two", "time": 2}\n'
    path.write_text(old)
    with caplog.at_level(logging.WARNING, "mnas_search.nas.journal"), Journal(path) as journal:
        assert [event["event"] for event in journal.events] == ["one", "two"]
        journal.append({"event": "three"})
    assert [record.getMessage() for record in caplog.records] == [
        f"{path} has 2 lines of an earlier version, which have no checksum"
    ]
    assert path.read_text().startswith(old)
    assert CHECKSUM in json.loads(path.read_text().splitlines()[2])
    path.write_text(path.read_text() + old)
    with pytest.raises(RunFolderError, match="line 4 has no checksum"):
        read_events(path)


def rewritten(path, number, **changes):
    """Change a line and give it the checksum of its new content."""
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    line = {**lines[number], **changes}
    line.pop(CHECKSUM)
    lines[number] = with_checksum(line, without=CLOCK)
    path.write_text("".join(json.dumps(one) + "\n" for one in lines))


@pytest.mark.parametrize(
    ("number", "changes", "says"),
    [
        (0, {"event": "banana"}, "event must be one of session, warm start"),
        (0, {"event": None}, "event must be one of"),
        (0, {"event": ["ask"]}, "event must be one of"),
        (0, {"trial": -1}, "trial must be a whole number of at least 0, got -1"),
        (0, {"choices": []}, "choices must be an object, got []"),
        (0, {"fingerprint": 3}, "fingerprint must be text, got 3"),
        (1, {"accuracy": None}, "accuracy of trial 0 must be a number: the trial is ok"),
        (1, {"reward": None}, "reward of trial 0 must be a number"),
        (1, {"accuracy": 1.5}, "accuracy must be a fraction from 0 to 1, or none, got 1.5"),
        (1, {"accuracy": float("nan")}, "is no event: b'{"),
        (1, {"accuracy": True}, "accuracy must be"),
        (1, {"seconds": "a"}, "seconds must be a number of at least 0, got 'a'"),
        (
            1,
            {"seconds": 10**400},
            "seconds must be a number of at least 0, got 1000",
        ),
        (
            1,
            {"macs": 10**400},
            "macs must be a whole number of at least 0, got 1000",
        ),
        (1, {"macs": 1.5}, "macs must be a whole number"),
        (1, {"time": "a"}, "time must be a number of at least 0"),
        (1, {"time": None}, "time must be a number of at least 0"),
        (1, {"status": "good"}, "status must be one of ok, failed, stopped, got 'good'"),
    ],
)
def test_impossible_values_are_one_line_that_names_file_and_line(searched, number, changes, says):
    rewritten(searched, number, **changes)
    with pytest.raises(RunFolderError) as caught, Journal(searched, SEARCH_EVENTS) as journal:
        make(journal, Scripted(codes_of(3, 4, 3)), trials=2)
    assert f"{searched} line {number + 1}" in str(caught.value)
    assert says in str(caught.value) and "\n" not in str(caught.value)


def test_a_replay_compares_networks_with_their_choices(searched):
    lines = [json.loads(line) for line in searched.read_text().splitlines()]
    whole = searched.read_text()
    other = next(line["choices"] for line in lines if line.get("trial") == 1)
    numbers = {(line["event"], line["trial"]): n for n, line in enumerate(lines)}
    for place, changes, says in (
        (("ask", 0), {"choices": other}, "fingerprint of trial 0 must be"),
        (("ask", 0), {"choices": {**other, "s0.width": 7}}, "s0.width must be one of"),
        (("ask", 0), {"seed": 5}, "seed of trial 0 must be"),
        (("ask", 1), {"trial": 2}, "number of trial 1 must be 1, got 2"),
        (("ask", 1), {"duplicate_of": 0}, "duplicate_of of trial 1 must be None, got 0"),
        (("tell", 0), {"macs": 5}, "macs of trial 0 must be"),
        (("tell", 0), {"params": 5}, "params of trial 0 must be"),
        (("tell", 0), {"reward": 0.1}, "reward of trial 0 must be"),
        (("tell", 1), {"trial": 0}, "trial 0 must be told once"),
        (("tell", 1), {"trial": 9}, "it cannot be read (IndexError"),
    ):
        rewritten(searched, numbers[place], **changes)
        with pytest.raises(RunFolderError) as caught, Journal(searched, SEARCH_EVENTS) as journal:
            make(journal, Scripted(codes_of(3, 4, 3)), trials=2)
        assert f"line {numbers[place] + 1}: {says}" in str(caught.value), says
        searched.write_text(whole)


def test_a_failed_trial_has_no_accuracy_and_is_taken_back(path):
    for trials in (1, 2):
        with Journal(path, SEARCH_EVENTS) as journal:
            search = make(journal, Scripted(codes_of(0, 1)), trials=trials)
            search.record(search.next(), Failure(reason="no"), 0.5)
    assert [t.status for t in search.trials] == ["failed", "failed"]


def test_a_last_line_whose_end_was_changed_is_not_cut(searched):
    content = searched.read_bytes()
    searched.write_bytes(content[:-1] + b"\x0b")
    with pytest.raises(RunFolderError, match="must end with a line break"):
        Journal(searched)
    searched.write_bytes(content[:-1])  # torn exactly there: cut, as any torn line
    count = len(content.splitlines())
    with Journal(searched) as journal:
        assert len(journal.events) == count - 1


def test_links_are_not_written_through(path, tmp_path):
    victim = tmp_path / "victim"
    victim.write_text("mine")
    path.symlink_to(victim)
    with pytest.raises(RunFolderError, match=r"must be a file, got a link to .*victim"):
        Journal(path)
    assert victim.read_text() == "mine"


def test_what_would_be_refused_is_not_written(path):
    with Journal(path, {"training": TRAINING}) as journal:
        for event, says in (
            ({"event": "other"}, "event must be one of training, got 'other'"),
            ({"event": "training", "seed": -1}, "fingerprint must be text"),
        ):
            with pytest.raises(ValueError, match=says):
                journal.append(event)
    assert not path.read_bytes()
    check_event({"event": "other", "time": 1}, None)
