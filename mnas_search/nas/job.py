"""Work for a runner: networks to evaluate, and who hands them out.

A runner drives a `JobQueue`: it takes jobs with `next()`, evaluates them, asks at every rung
whether the job `should_continue()`, and returns the outcome with `record()`. The queue is passive;
it owns all bookkeeping.
"""

import contextlib
import math
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, field, replace
from typing import final

from mnas_search.architecture.traced_network import Network
from mnas_search.common.errors import MnasSearchError, single_line
from mnas_search.nas.evaluator import Evaluator, Resources
from mnas_search.nas.trial import Evaluation, Failure, Stopped

Outcome = Evaluation | Failure | Stopped


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """One network to evaluate.

    Attributes:
        number: of the trial it belongs to.
        network: what to evaluate.
        seed: of the evaluation.
        evaluator_index: of the evaluator of an `EvaluatorPool` that it is for.
        recipe: of the training, where a journal tells several apart.
    """

    number: int
    network: Network = field(repr=False)
    seed: int
    evaluator_index: int = 0
    recipe: str = ""


@final
@dataclass(frozen=True, slots=True)
class EvaluatorPool:
    """Several evaluators for one session of a runner; each piece of work names its own."""

    evaluators: tuple[Evaluator, ...]

    @property
    def resources(self) -> Resources | None:
        """What the most demanding of them occupies; None where all run in process."""
        wanted = [e.resources for e in self.evaluators if e.resources is not None]
        if not wanted:
            return None
        named = max((r.gpus for r in wanted if r.gpus is not None), default=0)
        shared = not named and any(r.gpus is None for r in wanted)
        cpus = max(r.cpus for r in wanted)
        return Resources(cpus=cpus, gpus=None if shared else named)


class JobQueue(ABC):
    """Hands out work, a piece at a time, and takes the outcomes in any order."""

    @abstractmethod
    def next(self) -> Job | None:
        """The next piece; None where there is none now."""

    def should_continue(self, work: Job, evaluation: Evaluation, seconds: float) -> bool:
        """Take what was measured at a rung; whether the piece is to be gone on with. One that is
        not is recorded as `Stopped`. Override where some are."""
        del work, evaluation, seconds
        return True

    @abstractmethod
    def record(self, work: Job, outcome: Outcome, seconds: float) -> None:
        """Take the outcome of a piece and the seconds it took."""

    @property
    @abstractmethod
    def finished(self) -> bool:
        """Whether nothing is in flight and nothing will come."""


@final
class SequentialQueue(JobQueue):
    """Sources one after the other; each starts when the one before has finished."""

    def __init__(self, sources: Sequence[JobQueue]) -> None:
        self._sources = list(sources)

    def next(self) -> Job | None:
        """The next piece of the first source that has not finished."""
        while self._sources:
            work = self._sources[0].next()
            if work is not None or not self._sources[0].finished:
                return work
            self._sources.pop(0)
        return None

    def should_continue(self, work: Job, evaluation: Evaluation, seconds: float) -> bool:
        """What the source says that handed the work out: the current one."""
        return self._sources[0].should_continue(work, evaluation, seconds)

    def record(self, work: Job, outcome: Outcome, seconds: float) -> None:
        """Give the outcome to the source that handed the work out: the current one."""
        self._sources[0].record(work, outcome, seconds)

    @property
    def finished(self) -> bool:
        """Whether all sources have finished."""
        return all(source.finished for source in self._sources)


