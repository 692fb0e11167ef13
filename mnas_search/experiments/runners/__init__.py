"""Runners drive a `JobQueue` of work: in this process, or over Ray workers."""

from mnas_search.experiments.runners.in_process import run_in_process
from mnas_search.nas.evaluator import Evaluator
from mnas_search.nas.job import EvaluatorPool, JobQueue


def drive(
    source: JobQueue,
    evaluator: Evaluator | EvaluatorPool,
    *,
    workers: int,
    gpus_per_trial: float | None,
    address: str | None,
) -> int:
    """Drive a source by the runner that fits the evaluator; the number of workers that did.

    Args:
        workers: evaluations at a time over Ray; 0 for this process, where an evaluator that
            occupies nothing always runs.
        gpus_per_trial, address: see `mnas_search.experiments.runners.ray_tune.run_on_ray`.
    """
    if evaluator.resources is None or not workers:
        run_in_process(source, evaluator)
        return 0
    from mnas_search.experiments.runners.ray_tune import run_on_ray  # imports Ray

    run_on_ray(source, evaluator, workers=workers, gpus_per_trial=gpus_per_trial, address=address)
    return workers
