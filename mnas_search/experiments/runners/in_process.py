"""The plain loop: one piece of work after the other, in this process."""

from mnas_search.nas.evaluator import Evaluator
from mnas_search.nas.job import Panel, Source, measure


def run_in_process(source: Source, evaluator: Evaluator | Panel) -> None:
    """Evaluate until the source has finished."""
    while (work := source.next()) is not None:
        outcome, seconds = measure(evaluator, work, source.goes_on)
        source.record(work, outcome, seconds)
