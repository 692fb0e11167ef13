"""Jobs that are each done once over all sessions of an experiment, as its journal records."""

import base64
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np

from mnas_search.architecture.traced_network import Network
from mnas_search.nas.job import TIMED_OUT, EvaluationJob, JobQueue, Outcome
from mnas_search.nas.journal import Events, journal_line
from mnas_search.nas.trial import Evaluation

_LOG = logging.getLogger(__name__)
NO_TRIAL = -1  # the number of a job that belongs to no trial
_Key = tuple[str, str, int]  # recipe, fingerprint, seed


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """The result of a training: accuracies on the validation split and, if measured, on the test
    split, with what was `correct` there; or the reason of a failure. `trial` is None for a network
    of no trial."""

    trial: int | None = None
    accuracy: float | None = None
    test: float | None = None
    correct: tuple[bool, ...] | None = None
    seconds: float
    error: str | None = None


Members = Callable[[EvaluationJob, JobResult], Mapping[str, Any]]


def trial_members(phase: str) -> Members:
    """Return a function that gives the members of its own of a search's further training."""
    return lambda job, result: {"trial": result.trial, "phase": phase}


@final
class JournalledQueue(JobQueue[EvaluationJob]):
    """Hands out jobs without a result in the journal; failures once more in each session, but for
    those that timed out.

    Args:
        event: name of the results' events.
        jobs: gives all jobs, done or not, different by recipe, network and seed; called when the
            first one is asked for.
        members: gives what a result's event has besides `fingerprint`, `seed`, `accuracy`,
            `seconds`, `error`, and `test`, `images` and `correct` where there are any; `recipe`
            where jobs differ in it.
        has_time: whether another job may be handed out.
    """

    def __init__(
        self,
        event: str,
        *,
        jobs: Callable[[], Sequence[EvaluationJob]],
        journal: Events,
        members: Members,
        has_time: Callable[[], bool] = lambda: True,
        on_result: Callable[[EvaluationJob, JobResult], None] = lambda job, result: None,
    ) -> None:
        self._event, self._members = event, members
        self._jobs, self._journal = jobs, journal
        self._has_time, self._on_result = has_time, on_result
        self._todo: list[EvaluationJob] | None = None
        self._in_flight = self._cut_off = 0
        self._results: dict[_Key, JobResult] = {}
        for number, found in enumerate(journal.events):
            if found["event"] == event:
                with journal_line(journal, number):
                    key, result = _read(found)
                    self._results[key] = result

    @property
    def results(self) -> tuple[JobResult, ...]:
        """All results, in the order in which the jobs were first finished."""
        return tuple(self._results.values())

    def result(self, network: Network, seed: int, recipe: str = "") -> JobResult | None:
        """Return a job's result; None where it is still to do."""
        return self._results.get((recipe, network.fingerprint, seed))

    @property
    def remaining(self) -> int:
        """Number of jobs that are not finished, or failed in an earlier session."""
        return len(self._open()) + self._in_flight + self._cut_off

    @property
    def finished(self) -> bool:
        return not self._in_flight and not (self._open() and self._has_time())

    def next(self) -> EvaluationJob | None:
        if not (self._open() and self._has_time()):
            return None
        self._in_flight += 1
        return self._open().pop(0)

    def record(self, work: EvaluationJob, outcome: Outcome, seconds: float) -> None:
        """Journal the result of a job."""
        trial = None if work.number == NO_TRIAL else work.number
        if isinstance(outcome, Evaluation):
            result = JobResult(
                trial=trial,
                accuracy=outcome.accuracy,
                test=(outcome.info or {}).get("test"),
                correct=outcome.correct,
                seconds=seconds,
            )
        else:
            result = JobResult(trial=trial, seconds=seconds, error=outcome.reason)
        event = {"event": self._event, **_written(work, result), **self._members(work, result)}
        self._journal.append(event, sync=True)
        key, result = _read(event)  # as later sessions will read it
        self._results[key] = result
        self._in_flight -= 1
        level = logging.INFO if result.error is None else logging.WARNING
        got = result.error or f"accuracy {result.accuracy:.4f}"
        name = work.network.label if trial is None else f"trial {trial}"
        _LOG.log(level, "%s of %s: %s in %.1f s", event["event"], name, got, seconds)
        self._on_result(work, result)

    def release(self, work: EvaluationJob) -> None:
        """Take back a job that was cut off, of which the journal has nothing."""
        del work
        self._in_flight -= 1
        self._cut_off += 1

    def _open(self) -> list[EvaluationJob]:
        if self._todo is None:
            done = {
                key
                for key, result in self._results.items()
                if result.accuracy is not None or result.error == TIMED_OUT.reason
            }
            self._todo = [job for job in self._jobs() if _key(job) not in done]
        return self._todo


def _key(job: EvaluationJob) -> _Key:
    return job.recipe, job.network.fingerprint, job.seed


def _written(job: EvaluationJob, result: JobResult) -> dict[str, Any]:
    return {
        "fingerprint": job.network.fingerprint,
        "seed": job.seed,
        "accuracy": result.accuracy,
        **({} if result.test is None else {"test": result.test}),
        **_packed(result.correct),
        "seconds": round(result.seconds, 3),
        "error": result.error,
    }


def _read(event: Mapping[str, Any]) -> tuple[_Key, JobResult]:
    key = (event.get("recipe", ""), event["fingerprint"], event["seed"])
    return key, JobResult(
        trial=event.get("trial"),
        accuracy=event["accuracy"],
        test=event.get("test"),
        correct=_unpacked(event),
        seconds=event["seconds"],
        error=event["error"],
    )


def _packed(correct: tuple[bool, ...] | None) -> dict[str, Any]:
    """Return the fields of an event that hold what was correct: a bit an image, in base64."""
    if correct is None:
        return {}
    bits = base64.b64encode(np.packbits(np.array(correct, bool)).tobytes())
    return {"images": len(correct), "correct": bits.decode()}


def _unpacked(event: Mapping[str, Any]) -> tuple[bool, ...] | None:
    if "correct" not in event:
        return None
    packed = np.frombuffer(base64.b64decode(event["correct"]), np.uint8)
    return tuple(np.unpackbits(packed, count=event["images"]).astype(bool).tolist())
