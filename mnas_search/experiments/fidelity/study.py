"""A fidelity study: its folder, its trainings, the comparison."""

import time
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import final

from threadpoolctl import threadpool_limits

from mnas_search.common.checks import check_integer, check_number
from mnas_search.common.errors import WorkFailed
from mnas_search.data.loading import stem
from mnas_search.evaluators.defaults import DEFAULT_DATA
from mnas_search.experiments import trust
from mnas_search.experiments.experiment import Experiment
from mnas_search.experiments.fidelity.config import FIDELITY, MIN_ARCHITECTURES, FidelityConfig
from mnas_search.experiments.fidelity.plan import ComparedRecipe, Plan, make_plan
from mnas_search.experiments.fidelity.scores import Comparison, compare
from mnas_search.experiments.fidelity.trainings import Trainings
from mnas_search.experiments.jobs import JobResult
from mnas_search.experiments.listener import Listener
from mnas_search.experiments.runners import check_travels, drive_study
from mnas_search.nas.job import EvaluatorPool


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Study:
    """A finished study; compared with each reference that at least four networks have."""

    folder: Path
    plan: Plan
    trainings: Trainings
    comparisons: tuple[Comparison, ...]


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
    """Do the remaining trainings, in a new folder or an earlier study's, and compare.

    Args:
        output: None for a new folder `fidelity/<data>-<n>`.
        target: the tau that a proxy should reach.
        time_budget: seconds after which no training begins; None for no limit.
        workers: trainings at a time, over Ray; 0 for this process, None for one per CPU.
        gpus_per_trial, ray_address: as in a run.

    Raises:
        WorkFailed: fewer than four networks have the necessary results.
    """
    check_number("tau", target, "(0, 1]")
    if workers is not None:
        check_integer("workers", workers, 0)
    listener = listener or Listener()
    experiment = Experiment(FIDELITY, output)
    config, begun = wanted.over(experiment.recorded), None
    if experiment.resumed:
        begun = experiment.recorded
        trust.check_code(
            f"the {FIDELITY.noun} {str(output)!r}",
            begun | asdict(config),
            named=(wanted.data, wanted.space, wanted.evaluator, *wanted.references),
            then="give it to the command (--data, --space, --evaluator or --reference)",
        )
    plan = make_plan(config, begun)
    evaluators = EvaluatorPool(tuple(recipe.evaluator for recipe in plan.recipes))
    check_travels(plan.config.evaluator, evaluators, evaluators.resources, workers)
    folder = experiment.make(plan.recorded, stem(plan.config.data or DEFAULT_DATA))
    deadline = float("inf") if time_budget is None else time.monotonic() + time_budget

    def on_result(recipe: ComparedRecipe, result: JobResult) -> None:
        got = result.error if result.accuracy is None else f"{result.accuracy:.4f}"
        text = f"{recipe.name}: {got} in {result.seconds:.1f} s"
        listener.on_progress(trainings.done, trainings.total, text)

    with experiment.session(plan.recorded) as journal:
        trainings = Trainings(plan, journal, deadline=deadline, on_result=on_result)
        listener.on_start(folder)
        for note in plan.notes:
            listener.on_note(note)
        listener.on_note(
            f"{len(plan.networks)} architectures of {plan.networks_of}; trained by "
            f"{', '.join(recipe.name for recipe in plan.recipes)}: {trainings.total} trainings, "
            f"{trainings.done} there already"
        )
        drive_study(
            trainings.queue,
            evaluators,
            listener,
            workers=workers,
            gpus_per_trial=gpus_per_trial,
            address=ray_address,
        )
        with threadpool_limits(1):
            compared = compare(plan, trainings, target)
    if not any(p.effort.trained for c in compared for p in c.proxies):
        raise WorkFailed(_no_result(trainings.errors))
    return Study(folder=folder, plan=plan, trainings=trainings, comparisons=compared)


def _no_result(errors: list[str]) -> str:
    if errors:
        return f"{len(errors)} trainings failed; the first: {errors[0]}"
    return f"fewer than {MIN_ARCHITECTURES} networks are measured"
