"""The jobs that train the members of a prior, with their results in the journal."""

import logging
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import final

from mnas_search.common.units import format_duration
from mnas_search.nas.evaluator import PriorMember
from mnas_search.nas.job import EvaluatorPool, Job, JobQueue, Outcome
from mnas_search.nas.journal import Events
from mnas_search.nas.trial import Evaluation

_LOG = logging.getLogger(__name__)
TRAINED = "prior training"  # the event


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class MemberTraining(Job):
    """The training of a member, from its checkpoint."""

    member: int

    def run(self, evaluators: EvaluatorPool) -> Iterator[Evaluation]:
        """Train; a rung is the number of steps so far, and there is no accuracy yet."""
        member = evaluators.evaluators[self.member]
        assert isinstance(member, PriorMember)
        for steps in member.train():
            yield Evaluation(accuracy=0.0, rung=steps)
        yield Evaluation(accuracy=0.0)


@final
class MemberTrainings(JobQueue[MemberTraining]):
    """Hands out trainings that the journal does not hold as finished, or whose checkpoint is gone;
    failures once more in each session.

    Args:
        checkpoints: of the members.
        steps: of each training.
        on_status: is told how far the trainings have come.
    """

    def __init__(
        self,
        checkpoints: tuple[Path, ...],
        *,
        steps: int,
        journal: Events,
        on_status: Callable[[str], None],
    ) -> None:
        self._total, self._steps = steps * len(checkpoints), steps
        self._journal, self._on_status = journal, on_status
        self._errors: dict[int, str | None] = {
            event["member"]: event["error"]
            for event in journal.events
            if event["event"] == TRAINED
        }
        every = range(len(checkpoints))
        self._todo = [
            member
            for member in every
            if not (self.is_trained(member) and checkpoints[member].exists())
        ]
        self._in_flight = 0
        self._steps_of = dict.fromkeys((m for m in every if m not in self._todo), steps)
        self._first: tuple[float, int] | None = None  # when the first report came, and how far

    @property
    def errors(self) -> tuple[str, ...]:
        """Why trainings failed."""
        return tuple(error for error in self._errors.values() if error is not None)

    def is_trained(self, member: int) -> bool:
        """Return whether a member can read."""
        return self._errors.get(member, "not trained") is None

    def next(self) -> MemberTraining | None:
        if not self._todo:
            return None
        self._in_flight += 1
        return MemberTraining(member=self._todo.pop(0))

    def should_continue(self, job: MemberTraining, evaluation: Evaluation, seconds: float) -> bool:
        """Show how far the trainings have come; none is stopped."""
        assert evaluation.rung is not None
        self._steps_of[job.member] = evaluation.rung
        done = sum(self._steps_of.values())
        text = f"prior: {done:,} of {self._total:,} training steps"
        now = time.monotonic()
        if self._first is None:
            self._first = (now, done)
        elif done > self._first[1]:
            pace = (now - self._first[0]) / (done - self._first[1])
            text += f", about {format_duration((self._total - done) * pace)} left"
        self._on_status(text)
        return True

    def record(self, job: MemberTraining, outcome: Outcome, seconds: float) -> None:
        """Journal the end of a training."""
        error = None if isinstance(outcome, Evaluation) else outcome.reason
        self._journal.append(
            {
                "event": TRAINED,
                "member": job.member,
                "steps": self._steps,
                "seconds": round(seconds, 3),
                "error": error,
                "phase": "prior",
            },
            sync=True,
        )
        self._errors[job.member] = error
        self._in_flight -= 1
        level = logging.INFO if error is None else logging.WARNING
        _LOG.log(level, "prior, member %d: %s in %.1f s", job.member, error or "trained", seconds)

    @property
    def finished(self) -> bool:
        return not self._in_flight and not self._todo
