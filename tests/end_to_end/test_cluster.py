"""Runs over a real cluster that loses nodes, workers that die and hang, and signals."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from runs import PATIENCE

pytestmark = pytest.mark.full

HERE = Path(__file__).parents[1]
COMMAND = [sys.executable, "-c", "from mnas_search.cli import main; main()"]


def command(folder, evaluator, **options):
    named = {
        "target-flops": "400M",
        "evaluator": f"{HERE / 'evaluators_for_tests.py'}:{evaluator}",
        "controller": "random_search",
        "trials": 8,
        "workers": 2,
        "output": folder,
        **options,
    }
    return [*COMMAND, "run", *(str(x) for k, v in named.items() for x in (f"--{k}", v))]


def start(line, **environment):
    return subprocess.Popen(
        line,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
        env={**os.environ, **environment},
    )


def run(line, **environment):
    process = start(line, **environment)
    out, err = process.communicate(timeout=PATIENCE)
    return process.returncode, out, err


def events(folder, kind):
    journal = Path(folder) / "journal.jsonl"
    text = journal.read_text() if journal.exists() else ""
    lines = text[: text.rfind("\n") + 1].splitlines()
    return [event for event in map(json.loads, lines) if event["event"] == kind]


def wait_for_tells(process, folder, count):
    deadline = time.monotonic() + PATIENCE
    while len(events(folder, "tell")) < count:
        assert process.poll() is None, process.stderr.read()
        assert time.monotonic() < deadline
        time.sleep(0.05)


def errors(folder):
    """The error of each network that was tried, by its fingerprint as a number."""
    tells = {event["trial"]: event["error"] for event in events(folder, "tell")}
    asks = events(folder, "ask")
    return {int(event["fingerprint"], 16): tells[event["trial"]] for event in asks}


def live_processes(session):
    found = subprocess.run(["pgrep", "-s", str(session)], capture_output=True, text=True)
    return found.stdout.split()


def scratch():
    return set(Path("/tmp").glob("mnas-search-*.d"))


@pytest.fixture
def cluster(monkeypatch):
    """A head without CPUs, and two nodes with one each, as raylets of this machine."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")
    from ray.cluster_utils import Cluster

    made = Cluster(initialize_head=True, head_node_args={"num_cpus": 0})
    made.workers = [made.add_node(num_cpus=1) for _ in range(2)]
    yield made
    made.shutdown()


# -- a cluster ------------------------------------------------------------------------------------


def test_a_node_is_lost_in_mid_run(cluster, tmp_path):
    folder, log = tmp_path / "run", tmp_path / "log"
    options = {"ray-address": cluster.address, "trials": 12}
    process = start(command(folder, "slow", **options), TRAINED_LOG=str(log))
    wait_for_tells(process, folder, 3)
    cluster.remove_node(cluster.workers[1], allow_graceful=False)
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 0, err
    assert {e["status"] for e in events(folder, "tell")} == {"ok"}
    numbers = [e["trial"] for e in events(folder, "tell")]
    assert sorted(numbers) == list(range(12))
    assert "1 worker was lost" in err


def test_a_head_is_lost_and_the_run_is_resumed_elsewhere(cluster, tmp_path):
    folder = tmp_path / "run"
    line = command(folder, "slow", **{"ray-address": cluster.address, "trials": 40})
    process = start(line)
    wait_for_tells(process, folder, 2)
    cluster.head_node.kill_all_processes(check_alive=False, allow_graceful=False)
    lost = time.monotonic()
    _, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 1, err
    assert "error: the Ray cluster joined at" in err and "--ray-address local" in err
    assert "Traceback" not in err
    assert time.monotonic() - lost < 300
    finished = len(events(folder, "tell"))

    code, _, err = run([*COMMAND, "resume", str(folder), "--trials", "41"])
    assert code == 1 and "no Ray cluster at" in err and "--ray-address local" in err
    assert len(events(folder, "tell")) == finished
    more = ("--ray-address", "local", "--workers", "0")
    code, _, err = run([*COMMAND, "resume", str(folder), *more])
    assert code == 0, err
    assert len(events(folder, "tell")) >= 41


