"""The plain loop: one job after the other, in this process."""

from mnas_search.nas.evaluator import Evaluator
from mnas_search.nas.job import AnyJob, EvaluatorPool, JobQueue, measure


def run_in_process(queue: JobQueue[AnyJob], evaluators: Evaluator | EvaluatorPool) -> None:
    """Carry out jobs until the queue has finished."""
    while (job := queue.next()) is not None:
        outcome, seconds = measure(evaluators, job, queue.should_continue)
        queue.record(job, outcome, seconds)
