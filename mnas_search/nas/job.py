"""Jobs for a runner, and the queues that hand them out.

A runner drives a `JobQueue`: it takes jobs with `next()`, has them carried out, asks at every rung
whether the job `should_continue()`, and returns the outcome with `record()`. The queue is passive;
it owns all bookkeeping.
"""

import contextlib
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Generic, TextIO, TypeVar, final

from mnas_search.architecture.traced_network import Network
from mnas_search.common.checks import plain, shown
from mnas_search.common.errors import MnasSearchError, WorkFailed, describe_failure, shorten
from mnas_search.common.processes.alarm import TimedOut, interrupted_after
from mnas_search.nas.evaluator import Evaluator, Resources
from mnas_search.nas.trial import MAX_NUMBER, Evaluation, Failure, Stopped

Outcome = Evaluation | Failure | Stopped
TIMED_OUT = Failure(reason="timed out")  # unlike other failures, never tried again
_MAX_REASON = 300  # characters


@final
@dataclass(frozen=True, slots=True)
class EvaluatorPool:
    """The evaluators of a runner's session: what a worker holds for all its jobs."""

    evaluators: tuple[Evaluator, ...]

    @property
    def resources(self) -> Resources | None:
        """What the largest of them occupies; None where all run in process."""
        wanted = [e.resources for e in self.evaluators if e.resources is not None]
        if not wanted:
            return None
        named = max((r.gpus for r in wanted if r.gpus is not None), default=0)
        shared = not named and any(r.gpus is None for r in wanted)
        cpus = max(r.cpus for r in wanted)
        return Resources(cpus=cpus, gpus=None if shared else named)


class Job(ABC):
    """A function with its arguments, which a worker carries out: an evaluation, or more.

    A job travels to its worker by pickle, and what it yields travels back. Files are written where
    its arguments say.
    """

    @abstractmethod
    def run(self, evaluators: EvaluatorPool) -> Iterator[Evaluation]:
        """Yield an evaluation at each rung, with `rung` set, then the result; further JSON values
        are in `info`. `evaluators` are the worker's."""


AnyJob = TypeVar("AnyJob", bound=Job)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationJob(Job):
    """The evaluation of one network."""

    number: int  # of the trial it belongs to
    network: Network = field(repr=False)  # what to evaluate
    seed: int  # of the evaluation
    evaluator_index: int = 0  # of the evaluator in the worker's pool
    recipe: str = ""  # of the training, where a journal tells several apart

    def run(self, evaluators: EvaluatorPool) -> Iterator[Evaluation]:
        """Evaluate the network."""
        evaluator = evaluators.evaluators[self.evaluator_index]
        yield from evaluator.evaluate(self.network, seed=self.seed)


class JobQueue(ABC, Generic[AnyJob]):
    """Hands out jobs, one at a time, and takes the outcomes in any order."""

    @abstractmethod
    def next(self) -> AnyJob | None:
        """Return the next job; None where there is none now."""

    def should_continue(self, job: AnyJob, evaluation: Evaluation, seconds: float) -> bool:
        """Take what was measured at a rung; return whether the job continues. One that does not is
        recorded as `Stopped`. Override where some are stopped."""
        del job, evaluation, seconds
        return True

    @abstractmethod
    def record(self, job: AnyJob, outcome: Outcome, seconds: float) -> None:
        """Take the outcome of a job and the seconds it took."""

    def release(self, job: AnyJob) -> None:
        """Take back a job that the end of the time cut off; a later session does it. Override
        where the time may end."""
        raise WorkFailed(f"{job} was cut off")

    @property
    @abstractmethod
    def finished(self) -> bool:
        """Whether nothing is in flight and nothing will come."""


@final
class SequentialQueue(JobQueue[AnyJob]):
    """Queues one after the other; each starts when the one before has finished."""

    def __init__(self, queues: Sequence[JobQueue[AnyJob]]) -> None:
        self._queues = list(queues)

    def next(self) -> AnyJob | None:
        """Return the next job of the first queue that has not finished."""
        while self._queues:
            job = self._queues[0].next()
            if job is not None or not self._queues[0].finished:
                return job
            self._queues.pop(0)
        return None

    def should_continue(self, job: AnyJob, evaluation: Evaluation, seconds: float) -> bool:
        return self._queues[0].should_continue(job, evaluation, seconds)

    def record(self, job: AnyJob, outcome: Outcome, seconds: float) -> None:
        self._queues[0].record(job, outcome, seconds)

    def release(self, job: AnyJob) -> None:
        self._queues[0].release(job)

    @property
    def finished(self) -> bool:
        """Whether all queues have finished."""
        return all(queue.finished for queue in self._queues)


