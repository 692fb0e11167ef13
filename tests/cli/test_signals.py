"""Signals end a command in order, and it can be resumed."""

import os
import signal
import subprocess
import sys
import time

import pytest
from runs import EVALUATOR, PATIENCE, arguments, events


@pytest.mark.parametrize(
    ("number", "code", "word"),
    [(signal.SIGTERM, 143, "terminated"), (signal.SIGINT, 130, "interrupted")],
)
def test_a_run_that_gets_a_signal(run_cli, tmp_path, number, code, word):
    folder, log = tmp_path / "run", tmp_path / "log"
    line = arguments(folder, evaluator=EVALUATOR.replace("by_params", "slow"), trials=8)
    process = subprocess.Popen(
        [sys.executable, "-m", "mnas_search", "run", *map(str, line)],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "TRAINED_LOG": str(log)},
    )
    deadline = time.monotonic() + PATIENCE
    while not log.exists() or len(log.read_text().splitlines()) < 2:
        assert process.poll() is None and time.monotonic() < deadline
        time.sleep(0.02)
    process.send_signal(number)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (code, "")
    lines = [line for line in err.splitlines() if line]
    assert lines[-2].startswith("resume with: mnas-search resume ")
    assert lines[-1] == f"error: {word}"
    assert "Traceback" not in err
    finished = [e["trial"] for e in events(folder) if e["event"] == "tell"]
    assert len((folder / "trials.csv").read_text().splitlines()) == len(finished) + 1

    done, _, err = run_cli("resume", folder)
    assert done == 0, err
    tells = [e["trial"] for e in events(folder) if e["event"] == "tell"]
    assert tells[: len(finished)] == finished
    assert sorted(tells) == list(range(8))
