"""The plain loop: one job after the other, in this process."""

import math

from mnas_search.experiments.runners.limits import TrialLimits, next_job
from mnas_search.nas.evaluator import Evaluator
from mnas_search.nas.job import AnyJob, EvaluatorPool, JobQueue, measure


def run_in_process(
    queue: JobQueue[AnyJob],
    evaluators: Evaluator | EvaluatorPool,
    limits: TrialLimits | None = None,
) -> None:
    """Carry out jobs until the queue has finished."""
    limits = limits or TrialLimits(math.inf)
    while (job := next_job(queue, limits)) is not None:
        outcome, seconds = measure(
            evaluators, job, queue.should_continue, limits.until_end, limits.mark(job)
        )
        if limits.cuts_off(outcome):
            queue.release(job)
        else:
            limits.record(outcome, seconds)
            queue.record(job, outcome, seconds)
