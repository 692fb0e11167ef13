"""Signals, time limits of code, and folders of processes that were killed."""

import os
import signal
import socket
import subprocess
import sys
import time

import pytest

from mnas_search.common.processes import head_watch
from mnas_search.common.processes.alarm import TimedOut, interrupted_after
from mnas_search.common.processes.head_watch import HeadGone, answers
from mnas_search.common.processes.scratch import remove_abandoned, scratch_folder


def python(code, **options):
    """Start a process that says "ready" once the code has printed it."""
    process = subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        **options,
    )  # fmt: skip
    assert process.stdout.readline() == "ready\n", process.stderr.read()
    return process


# -- time limits ----------------------------------------------------------------------------------


def test_an_alarm_interrupts_python_and_restores_the_handler():
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(TimedOut), interrupted_after(0.05):
        while True:
            pass
    assert signal.getsignal(signal.SIGALRM) == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_an_alarm_at_the_very_end_leaves_no_timer(monkeypatch):
    before, set_timer, late = signal.getsignal(signal.SIGALRM), signal.setitimer, []

    def interrupted(which, seconds, interval=0.0):
        """The alarm arrives when the code has ended, just before it is taken back."""
        if not seconds and not late:
            late.append(True)
            raise TimedOut
        return set_timer(which, seconds, interval)

    monkeypatch.setattr(signal, "setitimer", interrupted)
    with pytest.raises(TimedOut), interrupted_after(60.0):
        pass
    assert signal.getsignal(signal.SIGALRM) == before
    assert signal.getitimer(signal.ITIMER_REAL) == (0.0, 0.0)


def test_an_alarm_that_user_code_swallows_comes_again(monkeypatch):
    monkeypatch.setattr("mnas_search.common.processes.alarm._AGAIN", 0.05)
    swallowed = 0
    with pytest.raises(TimedOut), interrupted_after(0.05):
        while True:
            try:
                time.sleep(10)
            except TimedOut:
                swallowed += 1
                if swallowed > 1:
                    raise
    assert swallowed == 2


def test_code_in_time_is_left_alone():
    with interrupted_after(60.0):
        assert signal.getitimer(signal.ITIMER_REAL)[0] > 0
    with interrupted_after(float("inf")):
        assert signal.getitimer(signal.ITIMER_REAL)[0] == 0


# An endless computation of sqlite lets other threads run, one of Python's own does not.
ENDLESS = {
    "without the interpreter": "sqlite3.connect(':memory:').execute('WITH RECURSIVE t(n) AS "
    "(SELECT 1 UNION ALL SELECT n + 1 FROM t) SELECT count(*) FROM t').fetchall()",
    "with the interpreter": "sum(range(10**15))",
}


@pytest.mark.parametrize("what", ENDLESS)
def test_a_process_that_cannot_be_interrupted_ends_and_leaves_the_place(what, tmp_path):
    code = f"""
import sqlite3, sys
from mnas_search.common.processes import alarm
alarm.GRACE = alarm._HELD = 0.2
def train():
    {ENDLESS[what]}
with open({str(tmp_path / "place")!r}, "w") as file, alarm.interrupted_after(0.2, file):
    print("ready", flush=True)
    train()
"""
    process = python(code)
    _, err = process.communicate()
    assert process.returncode == 1
    assert "in train" in (tmp_path / "place").read_text()
    if what == "without the interpreter":  # else nothing can be printed
        assert err.count("\n") == 1 and "timed out, after 0 s, cannot be interrupted" in err


# -- signals --------------------------------------------------------------------------------------

ENDS = """
import signal, sys, time
from mnas_search.common.processes.signals import ending_in_order
try:
    with ending_in_order() as ending:
        try:
            print("ready", flush=True)
            time.sleep(60)
        finally:
            {cleaning}
except KeyboardInterrupt:
    sys.exit(signal.strsignal(ending.signal))
"""


@pytest.mark.parametrize(
    ("number", "word"), [(signal.SIGTERM, "Terminated"), (signal.SIGINT, "Interrupt")]
)
def test_the_first_signal_is_an_exception(number, word):
    process = python(ENDS.format(cleaning="pass"))
    for _ in range(2):  # at the same moment, as by GNU timeout
        process.send_signal(number)
    _, err = process.communicate()
    assert (process.returncode, err) == (1, f"{word}\n")


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_process_wherever_it_is(second):
    process = python(ENDS.format(cleaning="print('cleaning', flush=True); sum(range(10**15))"))
    process.send_signal(signal.SIGTERM)
    assert process.stdout.readline() == "cleaning\n"
    process.send_signal(second)
    process.communicate()
    assert process.returncode == -second


def test_signals_that_are_ignored_stay_so():
    process = python(
        "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)"
        + ENDS.format(cleaning="pass").replace("sleep(60)", "sleep(0.5)")
    )
    process.send_signal(signal.SIGTERM)
    _, err = process.communicate()
    assert (process.returncode, err) == (0, "")


