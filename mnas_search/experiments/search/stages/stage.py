"""What the stages of a run have in common."""

from abc import ABC, abstractmethod

from mnas_search.nas.evaluator import Evaluator
from mnas_search.nas.job import EvaluationJob, JobQueue


class Stage(ABC):
    """A part of a run: jobs for one evaluator, and what comes of them.

    Stages run in sequence; what a stage has found can be read at any time.

    Args:
        title: what a listener is told where the stage begins.
        evaluator: carries out the jobs; None where nothing can, and the stage is passed over.

    Attributes:
        title, evaluator: as given.
    """

    def __init__(self, title: str, evaluator: Evaluator | None) -> None:
        self.title, self.evaluator = title, evaluator

    @property
    @abstractmethod
    def queue(self) -> JobQueue[EvaluationJob]:
        """The stage's jobs, those that a journal holds results of left out."""
