"""A fixed list of work as a source."""

from collections.abc import Sequence
from typing import final

from mnas_search.nas.job import EvaluationJob, JobQueue, Outcome


@final
class WorkList(JobQueue[EvaluationJob]):
    """Hands out a list in its order.

    Attributes:
        seconds: of each piece, in order of the list.
    """

    def __init__(self, work: Sequence[EvaluationJob]) -> None:
        self._work = list(work)
        self._handed = 0
        self._found: dict[EvaluationJob, tuple[Outcome, float]] = {}

    def next(self) -> EvaluationJob | None:
        """Return the next piece."""
        if self._handed == len(self._work):
            return None
        self._handed += 1
        return self._work[self._handed - 1]

    def record(self, work: EvaluationJob, outcome: Outcome, seconds: float) -> None:
        """Keep the outcome."""
        self._found[work] = outcome, seconds

    @property
    def finished(self) -> bool:
        """Whether every piece has its outcome."""
        return len(self._found) == len(self._work)

    @property
    def outcomes(self) -> list[Outcome]:
        """In order of the list."""
        return [self._found[work][0] for work in self._work]

    @property
    def seconds(self) -> list[float]:
        """In order of the list."""
        return [self._found[work][1] for work in self._work]
