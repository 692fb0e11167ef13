"""The whole of `mnas-search fidelity`: the folder, the trainings, the comparison."""

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, final

from threadpoolctl import threadpool_limits

from mnas_search.common import folders, plugins
from mnas_search.common.errors import RunFolderError, UsageError, WorkFailed
from mnas_search.common.machine import cpu_count, versions
from mnas_search.evaluators.defaults import DEFAULT_DATA
from mnas_search.experiments.fidelity.config import (
    COMMAND,
    FEWEST,
    FidelityConfig,
    check_files,
    check_folder,
    check_target,
)
from mnas_search.experiments.fidelity.plan import Judge, Plan, make_plan
from mnas_search.experiments.fidelity.scores import Comparison, compare
from mnas_search.experiments.fidelity.trainings import Training, Trainings
from mnas_search.experiments.runners import drive
from mnas_search.nas.journal import Journal

MEASUREMENTS = "measurements.jsonl"


class Listener(Protocol):
    """Hears how it goes."""

    def opened(self, folder: Path, plan: Plan, trainings: Trainings) -> None:
        """The folder is there, and what was trained before is read."""

    def done(self, judge: Judge, training: Training, trainings: Trainings) -> None:
        """A training has finished."""

    def closed(self) -> None:
        """No more trainings, however they ended."""


@final
class _Deaf:
    def opened(self, folder: Path, plan: Plan, trainings: Trainings) -> None:
        pass

    def done(self, judge: Judge, training: Training, trainings: Trainings) -> None:
        pass

    def closed(self) -> None:
        pass


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """What came out.

    Attributes:
        folder: where it lies.
        plan: what was to be done.
        trainings: what was done.
        comparisons: against each reference that at least four networks have.
        target: the tau that is asked for.
    """

    folder: Path
    plan: Plan
    trainings: Trainings
    comparisons: tuple[Comparison, ...]
    target: float


def study(
    wanted: FidelityConfig,
    *,
    output: Path | None = None,
    target: float = 0.6,
    time_budget: float | None = None,
    workers: int | None = None,
    gpus_per_trial: float | None = None,
    ray_address: str | None = None,
    listener: Listener | None = None,
) -> Study:
    """Train what is not trained yet, into a new folder or one that holds such trainings; compare.

    Args:
        wanted: what to train.
        output: None for a new folder `fidelity/<data>-<n>`.
        target: the tau that a proxy should reach.
        time_budget: seconds after which this call trains nothing more; None for no end.
        workers: trainings at a time, over Ray; 0 trains in this process; None: one a CPU.
        gpus_per_trial, ray_address: as in a run.
        listener: hears how it goes.

    Raises:
        WorkFailed: fewer than four networks have what is needed.
    """
    check_target(target)
    if workers is not None and workers < 0:
        raise UsageError(f"workers is {workers}; allowed: a whole number from 0")
    heard = listener or _Deaf()
    folder, plan = _open(wanted, output)
    deadline = float("inf") if time_budget is None else time.monotonic() + time_budget
    with Journal(folder / MEASUREMENTS) as journal:
        folders.write_config(folder, plan.recorded, versions())

        def on_done(judge: Judge, training: Training) -> None:
            heard.done(judge, training, trainings)

        trainings = Trainings(plan, journal, deadline=deadline, on_done=on_done)
        heard.opened(folder, plan, trainings)
        try:
            if not trainings.finished:
                _train(trainings, workers, gpus_per_trial, ray_address)
        finally:
            heard.closed()
        with threadpool_limits(1):
            compared = compare(plan, trainings, target)
    if not compared or not any(p.effort.trained for c in compared for p in c.proxies):
        raise WorkFailed(_nothing(plan, trainings))
    return Study(
        folder=folder, plan=plan, trainings=trainings, comparisons=compared, target=target
    )


def _open(wanted: FidelityConfig, output: Path | None) -> tuple[Path, Plan]:
    """The folder, made where it is not there, and the plan. Refuses before anything is made."""
    recorded = None
    if output is not None and folders.is_run(output):
        recorded = folders.read_config(output)
        check_folder(output, recorded)
    elif output is not None:
        folders.check_free(output, f"folder of `mnas-search {COMMAND}`")
    folder = output or Path(COMMAND)
    plan = make_plan(wanted.over(folder, recorded))
    if recorded is not None:
        check_files(folder, recorded, plan.recorded)
        if recorded["networks_of"] != plan.networks_of:
            raise RunFolderError(
                f"networks of {plan.networks_of!r}, but those in {str(folder)!r} are of "
                f"{recorded['networks_of']!r}; allowed: a new folder"
            )
        return folder, plan
    if output is None:
        return folders.new_folder(folder, _stem(plan.config.data)), plan
    folder.mkdir(parents=True, exist_ok=True)
    return folder, plan


def _stem(data: str | None) -> str:
    name = data or DEFAULT_DATA
    name = name.rpartition(":")[2] if plugins.is_file_reference(name) else Path(name).stem
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name)[:100]


def _train(
    trainings: Trainings, workers: int | None, gpus: float | None, address: str | None
) -> None:
    panel = trainings.panel
    count = cpu_count() if workers is None else workers
    with threadpool_limits(1):
        drive(trainings, panel, workers=count, gpus_per_trial=gpus, address=address)


def _nothing(plan: Plan, trainings: Trainings) -> str:
    failures = [
        t.error for j in plan.judges for row in trainings.of(j) for t in row if t and t.error
    ]
    if failures:
        return f"{len(failures)} trainings failed; the first: {failures[0]}"
    return f"fewer than {FEWEST} networks are measured"
