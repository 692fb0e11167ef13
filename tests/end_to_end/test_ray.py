"""Runs over real Ray workers, as processes of their own, and what happens when they are hit."""

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from runs import PATIENCE

from mnas_search.architecture.traced_network import TracedNetwork
from mnas_search.evaluators.proxy_training import ProxyTraining
from mnas_search.nas.core import training_seed
from mnas_search.nas.job import EvaluationJob, measure
from mnas_search.nas.trial import Evaluation
from mnas_search.search_spaces.efficientnet import EfficientNetSpace

HERE = Path(__file__).parents[1]
COMMAND = [sys.executable, "-c", "from mnas_search.cli import main; main()"]


def command(folder, *, evaluator, trials=10, workers=2, **options):
    named = {
        "target-flops": "400M",
        "evaluator": f"{HERE / 'evaluators_for_tests.py'}:{evaluator}" if evaluator else None,
        "trials": trials,
        "workers": workers,
        "output": folder,
        **options,
    }
    return [*COMMAND, "run", *(str(x) for k, v in named.items() if v for x in (f"--{k}", v))]


def run(arguments, **environment):
    return subprocess.run(
        [str(a) for a in arguments],
        capture_output=True,
        text=True,
        env={**os.environ, **environment},
        timeout=PATIENCE,
    )


def events(folder, kind=None):
    journal = Path(folder) / "journal.jsonl"
    text = journal.read_text() if journal.exists() else ""
    lines = text[: text.rfind("\n") + 1].splitlines()
    return [e for e in map(json.loads, lines) if kind in (None, e["event"])]


def timeless(folder):
    return [
        {k: v for k, v in e.items() if k not in ("time", "seconds")}
        for e in events(folder)
        if e["event"] != "session"
    ]


def wait_for_tells(process, folder, count):
    deadline = time.monotonic() + PATIENCE
    while time.monotonic() < deadline:
        if len(events(folder, "tell")) >= count:
            return
        assert process.poll() is None, process.stderr.read()
        time.sleep(0.05)
    raise AssertionError("the search does not get on")


def trained(log):
    """(fingerprint, seed) and worker of everything that was trained to its end."""
    rows = [line.split() for line in Path(log).read_text().splitlines()]
    return [(f, int(s)) for f, s, _ in rows], {pid for _, _, pid in rows}


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """An uninterrupted run with one worker."""
    folder = tmp_path_factory.mktemp("whole") / "run"
    done = run(command(folder, evaluator="slow", workers=1), TRAINED_LOG=f"{folder}.log")
    assert done.returncode == 0, done.stderr
    return folder


@pytest.mark.full
def test_one_worker_gives_the_same_journal_twice(whole, tmp_path):
    folder = tmp_path / "run"
    done = run(command(folder, evaluator="slow", workers=1))
    assert done.returncode == 0, done.stderr
    assert timeless(folder) == timeless(whole)
    _, workers = trained(f"{whole}.log")
    assert len(workers) == 1  # one actor, reused