@final
class TimedQueue(JobQueue):
    """A source with a stopwatch."""

    def __init__(self, source: JobQueue) -> None:
        self._source = source
        self.first: float | None = None  # time.monotonic() when the first piece was handed out
        self._last = 0.0
        self.busy = 0.0  # seconds of work, summed over workers

    @property
    def elapsed(self) -> float:
        """Seconds from the first piece handed out to the last outcome."""
        return 0.0 if self.first is None else max(0.0, self._last - self.first)

    def next(self) -> Job | None:
        """The source's next piece."""
        asked = time.monotonic()
        work = self._source.next()
        if work is not None and self.first is None:
            self.first = asked
        return work

    def should_continue(self, work: Job, evaluation: Evaluation, seconds: float) -> bool:
        """What the source says."""
        return self._source.should_continue(work, evaluation, seconds)

    def record(self, work: Job, outcome: Outcome, seconds: float) -> None:
        """Give the outcome to the source."""
        self._source.record(work, outcome, seconds)
        self.busy += seconds
        self._last = time.monotonic()

    @property
    def finished(self) -> bool:
        """Whether the source has finished."""
        return self._source.finished


@final
class Measurement:
    """One piece of work under evaluation, rung by rung.

    Whatever goes wrong becomes a `Failure` with its reason, and ends it.

    Attributes:
        rung: what was measured at the rung that it has come to; None at the end.
        outcome: of the end.
        seconds: spent evaluating.
    """

    def __init__(self, evaluator: Evaluator | EvaluatorPool, work: Job) -> None:
        if isinstance(evaluator, EvaluatorPool):
            evaluator = evaluator.evaluators[work.evaluator_index]
        self.rung: Evaluation | None = None
        self.outcome: Outcome = Failure(reason="the evaluator gave no evaluation")
        self.seconds = 0.0
        self._evaluations = self._begun(evaluator, work)

    def advance(self) -> None:
        """Go on to the next rung, or to the end."""
        start = time.perf_counter()
        self.rung = None
        try:
            for evaluation in self._evaluations:
                self.outcome = check(evaluation)
                if isinstance(self.outcome, Failure):
                    self._evaluations.close()
                elif self.outcome.rung is not None:
                    self.rung = self.outcome
                    break
        except MnasSearchError:
            raise  # wrong usage (a network that the evaluator cannot take) concerns the whole run
        except MemoryError:
            self.outcome = Failure(reason="out of memory")
        except (Exception, SystemExit) as error:
            first = str(error).splitlines()[:1]
            reason = single_line(f"{type(error).__name__}: {''.join(first)}")[:300]
            self.outcome = Failure(reason=reason)
        self.seconds += time.perf_counter() - start

    def stop(self) -> None:
        """Give up at the rung that it has come to."""
        assert self.rung is not None
        self.outcome, self.rung = Stopped(evaluation=self.rung), None
        with contextlib.suppress(Exception):  # of an evaluator that is cut off
            self._evaluations.close()

    @staticmethod
    def _begun(evaluator: Evaluator, work: Job) -> Generator[Evaluation, None, None]:
        yield from evaluator.evaluate(work.network, seed=work.seed)


def measure(
    evaluator: Evaluator | EvaluatorPool,
    work: Job,
    should_continue: Callable[[Job, Evaluation, float], bool] = lambda work, evaluation, seconds: (
        True
    ),
) -> tuple[Outcome, float]:
    """Return a job's outcome and the seconds spent; `should_continue` is asked at every rung."""
    measurement = Measurement(evaluator, work)
    measurement.advance()
    while measurement.rung is not None:
        if should_continue(work, measurement.rung, measurement.seconds):
            measurement.advance()
        else:
            measurement.stop()
    return measurement.outcome, measurement.seconds


def check(evaluation: Evaluation) -> Evaluation | Failure:
    """The evaluation, or a `Failure` where its accuracy is no fraction in [0, 1]."""
    accuracy = float(evaluation.accuracy)  # a numpy or torch scalar becomes a plain number
    if not math.isfinite(accuracy):
        return Failure(reason=f"accuracy is {accuracy}")
    if not 0 <= accuracy <= 1:
        return Failure(reason=f"accuracy is {accuracy:g}; allowed: a fraction from 0 to 1")
    rung = None if evaluation.rung is None else int(evaluation.rung)
    return replace(evaluation, accuracy=accuracy, rung=rung)
