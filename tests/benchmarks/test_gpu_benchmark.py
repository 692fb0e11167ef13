"""`bench gpu`: what becomes of its phases, and all of them on a CPU."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
import torch

from mnas_search import Dataset, Split, reference
from mnas_search.benchmarks.gpu import preparing, running
from mnas_search.benchmarks.gpu.phases import PHASES, Phase
from mnas_search.common.errors import UsageError, WorkFailed
from mnas_search.networks import build

TESTS = Path(__file__).parents[1]


def photos() -> Dataset:
    """Noise of ten classes; loaded by name in the benchmark's processes."""
    rng = np.random.default_rng(0)

    def split(count):
        images = rng.integers(0, 256, (count, 32, 32, 3), dtype=np.uint8)
        return Split(images=images, labels=np.arange(count) % 10)

    return Dataset(
        name="noise", num_classes=10, train=split(160), validation=split(40), test=split(40)
    )


DATA = f"{__file__}:photos"


def works(work):
    yield {"first": 1}
    yield {"second": 2.5}


def fails(work):
    yield {"before": True}
    raise ValueError("as it should")


def dies(work):
    yield {"before": True}
    os._exit(3)


def hangs(work):
    yield {"before": True}
    time.sleep(60)


def phase(run, *, least=0.0, most=60.0):
    return Phase(name=run.__name__, run=run, least=least, most=most)


def run(monkeypatch, folder, *phases, **options):
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "")
    monkeypatch.setattr(running, "named", lambda names: phases)
    found = running.run(data=DATA, output=folder, device="cpu", **options)
    assert json.loads((folder / "gpu.json").read_text()) == found
    return found


@pytest.mark.filterwarnings("ignore:.*fork:DeprecationWarning")
def test_a_phase_that_goes_wrong_costs_itself_alone(monkeypatch, tmp_path):
    begun = time.monotonic()
    found = run(
        monkeypatch,
        tmp_path,
        *(phase(fails), phase(dies), phase(hangs, most=0.5), phase(works)),
        phase(works, least=1_000),
    )
    assert time.monotonic() - begun < 30
    failed, died, hung, worked, left_out = found
    assert failed["status"] == "failed: ValueError"
    assert "as it should" in failed["traceback"]
    assert died["status"] == "failed: its process ended with 3"
    assert hung["status"].startswith("stopped after 0")
    assert [one["rows"] for one in found[:3]] == [[{"before": True}]] * 3
    assert worked["status"] == "done"
    assert worked["rows"] == [{"first": 1}, {"second": 2.5}]
    assert left_out["status"].startswith("left out: ")
    assert "as it should" in (tmp_path / "gpu.log").read_text()
    with pytest.raises(WorkFailed, match="phases failed: fails, dies; "):
        running.check_done(found)
    running.check_done([hung, worked, left_out])


def test_what_is_refused(run_cli, tmp_path):
    command = ("bench", "gpu", "--data", DATA, "-o", tmp_path, "--device", "cpu")
    code, _, err = run_cli(*command, "--only", "tests,other")
    assert code == 2
    assert "--only must be machine, tests, " in err
    assert not list(tmp_path.iterdir())
    with pytest.raises(UsageError, match="photos must be an archive"):
        preparing.prepare(tmp_path, tmp_path, source=TESTS.parent, packages=())


def test_what_a_machine_is_to_run():
    text = preparing.command(Path("carried"), "photos.tar.xz")
    assert "carried/*.whl" in text
    assert "-e carried/photos.tar.xz" in text
    assert "python3 -P -m mnas_search bench gpu --data" in text


def test_the_phases_fit_in_the_time():
    assert len({one.name for one in PHASES}) == len(PHASES)
    assert all(one.least <= one.most for one in PHASES)
    # Those that the other phases may leave no time for come last.
    assert sum(one.most for one in PHASES[:5]) < running.TIME


def test_ray_optuna_and_fvcore_are_not_loaded():
    lines = "import sys, mnas_search.benchmarks.gpu.running\n"
    lines += "print(*({'ray', 'optuna', 'fvcore'} & set(sys.modules)))"
    done = subprocess.run(
        [sys.executable, "-c", lines], capture_output=True, text=True, check=True
    )
    assert done.stdout == "\n"


@pytest.mark.full
def test_every_phase_runs_on_a_cpu(tmp_path):
    weights = tmp_path / "lite0.pth"
    torch.save(build(reference.architecture("efficientnet_lite0")).state_dict(), weights)
    command = [sys.executable, "-m", "mnas_search", "bench", "gpu", "--data", DATA]
    command += ["--device", "cpu", "--quick", "-o", str(tmp_path / "out")]
    command += ["--weights", str(weights), "--tests", str(TESTS)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-3_000:]
    found = json.loads((tmp_path / "out" / "gpu.json").read_text())
    assert {one["phase"]: one["status"] for one in found} == {one.name: "done" for one in PHASES}
    assert all(one["rows"] for one in found)