# -- workers --------------------------------------------------------------------------------------


def test_workers_that_segfault_once_or_for_some_networks(tmp_path):
    folder, log = tmp_path / "run", tmp_path / "log"
    code, _, err = run(command(folder, "segfault", trials=9), TRAINED_LOG=str(log))
    assert code == 0, err
    found = errors(folder)
    assert {number % 3 for number in found} == {0, 1, 2}
    for number, error in found.items():
        if number % 3 == 0:
            assert error.startswith("worker lost, twice")
        else:
            assert error is None
    assert "workers were lost" in err


@pytest.mark.parametrize("how", ["crash", "no_memory"])
def test_workers_that_always_die(tmp_path, how):
    folder = tmp_path / "run"
    code, _, err = run(command(folder, how, trials=2))
    assert code == 1
    assert "all 2 candidates failed; the first one: worker lost, twice" in err


def test_a_worker_that_cannot_be_interrupted_is_ended_and_its_trial_is_not_repeated(tmp_path):
    folder, log = tmp_path / "run", tmp_path / "log"
    options = {"trial-timeout": "2s", "trials": 6}
    code, _, err = run(command(folder, "stuck", **options), TRAINED_LOG=str(log))
    assert code == 0, err
    found = errors(folder)
    assert {number % 2 for number in found} == {0, 1}
    assert all(error == ("timed out" if number % 2 else None) for number, error in found.items())
    begun = [name for name in log.read_text().split() if int(name, 16) % 2]
    assert len(begun) == len(set(begun))


def test_what_hangs_after_the_time_budget_is_cut_off(tmp_path):
    folder = tmp_path / "run"
    code, _, err = run(command(folder, "hanging", trials=30, **{"time-budget": "90s"}))
    assert code == 0, err
    assert "cut off, after the end of the time budget" in err
    assert {e["status"] for e in events(folder, "tell")} == {"ok"}


# -- signals --------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", [0, 2])
def test_sigterm_ends_a_run_in_order(tmp_path, workers):
    folder, log, before = tmp_path / "run", tmp_path / "log", scratch()
    line = command(folder, "slow", workers=workers, trials=16)
    process = start(line, TRAINED_LOG=str(log))
    wait_for_tells(process, folder, 3)
    process.send_signal(signal.SIGTERM)
    out, err = process.communicate(timeout=PATIENCE)
    assert (process.returncode, out) == (143, "")
    assert err.count("resume with: mnas-search resume ") == 1
    assert "Traceback" not in err and "SIGTERM received" not in err
    finished = {e["trial"] for e in events(folder, "tell")}
    assert len((folder / "trials.csv").read_text().splitlines()) == len(finished) + 1
    assert scratch() == before
    deadline = time.monotonic() + 60
    while live_processes(process.pid) and time.monotonic() < deadline:
        time.sleep(0.2)
    assert not live_processes(process.pid)

    asked = {e["trial"]: (e["fingerprint"], str(e["seed"])) for e in events(folder, "ask")}
    log.write_text("")
    code, _, err = run([*COMMAND, "resume", str(folder)], TRAINED_LOG=str(log))
    assert code == 0, err
    again = {tuple(line.split()[:2]) for line in log.read_text().splitlines()}
    assert not {asked[number] for number in finished} & again
    assert len(events(folder, "tell")) == 16


def test_the_next_start_removes_what_a_kill_has_left(tmp_path):
    folder, before = tmp_path / "run", scratch()
    process = start(command(folder, "slow", trials=16))
    wait_for_tells(process, folder, 1)
    left = scratch() - before
    assert left
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    assert all(one.exists() for one in left)
    code, _, err = run([*COMMAND, "resume", str(folder)])
    assert code == 0, err
    assert not any(one.exists() for one in left)


def test_a_home_that_is_read_only(tmp_path):
    code, _, err = run(command(tmp_path / "run", "by_params", trials=3), HOME="/dev/null")
    assert code == 0, err