@pytest.mark.full
def test_kill_the_whole_process_group_and_resume(whole, tmp_path):
    folder, log = tmp_path / "run", tmp_path / "log"
    environment = {**os.environ, "TRAINED_LOG": str(log)}
    process = subprocess.Popen(
        command(folder, evaluator="slow", workers=1),
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_for_tells(process, folder, 4)
    os.killpg(process.pid, signal.SIGKILL)
    process.communicate()
    time.sleep(1.0)
    before = (folder / "journal.jsonl").read_bytes()
    kept = before[: before.rfind(b"\n") + 1]
    finished = {e["trial"] for e in events(folder, "tell")}
    fingerprints = {e["trial"]: (e["fingerprint"], e["seed"]) for e in events(folder, "ask")}
    log.write_text("")
    # A torn line, as a power cut may leave one.
    (folder / "journal.jsonl").write_bytes(kept + b'{"event": "tell", "tri')

    done = run([*COMMAND, "resume", folder], TRAINED_LOG=str(log))
    assert done.returncode == 0, done.stderr
    assert (folder / "journal.jsonl").read_bytes().startswith(kept)
    assert timeless(folder) == timeless(whole)  # the next asks as without the kill
    again, _ = trained(log)
    assert not {fingerprints[n] for n in finished} & set(again)  # none trained twice
    in_flight = set(fingerprints) - finished
    assert {fingerprints[n] for n in in_flight} <= set(again)
    tells = [e["trial"] for e in events(folder, "tell")]
    assert len(tells) == len(set(tells))


@pytest.mark.full
def test_ctrl_c_ends_with_130_and_a_folder_that_goes_on(tmp_path):
    folder = tmp_path / "run"
    process = subprocess.Popen(
        command(folder, evaluator="slow", trials=16),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_for_tells(process, folder, 3)
    os.killpg(process.pid, signal.SIGINT)  # as a terminal does it: to workers too
    out, err = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130, err
    assert out == ""
    assert f"mnas-search resume {folder}" in err
    assert "Traceback" not in err
    finished = len(events(folder, "tell"))
    assert len((folder / "trials.csv").read_text().splitlines()) == finished + 1
    assert all(e["status"] == "ok" for e in events(folder, "tell"))
    assert finished < 16
    done = run([*COMMAND, "resume", folder, "--format", "json"])
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["trials"] == 16


@pytest.mark.full
def test_two_workers_share_the_work_and_errors_are_outcomes(tmp_path):
    folder = tmp_path / "run"
    done = run(
        command(folder, evaluator="troubled", trials=16, controller="random_search", format="json")
    )
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["trials"] == 16
    tells = {e["trial"]: e for e in events(folder, "tell")}
    kinds = {e["trial"]: int(e["fingerprint"], 16) % 3 for e in events(folder, "ask")}
    assert {0, 1, 2} == set(kinds.values())
    for number, tell in tells.items():
        if kinds[number] == 0:
            assert tell["status"] == "failed"
            assert tell["error"].startswith("ValueError: this one (")  # file and line
        elif kinds[number] == 1:
            error = "accuracy must be a fraction from 0 to 1, got nan"
            assert (tell["status"], tell["error"]) == ("failed", error)
        else:
            assert tell["status"] == "ok"


@pytest.mark.full
def test_a_dead_worker_is_replaced_and_its_work_tried_once_more(tmp_path):
    folder, marks = tmp_path / "run", tmp_path / "marks"
    marks.mkdir()
    done = run(command(folder, evaluator="fatal", trials=6), TRAINED_LOG=str(marks))
    assert done.returncode == 0, done.stderr
    kinds = {e["trial"]: int(e["fingerprint"], 16) % 3 for e in events(folder, "ask")}
    tells = {e["trial"]: e for e in events(folder, "tell")}
    assert {0, 1} <= set(kinds.values())
    for number, kind in kinds.items():
        if kind == 1:
            assert tells[number]["status"] == "failed"
            assert tells[number]["error"].startswith("worker lost, twice: Worker unexpectedly")
        else:
            assert tells[number]["status"] == "ok"


@pytest.mark.full
def test_a_long_temporary_folder_and_a_module_beside_the_evaluators_file(tmp_path):
    temporary = tmp_path / ("long" * 30)
    temporary.mkdir()
    (tmp_path / "beside_an_evaluator.py").write_text("VALUE = 0.25\n")
    file = tmp_path / "mine.py"
    file.write_text("import beside_an_evaluator as b\ndef score(a): return b.VALUE\n")
    wanted = command(tmp_path / "run", evaluator=None, trials=3)
    done = run([*wanted, "--evaluator", f"{file}:score"], TMPDIR=str(temporary))
    assert done.returncode == 0, done.stderr
    assert {e["accuracy"] for e in events(tmp_path / "run", "tell")} == {0.25}


@pytest.mark.full
def test_more_gpus_than_there_are(tmp_path):
    done = run(command(tmp_path / "run", evaluator="slow", **{"gpus-per-trial": 99}))
    assert done.returncode == 2
    assert "99 GPUs a trial required, but Ray sees" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.full
@pytest.mark.parametrize(("workers", "gpus", "seen"), [(3, 2, 2), (2, 3, 2)])
def test_workers_share_the_gpus(tmp_path, workers, gpus, seen):
    # Ray believes in them; nothing here uses them.
    there = {"RAY_OVERRIDE_RESOURCES": json.dumps({"GPU": gpus})}
    wanted = command(tmp_path / "run", evaluator="SharedGpu", workers=workers, trials=12)
    done = run(wanted, TRAINED_LOG=str(tmp_path / "log"), **there)
    assert done.returncode == 0, done.stderr
    found = {*(tmp_path / "log").read_text().split()}
    assert len(found) == seen and found <= set("012")


def test_the_main_job_in_small_and_a_candidate_trained_again_by_hand(tmp_path):
    """Real Ray, real Optuna, real training on real data."""
    folder = tmp_path / "run"
    options = {"data": "digits", "proxy": "epochs=2", "seed": 7, "format": "json"}
    done = run(command(folder, evaluator=None, trials=3, **options))
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["trials"] == 3
    assert report["failed"] == 0
    assert report["seed_noise"] is not None
    assert report["spread"] is not None
    ask, tell = events(folder, "ask")[0], events(folder, "tell")[0]
    ask = next(e for e in events(folder, "ask") if e["trial"] == tell["trial"])
    assert ask["seed"] == training_seed(7, ask["fingerprint"])
    network = EfficientNetSpace().decode(ask["choices"])
    outcome, _ = measure(
        ProxyTraining(proxy="epochs=2"),
        EvaluationJob(number=ask["trial"], network=network, seed=ask["seed"]),
    )
    assert isinstance(outcome, Evaluation)
    assert outcome.accuracy == tell["accuracy"]
    assert tell["accuracy"] > 0.2  # chance is 0.1
    assert len(events(folder, "verdict")) == 6 * 3


@pytest.mark.full
def test_a_traced_network_travels(tmp_path):
    example = HERE.parent / "examples" / "my_vit.py"
    folder = tmp_path / "run"
    arguments = command(folder, evaluator=None, trials=3, space=f"{example}:TinyViTs")
    arguments[arguments.index("400M")] = "1M"
    done = run([*arguments, "--evaluator", f"{example}:train", "--format", "json"])
    assert done.returncode == 0, done.stderr
    report = json.loads(done.stdout)
    assert report["best"]["architecture"].startswith("vit-w")
    assert report["best"]["accuracy"] > 0.3
    assert "not a chain of stages" in " ".join(report["notes"])
    done = run([*COMMAND, "profile", folder])
    assert done.returncode == 2


def test_proxy_training_refuses_what_is_no_chain_of_stages():
    from mnas_search.common.errors import UsageError

    network = TracedNetwork(build=lambda: None, key="vit")
    with pytest.raises(UsageError, match="got the traced network 'vit'"):
        measure(ProxyTraining(), EvaluationJob(number=0, network=network, seed=0))


@pytest.mark.full
def test_nothing_is_asked_ahead(tmp_path):
    """With one worker every ask follows the tell of the one before."""
    folder = tmp_path / "run"
    done = run(command(folder, evaluator="by_params", workers=1, trials=6))
    assert done.returncode == 0, done.stderr
    kinds = [e["event"] for e in events(folder) if e["event"] in ("ask", "tell")]
    assert kinds == ["ask", "tell"] * 6


def test_workers_read_one_supernet(tmp_path):
    """One of them trains it, and the others wait; their readings are those of one process."""
    journals = []
    for workers in (2, 0):
        folder, cache = tmp_path / f"run{workers}", tmp_path / f"cache{workers}"
        line = command(
            folder,
            evaluator=None,
            trials=6,
            workers=workers,
            space=f"{HERE / 'small_space.py'}:SmallSpace",
            data="digits",
            controller="random_search",
            proxy="steps=6,batch_size=16,reading_images=50",
            seed=3,
        )
        done = run([*line, "--evaluator", "supernet"], MNAS_SEARCH_CACHE=str(cache))
        assert done.returncode == 0, done.stderr
        assert len(list((cache / "supernets").glob("*.pt"))) == 1
        journals.append({e["trial"]: e["accuracy"] for e in events(folder, "tell")})
    assert journals[0] == journals[1] and len(journals[0]) == 6
