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
    rows = len((folder / "trials.csv").read_text().splitlines()) - 1
    assert len(finished) - rows in (0, 1)  # the signal may come between a trial's line and row

    done, _, err = run_cli("resume", folder)
    assert done == 0, err
    tells = [e["trial"] for e in events(folder) if e["event"] == "tell"]
    assert tells[: len(finished)] == finished
    assert sorted(tells) == list(range(8))


@pytest.mark.parametrize(
    ("name", "code", "word"), [("SIGTERM", 143, "terminated"), ("SIGINT", 130, "interrupted")]
)
@pytest.mark.parametrize("raised", ["KeyboardInterrupt", "OSError('lost')", "SystemExit(3)"])
def test_the_signal_decides_the_exit_code_and_not_what_is_raised(name, code, word, raised):
    """Ray raises `KeyboardInterrupt` for every exception of a handler."""
    program = f"""
import os, signal, time
from mnas_search.cli import app
@app.group.command("wait")
def wait():
    try:
        os.kill(os.getpid(), signal.{name})
        time.sleep(60)
    except KeyboardInterrupt:
        raise {raised} from None
app.main(["wait"])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True)
    assert (done.returncode, done.stdout, done.stderr.strip()) == (code, "", f"error: {word}")
