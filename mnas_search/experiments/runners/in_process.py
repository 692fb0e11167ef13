"""The plain loop: one piece of work after the other, in this process."""

from mnas_search.nas.evaluator import Evaluator
from mnas_search.nas.job import EvaluatorPool, JobQueue, measure


def run_in_process(source: JobQueue, evaluator: Evaluator | EvaluatorPool) -> None:
    """Evaluate until the source has finished."""
    while (work := source.next()) is not None:
        outcome, seconds = measure(evaluator, work, source.should_continue)
        source.record(work, outcome, seconds)
