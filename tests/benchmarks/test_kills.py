"""Commands that are killed at random moments and resumed."""

import pytest

from mnas_search.benchmarks.reliability import kills

CHEAP = [case for case in kills.CASES if case.name == "run tpe, in process"]


def test_a_run_that_is_killed():
    outcome = kills.run(count=1, seed=0, note=lambda text: None, cases=CHEAP)
    assert outcome.failures == ()
    assert outcome.records == [{"case": "run tpe, in process", "unharmed": 1, "harmed": 0}]


@pytest.mark.full
def test_all_commands_that_are_killed(run_cli):
    code, out, err = run_cli("bench", "reliability", "--part", "kills", "--count", 12)
    assert code == 0, err
    assert "harmed" in out


def test_harm_is_found(tmp_path):
    case, whole = CHEAP[0], kills._Reference(seconds=1.0, journals={"journal.jsonl": []})
    journal = tmp_path / "journal.jsonl"
    line = b'{"event": "tell", "trial": 0, "accuracy": 0.5, "time": 1}\n'
    journal.write_bytes(line)
    assert kills._compare(case, tmp_path, whole, {journal: line * 2}) == (
        "journal.jsonl has lost lines"
    )
    assert kills._compare(case, tmp_path, whole, {journal: line}) == (
        "the journals are not those of the command without a kill"
    )
    journal.write_bytes(line * 2)
    assert kills._compare(case, tmp_path, whole, {journal: line}) == (
        "journal.jsonl has something twice"
    )