def test_a_handler_is_kept_where_a_library_installs_its_own():
    code = """
import signal, sys, time
from mnas_search.common.processes.signals import ending_in_order, keeping_sigterm
def start():  # as Ray does
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))
try:
    with ending_in_order() as ending:
        with keeping_sigterm():
            start()
            {first}
        {second}
except KeyboardInterrupt:
    sys.exit(signal.strsignal(ending.signal))
"""
    waits = "print('ready', flush=True); time.sleep(60)"
    for first, second in ((waits, "pass"), ("pass", waits)):
        process = python(code.format(first=first, second=second))
        process.send_signal(signal.SIGTERM)
        _, err = process.communicate()
        assert (process.returncode, err) == (1, "Terminated\n")


# -- temporary folders ----------------------------------------------------------------------------

HOLDS = """
import time
from mnas_search.common.processes.scratch import scratch_folder
with scratch_folder() as folder:
    (folder / "file").touch()
    print("ready", flush=True)
    print(folder, flush=True)
    time.sleep(60)
"""


def test_folders_of_killed_processes_are_removed_and_those_of_living_ones_are_not(
    tmp_path, monkeypatch
):
    monkeypatch.setattr("mnas_search.common.processes.scratch._MAX_PLACE", 1_000)
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))
    monkeypatch.delenv("RAY_TMPDIR", raising=False)
    code = HOLDS.replace("import time", "import time, mnas_search.common.processes.scratch as s\n"
                         "s._MAX_PLACE = 1_000", 1)  # fmt: skip
    living, killed = (python(code, env={**os.environ, "TMPDIR": str(tmp_path)}) for _ in range(2))
    try:
        kept, left = (one.stdout.readline().strip() for one in (living, killed))
        other = tmp_path / "mnas-search-someone"
        other.mkdir()
        killed.kill()
        killed.wait()
        with scratch_folder() as own:
            assert {str(p) for p in tmp_path.iterdir()} == {kept, str(other), str(own)}
            remove_abandoned(tmp_path)  # a process of its own would do so
            assert own.exists() and os.path.exists(kept)
        assert not own.exists() and not os.path.exists(left)
    finally:
        for process in (living, killed):
            process.kill()
            process.communicate()


# -- heads of clusters ----------------------------------------------------------------------------


def test_a_head_that_goes_away_is_an_exception(monkeypatch):
    monkeypatch.setattr(head_watch, "_PERIOD", 0.05)
    monkeypatch.setattr(head_watch, "_PATIENCE", 0.2)
    before = signal.getsignal(signal.SIGUSR2)
    with socket.create_server(("127.0.0.1", 0)) as head:
        address = f"127.0.0.1:{head.getsockname()[1]}"
        with head_watch.watching(address, "of this test"):
            time.sleep(0.5)  # it answers
    with (
        pytest.raises(HeadGone, match=r"cluster of this test is gone.*--ray-address local"),
        head_watch.watching(address, "of this test"),
    ):
        while True:
            time.sleep(0.01)
    assert signal.getsignal(signal.SIGUSR2) == before


def test_a_process_that_waits_for_a_head_for_ever_ends():
    code = f"""
import sqlite3
from mnas_search.common.processes import head_watch
head_watch._PERIOD = head_watch._PATIENCE = head_watch._LAST = 0.2
with head_watch.watching("127.0.0.1:9", "of this test"):
    print("ready", flush=True)
    {ENDLESS["without the interpreter"]}
"""
    process = python(code)
    _, err = process.communicate()
    assert process.returncode == 1
    assert err.startswith("error: the Ray cluster of this test is gone") and err.count("\n") == 1


def test_what_answers():
    assert not answers("127.0.0.1:9")  # discard: nobody listens
    assert not answers("ray://127.0.0.1:9")
    assert answers("auto")  # Ray finds out


# -- tokens of private clusters -------------------------------------------------------------------


def test_the_token_of_a_private_cluster_is_in_the_environment_where_home_is_read_only(
    tmp_path, monkeypatch
):
    from mnas_search.common import ray_cluster

    monkeypatch.delenv("RAY_AUTH_TOKEN_PATH", raising=False)
    for home, provided in ((tmp_path, False), ("/dev/null", True)):
        monkeypatch.setenv("RAY_AUTH_TOKEN", "of before")  # what is set below is undone
        monkeypatch.delenv("RAY_AUTH_TOKEN")
        monkeypatch.setenv("HOME", str(home))
        ray_cluster._provide_token()
        assert ("RAY_AUTH_TOKEN" in os.environ) is provided
    monkeypatch.setenv("RAY_AUTH_TOKEN", "the user's")
    ray_cluster._provide_token()
    assert os.environ["RAY_AUTH_TOKEN"] == "the user's"
