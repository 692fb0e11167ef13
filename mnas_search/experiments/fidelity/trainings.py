"""The trainings of a plan: a source of work with a record that is gone on from."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from mnas_search.experiments.fidelity.plan import Judge, Plan
from mnas_search.nas.job import EvaluatorPool, Job, JobQueue, Outcome
from mnas_search.nas.journal import Events
from mnas_search.nas.trial import Evaluation

_Key = tuple[str, str, int]  # recipe, fingerprint, seed


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Training:
    """A finished training.

    Attributes:
        accuracy: a fraction; None where it failed.
        seconds: on the worker.
        error: why it failed.
    """

    accuracy: float | None
    seconds: float
    error: str | None


@final
class Trainings(JobQueue):
    """Every network by every judge, network by network. A `JobQueue`.

    So whatever ends it early, the networks that are done are done by all.

    Args:
        plan: what to train.
        journal: where outcomes go; what it holds already is not trained again, but for failures.
        deadline: `time.monotonic()` after which nothing more is handed out.
        on_done: called with every finished training, and its judge.
    """

    def __init__(
        self,
        plan: Plan,
        journal: Events,
        *,
        deadline: float = float("inf"),
        on_done: Callable[[Judge, Training], None] = lambda judge, training: None,
    ) -> None:
        assert plan.config.seed is not None
        self._plan, self._journal, self._seed = plan, journal, plan.config.seed
        self._deadline, self._on_done = deadline, on_done
        self._done = dict(map(_read, journal.events))
        works = [
            Job(number=number, network=network, seed=seed, evaluator_index=index)
            for number, network in enumerate(plan.networks)
            for index, judge in enumerate(plan.judges)
            for seed in judge.seeds(self._seed, network.fingerprint)
        ]
        self.total = len(works)
        self._todo = [
            work
            for work in works
            if (old := self._done.get(self._key(work))) is None or old.accuracy is None
        ]
        self._todo.reverse()
        self._in_flight = 0

    @property
    def panel(self) -> EvaluatorPool:
        """What the work is for."""
        return EvaluatorPool(tuple(judge.evaluator for judge in self._plan.judges))

    @property
    def remaining(self) -> int:
        """Trainings that are not finished."""
        return len(self._todo) + self._in_flight

    @property
    def finished(self) -> bool:
        """Whether nothing is in flight and nothing will come."""
        return not self._in_flight and (not self._todo or time.monotonic() > self._deadline)

    def next(self) -> Job | None:
        """The next training."""
        if not self._todo or time.monotonic() > self._deadline:
            return None
        self._in_flight += 1
        return self._todo.pop()

    def record(self, work: Job, outcome: Outcome, seconds: float) -> None:
        """Journal the outcome of a training."""
        training = Training(
            accuracy=outcome.accuracy if isinstance(outcome, Evaluation) else None,
            seconds=round(seconds, 4),
            error=None if isinstance(outcome, Evaluation) else outcome.reason,
        )
        recipe, fingerprint, seed = self._key(work)
        event: dict[str, Any] = {
            "event": "training",
            "recipe": recipe,
            "fingerprint": fingerprint,
            "seed": seed,
            "status": "ok" if training.error is None else "failed",
            "accuracy": training.accuracy,
            "seconds": training.seconds,
            "error": training.error,
        }
        self._journal.append(event, sync=True)
        self._done[self._key(work)] = training
        self._in_flight -= 1
        self._on_done(self._plan.judges[work.evaluator_index], training)

    def of(self, judge: Judge) -> list[list[Training | None]]:
        """The judge's trainings, network by network and seed by seed; None where still to do."""
        return [
            [
                self._done.get((judge.key, network.fingerprint, seed))
                for seed in judge.seeds(self._seed, network.fingerprint)
            ]
            for network in self._plan.networks
        ]

    def accuracies(self, judge: Judge) -> NDArray[np.float64]:
        """By network and seed [N, S]; NaN where failed, or still to do."""
        return np.array(
            [
                [np.nan if t is None or t.accuracy is None else t.accuracy for t in row]
                for row in self.of(judge)
            ]
        )

    def _key(self, work: Job) -> _Key:
        return (self._plan.judges[work.evaluator_index].key, work.network.fingerprint, work.seed)


def _read(event: dict[str, Any]) -> tuple[_Key, Training]:
    return (event["recipe"], event["fingerprint"], event["seed"]), Training(
        accuracy=event["accuracy"], seconds=event["seconds"], error=event["error"]
    )
