"""Carries out jobs over Ray workers, as one Ray Tune experiment.

Tune asks our searcher for a trial whenever a worker is free; the searcher asks the queue, never
for more jobs than there are workers, so that every proposal can use all finished results.
Actors are reused from trial to trial (starting one and importing torch takes seconds), the
evaluators with their data are put into the object store once, and a worker that dies is replaced
and its job tried once more; not where it ended itself because the job had timed out and could not
be interrupted. A trial reports at every rung, and a scheduler tells Tune whether the queue lets it
continue. The journal replaces Tune's own checkpoints and resume.

Importing this module imports Ray.
"""

import logging
import math
import os
import re
import time
import warnings
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

from mnas_search.common.errors import (
    WorkFailed,
    shorten,
    single_line,
    text_of,
)
from mnas_search.common.processes.alarm import GRACE
from mnas_search.common.processes.scratch import scratch_folder
from mnas_search.common.ray_cluster import cluster
from mnas_search.experiments.runners.limits import TrialLimits, next_job
from mnas_search.experiments.runners.ray_worker import Meeting, Worker
from mnas_search.experiments.runners.travel import pack
from mnas_search.nas.evaluator import Evaluator, Resources
from mnas_search.nas.job import (
    TIMED_OUT,
    AnyJob,
    EvaluatorPool,
    Job,
    JobQueue,
)
from mnas_search.nas.trial import Failure

_LOG = logging.getLogger(__name__)
# Tune reads these when it is imported or started.
for _name, _value in {
    # Tune's own handler swallows the first Ctrl-C; without it, Ctrl-C ends the run.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # No CSV, JSON and TensorBoard files of Tune's own, and hardly a snapshot of its state.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "100000",
    # No tracebacks of lost workers: the trials have the cause.
    "TUNE_PRINT_ALL_TRIAL_ERRORS": "0",
}.items():
    os.environ.setdefault(_name, _value)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import ray
    from ray import cloudpickle, tune
    from ray.tune.schedulers import FIFOScheduler
    from ray.tune.search import Searcher

_MAX_CAUSE = 250  # characters


def run_on_ray(
    queue: JobQueue[AnyJob],
    evaluators: Evaluator | EvaluatorPool,
    *,
    workers: int,
    gpus_per_trial: float | None = None,
    address: str | None = None,
    limits: TrialLimits | None = None,
) -> None:
    """Carry out jobs until the queue has finished, or one of them is cut off; at most `workers` at
    a time.

    Args:
        gpus_per_trial: overrides the evaluators' own resources; by default jobs share all GPUs.
        address: of a Ray cluster to join; None starts a private one on this machine, with as many
            CPUs as the workers need, which ends with the run.
    """
    wanted = evaluators.resources or Resources()
    gpus = wanted.gpus if gpus_per_trial is None else gpus_per_trial
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with cluster(address, cpus=workers * wanted.cpus, gpus=gpus or 0, what="a trial") as found:
            if gpus is None:
                # A whole one, or a half, a third, ...: other shares would leave workers without.
                gpus = 1 / max(1, math.ceil(workers / found)) if found else 0
            resources = {"CPU": wanted.cpus, "GPU": gpus}
            _tune(
                _Feeder(queue, workers, limits or TrialLimits(math.inf)),
                evaluators,
                workers,
                resources,
            )


def _tune(
    feeder: "_Feeder",
    evaluators: Evaluator | EvaluatorPool,
    workers: int,
    resources: dict[str, float],
) -> None:
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # errors are outcomes, or raised
    # Tune starts this many actors at a time; its default of one would start them in turn.
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(workers)
    packed = pack(evaluators)
    worker = tune.with_resources(tune.with_parameters(Worker, packed=packed), resources)
    tune_config = tune.TuneConfig(
        search_alg=feeder,
        scheduler=_Scheduler(feeder),
        num_samples=-1,
        reuse_actors=True,
        trial_name_creator=_trial_name,
        trial_dirname_creator=_trial_name,
    )
    with scratch_folder() as scratch:
        run_config = tune.RunConfig(
            storage_path=str(scratch),
            verbose=0,
            failure_config=tune.FailureConfig(max_failures=1),
            checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            callbacks=[_Watch(feeder)],
        )
        try:
            tune.Tuner(worker, tune_config=tune_config, run_config=run_config).fit()
        except _CutOff:
            return
        except RuntimeError as error:
            # How Tune reports unexpected ends, such as workers killed for lack of memory.
            first = str(error).splitlines()[:1]
            raise WorkFailed(f"Ray Tune ended: {single_line(''.join(first))[:300]}") from error
    if feeder.error is not None:
        raise feeder.error
    if not feeder.finished:
        raise WorkFailed("Ray Tune ended before the work was done")


def _trial_name(trial: Any) -> str:
    return f"trial_{trial.trial_id}"


