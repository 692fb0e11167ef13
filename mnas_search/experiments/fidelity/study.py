"""The whole of `mnas-search fidelity`: the folder, the trainings, the comparison."""

import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import final

from threadpoolctl import threadpool_limits

from mnas_search.common import plugins
from mnas_search.common.errors import UsageError, WorkFailed
from mnas_search.common.machine import cpu_count
from mnas_search.evaluators.defaults import DEFAULT_DATA
from mnas_search.experiments.experiment import Experiment
from mnas_search.experiments.fidelity.config import (
    FIDELITY,
    MIN_ARCHITECTURES,
    FidelityConfig,
    check_target,
)
from mnas_search.experiments.fidelity.plan import ComparedRecipe, Plan, make_plan
from mnas_search.experiments.fidelity.scores import Comparison, compare
from mnas_search.experiments.fidelity.trainings import Trainings
from mnas_search.experiments.jobs import JobResult
from mnas_search.experiments.listener import Listener
from mnas_search.experiments.runners import drive


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A finished study.

    Attributes:
        folder: of the study.
        plan: networks, proxies and references.
        trainings: their results.
        comparisons: with each reference that at least four networks have.
        target: the tau that a proxy should reach.
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
    """Train what is not trained yet, in a new folder or a study's own, and compare.

    Args:
        wanted: what to train.
        output: None for a new folder `fidelity/<data>-<n>`.
        target: the tau that a proxy should reach.
        time_budget: seconds after which this call trains nothing more; None for no end.
        workers: trainings at a time, over Ray; 0 trains in this process; None: one a CPU.
        gpus_per_trial, ray_address: as in a run.
        listener: follows the trainings.

    Raises:
        WorkFailed: fewer than four networks have what is needed.
    """
    check_target(target)
    if workers is not None and workers < 0:
        raise UsageError(f"workers must be a whole number from 0, got {workers}")
    listener = listener or Listener()
    experiment = Experiment(FIDELITY, output)
    plan = make_plan(wanted.over(experiment.recorded))
    folder = experiment.make(plan.recorded, _stem(plan.config.data))
    deadline = float("inf") if time_budget is None else time.monotonic() + time_budget
    with experiment.session(plan.recorded) as journal:

        def on_result(recipe: ComparedRecipe, result: JobResult) -> None:
            got = result.error if result.accuracy is None else f"{result.accuracy:.4f}"
            text = f"{recipe.name}: {got} in {result.seconds:.1f} s"
            listener.on_progress(trainings.done, trainings.total, text)

        trainings = Trainings(plan, journal, deadline=deadline, on_result=on_result)
        listener.on_start(folder)
        listener.on_note(_overview(plan, trainings))
        try:
            if not trainings.queue.finished:
                _train(trainings, workers, gpus_per_trial, ray_address)
        finally:
            listener.on_end()
        with threadpool_limits(1):
            compared = compare(plan, trainings, target)
    if not compared or not any(p.effort.trained for c in compared for p in c.proxies):
        raise WorkFailed(_nothing(plan, trainings))
    return Study(
        folder=folder, plan=plan, trainings=trainings, comparisons=compared, target=target
    )


def _overview(plan: Plan, trainings: Trainings) -> str:
    names = ", ".join(recipe.name for recipe in plan.recipes)
    return (
        f"{len(plan.networks)} architectures of {plan.networks_of}; trained by {names}: "
        f"{trainings.total} trainings, {trainings.done} there already"
    )


def _stem(data: str | None) -> str:
    name = data or DEFAULT_DATA
    name = name.rpartition(":")[2] if plugins.is_file_reference(name) else Path(name).stem
    return re.sub(r"[^A-Za-z0-9_.-]+", "-", name)[:100]


def _train(
    trainings: Trainings, workers: int | None, gpus: float | None, address: str | None
) -> None:
    count = cpu_count() if workers is None else workers
    with threadpool_limits(1):
        drive(
            trainings.queue,
            trainings.evaluators,
            workers=count,
            gpus_per_trial=gpus,
            address=address,
        )


def _nothing(plan: Plan, trainings: Trainings) -> str:
    failures = [
        t.error for j in plan.recipes for row in trainings.of(j) for t in row if t and t.error
    ]
    if failures:
        return f"{len(failures)} trainings failed; the first: {failures[0]}"
    return f"fewer than {MIN_ARCHITECTURES} networks are measured"
