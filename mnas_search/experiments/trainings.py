"""Trainings beside a search, each journalled: for the seed noise, the finals, the verdict."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

from mnas_search.nas.job import Job, JobQueue, Outcome
from mnas_search.nas.journal import Events
from mnas_search.nas.trial import Evaluation

NO_TRIAL = -1  # the number of work that belongs to no trial


@dataclass(frozen=True, slots=True, kw_only=True)
class Trained:
    """The outcome of one training.

    Attributes:
        trial: whose network it was; None for a network of no trial.
        accuracy: fraction on the validation split; None where the training failed.
        test: fraction on the test split, where that was measured.
    """

    trial: int | None
    accuracy: float | None
    test: float | None = None


@final
class Trainings(JobQueue):
    """Pieces of work that are each done once, over all sessions of a run. A `JobQueue`.

    Args:
        event, phase: what their events are called in the journal.
        works: all pieces, whether done or not, by different seeds; asked for when the first piece
            is.
        journal: where outcomes go. What it holds already is not trained again, but for failures,
            which every session tries once.
    """

    def __init__(
        self, event: str, *, phase: str, works: Callable[[], Sequence[Job]], journal: Events
    ) -> None:
        self._event, self._phase, self._works, self._journal = event, phase, works, journal
        self._todo: list[Job] | None = None
        self._in_flight = 0
        self.done: dict[int, Trained] = {  # by seed
            event["seed"]: Trained(
                trial=event["trial"], accuracy=event["accuracy"], test=event.get("test")
            )
            for event in journal.events
            if event["event"] == self._event
        }

    @property
    def finished(self) -> bool:
        """Whether nothing is in flight and nothing will come."""
        return not self._in_flight and not self._remaining()

    def next(self) -> Job | None:
        """The next network to train."""
        remaining = self._remaining()
        if not remaining:
            return None
        self._in_flight += 1
        return remaining.pop(0)

    def record(self, work: Job, outcome: Outcome, seconds: float) -> None:
        """Journal the outcome."""
        trial = None if work.number == NO_TRIAL else work.number
        trained, error = Trained(trial=trial, accuracy=None), None
        if isinstance(outcome, Evaluation):
            test = (outcome.info or {}).get("test")
            trained = Trained(trial=trial, accuracy=outcome.accuracy, test=test)
        else:
            error = outcome.reason
        event: Mapping[str, Any] = {
            "event": self._event,
            "trial": trial,
            "fingerprint": work.network.fingerprint,
            "seed": work.seed,
            "accuracy": trained.accuracy,
            **({} if trained.test is None else {"test": trained.test}),
            "seconds": round(seconds, 3),
            "error": error,
            "phase": self._phase,
        }
        self._journal.append(event, sync=True)
        self.done[work.seed] = trained
        self._in_flight -= 1

    def _remaining(self) -> list[Job]:
        if self._todo is None:
            good = {seed for seed, trained in self.done.items() if trained.accuracy is not None}
            self._todo = [work for work in self._works() if work.seed not in good]
        return self._todo
