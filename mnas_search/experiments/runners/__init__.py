"""Runners carry out the jobs of a `JobQueue`: in this process, or over Ray workers."""

from threadpoolctl import threadpool_limits

from mnas_search.common import plugins
from mnas_search.common.machine import cpu_count
from mnas_search.experiments.listener import Listener
from mnas_search.experiments.runners.in_process import run_in_process
from mnas_search.experiments.runners.limits import TrialLimits
from mnas_search.nas.evaluator import Evaluator, Resources
from mnas_search.nas.job import AnyJob, EvaluatorPool, JobQueue

CONTENTION = 1.25  # how much longer a step takes beside other busy workers


def drive(
    queue: JobQueue[AnyJob],
    evaluators: Evaluator | EvaluatorPool,
    *,
    workers: int,
    gpus_per_trial: float | None,
    address: str | None,
    limits: TrialLimits | None = None,
) -> int:
    """Carry out a queue's jobs; return the number of Ray workers (see `ray_tune.run_on_ray`). With
    0 workers, or evaluators that require no resources, jobs run in this process. Without `limits`
    a job takes as long as it takes."""
    if evaluators.resources is None or not workers:
        run_in_process(queue, evaluators, limits)
        return 0
    from mnas_search.experiments.runners.ray_tune import run_on_ray  # imports Ray

    gpus = gpus_per_trial
    run_on_ray(
        queue, evaluators, workers=workers, gpus_per_trial=gpus, address=address, limits=limits
    )
    return workers


def check_travels(
    name: str | None, value: object, resources: Resources | None, workers: int | None
) -> None:
    """Raise `UsageError` for what is the user's own and cannot travel to Ray workers.

    Args:
        name: of the plug-in that `value` is, or comes from.
        resources: of the evaluator; None where it runs in process.
        workers: their number; None for one per CPU.
    """
    if name is None or not plugins.has_content(name) or resources is None or workers == 0:
        return
    from mnas_search.experiments.runners.travel import check_travels  # imports Ray

    check_travels(value, repr(name))


def drive_study(
    queue: JobQueue[AnyJob],
    evaluators: Evaluator | EvaluatorPool,
    listener: Listener,
    *,
    workers: int | None,
    gpus_per_trial: float | None,
    address: str | None,
) -> None:
    """Carry out a study's jobs, if any remain, as `drive` does; None stands for a worker per CPU.
    Linear algebra in this process uses one thread meanwhile; the listener is told of the end."""
    workers = cpu_count() if workers is None else workers
    gpus = gpus_per_trial
    try:
        if not queue.finished:
            with threadpool_limits(1):
                drive(queue, evaluators, workers=workers, gpus_per_trial=gpus, address=address)
    finally:
        listener.on_end()