@final
class _Feeder(Searcher):  # type: ignore[misc]
    """Tune's view of the queue: first a meeting of all workers, then the jobs."""

    def __init__(self, queue: JobQueue[Any], workers: int, limits: TrialLimits) -> None:
        super().__init__(metric="accuracy", mode="max")
        self._queue, self._workers, self._limits = queue, workers, limits
        self._meeting = ray.remote(num_cpus=0)(Meeting).remote(workers)
        self._invitations = workers
        self._open: dict[str, Job | None] = {}
        self._clocks: dict[str, _JobClock] = {}  # of the jobs under way
        self.error: BaseException | None = None  # what ends the run
        self.losses: dict[str, str] = {}  # by trial: what its worker died of, to append

    def __reduce__(self) -> Any:
        # Tune writes a copy of itself to disk that we never read; the queue cannot be pickled.
        return Searcher, ()

    def suggest(self, trial_id: str) -> Any:
        if self.error is not None:
            return Searcher.FINISHED
        if self._invitations:
            self._invitations -= 1
            self._open[trial_id] = None
            return {"job": None, "meeting": self._meeting}
        full = len(self._open) >= self._workers
        try:
            job = None if full else next_job(self._queue, self._limits)
        except Exception as error:
            self.error = error
            return Searcher.FINISHED
        if job is None:
            return Searcher.FINISHED if not full and self._queue.finished else None
        self._open[trial_id] = job
        limits = self._limits
        self._clocks[trial_id] = _JobClock(limit=limits.seconds, cut_off=limits.until_cut_off)
        return {"job": job, "limit": limits.seconds}

    @property
    def finished(self) -> bool:
        """Whether all jobs are done."""
        return self._queue.finished

    def restart(self, trial_id: str) -> None:
        """Take that a worker was lost; its job begins anew, unless it was repeated before."""
        self._limits.lost += 1
        if trial_id in self._clocks:
            self._clocks[trial_id].begun = time.monotonic()

    @property
    def timed_out(self) -> set[str]:
        """The trials whose worker, if it is lost now, has ended itself for having timed out."""
        now = time.monotonic()
        return {k for k, clock in self._clocks.items() if now - clock.begun >= clock.limit + GRACE}

    def check_cut_off(self) -> None:
        """Raise `_CutOff` where the end of the run's time cuts off a job."""
        left = self._limits.left  # may grow, as more is known of the jobs' duration
        if left <= 0 and any(time.monotonic() > clock.cut_off for clock in self._clocks.values()):
            for job in filter(None, self._open.values()):
                self._queue.release(job)
                self._limits.cut += 1
            raise _CutOff

    def should_continue(self, trial_id: str, result: dict[str, Any]) -> bool:
        """Return whether a trial continues after its current rung."""
        job = self._open.get(trial_id)
        if job is None or self.error is not None:
            return False
        evaluation, seconds = result["outcome"].evaluation, result["seconds"]
        try:
            return self._queue.should_continue(job, evaluation, seconds)
        except Exception as unexpected:
            self.error = unexpected
            return False

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        job, timed_out = self._open.pop(trial_id, None), trial_id in self.timed_out
        self._clocks.pop(trial_id, None)
        if job is None:
            if not self._invitations and None not in self._open.values():
                ray.kill(self._meeting)  # an idle actor costs a hundredth of a CPU, and memory
            return
        if self.error is not None:
            return
        # An exception would make Tune call this again; it is kept, and raised at the end.
        try:
            if error or result is None:
                lost = Failure(reason=f"worker lost, twice{self.losses.pop(trial_id, '')}")
                self._queue.record(job, TIMED_OUT if timed_out else lost, 0.0)
            elif result["error"] is not None:
                self.error = result["error"]
            else:
                self._limits.record(result["outcome"], result["seconds"])
                self._queue.record(job, result["outcome"], result["seconds"])
        except Exception as unexpected:
            self.error = unexpected

    def save(self, checkpoint_path: str) -> None:
        """The journal is the only record."""

    def restore(self, checkpoint_path: str) -> None:
        """The journal is the only record."""


@final
class _Scheduler(FIFOScheduler):  # type: ignore[misc]
    """Tells Tune whether the queue lets a trial continue: a run's ASHA is in its journal."""

    def __init__(self, feeder: _Feeder) -> None:
        super().__init__()
        self._feeder = feeder

    def __reduce__(self) -> Any:
        return FIFOScheduler, ()  # as the searcher's

    def on_trial_error(self, tune_controller: Any, trial: Any) -> None:
        """Log a lost worker, and keep what killed it; Tune repeats its job once, unless `_Watch`
        forbade it."""
        cause = _cause_of_loss(trial)
        _LOG.warning("the worker of %s was lost%s", trial, cause)
        self._feeder.losses[trial.trial_id] = cause
        if trial.max_failures:
            self._feeder.restart(trial.trial_id)

    def on_trial_result(self, tune_controller: Any, trial: Any, result: dict[str, Any]) -> str:
        should_continue = self._feeder.should_continue(trial.trial_id, result)
        decision: str = self.CONTINUE if should_continue else self.STOP
        return decision


def _cause_of_loss(trial: Any) -> str:
    """Return ": " and what Ray says of a trial's lost worker, or nothing."""
    try:
        error = cloudpickle.loads(Path(trial.pickled_error_file).read_bytes())
    except Exception:  # there is none, or it is of a class that this process does not have
        return ""
    text = single_line(text_of(getattr(error, "cause", None) or error))
    found = re.search(r"exit detail: (.*?)(?: (?:Some common|There are some)|$)", text)
    return f": {shorten(found[1] if found else text, _MAX_CAUSE)}"


class _CutOff(BaseException):
    """The end of a run's time cuts off what still runs; Tune passes it on, as it does Ctrl-C."""


@dataclass(slots=True, kw_only=True)
class _JobClock:
    """When a job under way has timed out, and when it is cut off."""

    limit: float  # seconds
    cut_off: float  # time.monotonic()
    begun: float = field(default_factory=time.monotonic)


@final
class _Watch(tune.Callback):  # type: ignore[misc]
    """Looks at the jobs under way several times a second."""

    def __init__(self, feeder: _Feeder) -> None:
        self._feeder = feeder

    def __reduce__(self) -> Any:
        return tune.Callback, ()  # as the searcher's

    def on_step_begin(self, iteration: int, trials: list[Any], **info: Any) -> None:
        """Forbid Tune to repeat what has timed out; cut off what runs too long."""
        late = self._feeder.timed_out
        for trial in trials if late else ():
            if trial.trial_id in late:
                trial.max_failures = 0
        self._feeder.check_cut_off()