@final
class TimedQueue(JobQueue[AnyJob]):
    """A queue with a stopwatch; `on_first` is called when it hands out its first job."""

    def __init__(
        self, queue: JobQueue[AnyJob], on_first: Callable[[], None] = lambda: None
    ) -> None:
        self._queue, self._on_first = queue, on_first
        self.first: float | None = None  # time.monotonic() when the first job was handed out
        self._last = 0.0
        self.busy = 0.0  # seconds of jobs, summed over workers

    @property
    def elapsed(self) -> float:
        """Seconds from the first job handed out to the last outcome."""
        return 0.0 if self.first is None else max(0.0, self._last - self.first)

    def next(self) -> AnyJob | None:
        asked = time.monotonic()
        job = self._queue.next()
        if job is not None and self.first is None:
            self.first = asked
            self._on_first()
        return job

    def should_continue(self, job: AnyJob, evaluation: Evaluation, seconds: float) -> bool:
        return self._queue.should_continue(job, evaluation, seconds)

    def record(self, job: AnyJob, outcome: Outcome, seconds: float) -> None:
        self._queue.record(job, outcome, seconds)
        self.busy += seconds
        self._last = time.monotonic()

    def release(self, job: AnyJob) -> None:
        self._queue.release(job)

    @property
    def finished(self) -> bool:
        return self._queue.finished


@final
class Measurement:
    """One job under way, rung by rung. An error becomes a `Failure` with its reason, and ends it.

    Args:
        limit: seconds after which the job has timed out (see `interrupted_after`).
        stuck: gets the place in the code where the process has to be ended for that.

    Attributes:
        rung: what was measured at the current rung; None at the end.
        outcome: of the end.
        seconds: spent so far.
    """

    def __init__(
        self,
        evaluators: Evaluator | EvaluatorPool,
        job: Job,
        limit: float = math.inf,
        stuck: TextIO | None = None,
    ) -> None:
        if isinstance(evaluators, Evaluator):
            evaluators = EvaluatorPool((evaluators,))
        self.rung: Evaluation | None = None
        self.outcome: Outcome = Failure(reason="the evaluator gave no evaluation")
        self.seconds = 0.0
        self._limit, self._stuck = limit, stuck
        self._evaluations = self._begun(evaluators, job)

    def advance(self) -> None:
        """Continue to the next rung, or to the end."""
        start = time.perf_counter()
        self.rung = None
        try:
            with interrupted_after(self._limit - self.seconds, self._stuck):
                self._advance()
        except TimedOut:
            self.outcome, self.rung = TIMED_OUT, None
        except MnasSearchError:
            raise  # wrong usage (a network that the evaluator cannot take) concerns the whole run
        except MemoryError:
            self.outcome = Failure(reason="out of memory")
        except (Exception, SystemExit) as error:
            self.outcome = Failure(reason=shorten(describe_failure(error), _MAX_REASON))
        self.seconds += time.perf_counter() - start

    def _advance(self) -> None:
        for evaluation in self._evaluations:
            if not isinstance(evaluation, Evaluation):
                raise TypeError(f"evaluate must yield Evaluation, got {shown(evaluation)}")
            self.outcome = check(evaluation)
            if isinstance(self.outcome, Failure):
                self._evaluations.close()
            elif self.outcome.rung is not None:
                self.rung = self.outcome
                break

    def stop(self) -> None:
        """Stop at the current rung."""
        assert self.rung is not None
        self.outcome, self.rung = Stopped(evaluation=self.rung), None
        with contextlib.suppress(Exception, SystemExit):  # of an evaluator that is cut off
            self._evaluations.close()

    @staticmethod
    def _begun(evaluators: EvaluatorPool, job: Job) -> Generator[Evaluation, None, None]:
        yield from job.run(evaluators)


def measure(
    evaluators: Evaluator | EvaluatorPool,
    job: AnyJob,
    should_continue: Callable[[AnyJob, Evaluation, float], bool] = lambda *rung: True,
    limit: float = math.inf,
    stuck: TextIO | None = None,
) -> tuple[Outcome, float]:
    """Return a job's outcome and the seconds spent; `should_continue` is asked at every rung. For
    `limit` and `stuck` see `Measurement`."""
    measurement = Measurement(evaluators, job, limit, stuck)
    measurement.advance()
    while measurement.rung is not None:
        if should_continue(job, measurement.rung, measurement.seconds):
            measurement.advance()
        else:
            measurement.stop()
    return measurement.outcome, measurement.seconds


def check(evaluation: Evaluation) -> Evaluation | Failure:
    """Return the evaluation, or a `Failure` for figures that no journal can hold."""
    # A numpy or torch scalar becomes a plain number.
    accuracy, test = float(evaluation.accuracy), (evaluation.info or {}).get("test")
    rung = None if evaluation.rung is None else int(evaluation.rung)
    std = None if evaluation.std is None else float(evaluation.std)
    info, correct = evaluation.info, evaluation.correct
    if info is not None:
        info = {name: plain(value) for name, value in info.items()}
    if info is not None and test is not None:
        info["test"] = test = float(test)
    for name, value, good, expected in (
        ("accuracy", accuracy, 0 <= accuracy <= 1, "a fraction from 0 to 1"),
        ("test", test, test is None or 0 <= test <= 1, "a fraction from 0 to 1"),
        ("rung", rung, rung is None or 0 <= rung < MAX_NUMBER, "at least 0"),
        ("std", std, std is None or 0 <= std < MAX_NUMBER, "a number of at least 0"),
    ):
        if not good:
            return Failure(reason=f"{name} must be {expected}, got {value:g}")
    if correct is not None:
        correct = tuple(map(bool, correct))
    return replace(evaluation, accuracy=accuracy, rung=rung, std=std, info=info, correct=correct)
