"""Carries out jobs over Ray workers, as one Ray Tune experiment.

Tune asks our searcher for a trial whenever a worker is free; the searcher asks the queue, never
for more jobs than there are workers, so that every proposal can use all finished results.
Actors are reused from trial to trial (starting one and importing torch takes seconds), the
evaluators with their data are put into the object store once, and a worker that dies is replaced
and its job tried once more. A trial reports at every rung, and a scheduler tells Tune whether the
queue lets it continue. The journal replaces Tune's own checkpoints and resume.

Importing this module imports Ray.
"""

import logging
import math
import os
import re
import shutil
import tempfile
import time
import warnings
from pathlib import Path
from typing import Any, final

from mnas_search.common.errors import (
    MnasSearchError,
    WorkFailed,
    shorten,
    single_line,
    text_of,
)
from mnas_search.common.machine import keep_freed_memory
from mnas_search.common.ray_cluster import cluster
from mnas_search.experiments.runners.travel import Packed, pack, unpack
from mnas_search.nas.evaluator import Evaluator, Resources
from mnas_search.nas.job import AnyJob, EvaluatorPool, Job, JobQueue, Measurement, Outcome
from mnas_search.nas.trial import Evaluation, Failure, Stopped

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

_PATIENCE = 60.0  # seconds that workers wait for each other at the start
_PACE = 0.2  # seconds between their starts
_MAX_CAUSE = 250  # characters


def run_on_ray(
    queue: JobQueue[AnyJob],
    evaluators: Evaluator | EvaluatorPool,
    *,
    workers: int,
    gpus_per_trial: float | None = None,
    address: str | None = None,
) -> None:
    """Carry out jobs until the queue has finished, at most `workers` at a time.

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
            _tune(queue, evaluators, workers, {"CPU": wanted.cpus, "GPU": gpus})


def _tune(
    queue: JobQueue[AnyJob],
    evaluators: Evaluator | EvaluatorPool,
    workers: int,
    resources: dict[str, float],
) -> None:
    logging.getLogger("ray.tune").setLevel(logging.CRITICAL)  # errors are outcomes, or raised
    # Tune starts this many actors at a time; its default of one would start them in turn.
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(workers)
    feeder, packed = _Feeder(queue, workers), pack(evaluators)
    worker = tune.with_resources(tune.with_parameters(_Worker, packed=packed), resources)
    tune_config = tune.TuneConfig(
        search_alg=feeder,
        scheduler=_Scheduler(feeder),
        num_samples=-1,
        reuse_actors=True,
        trial_name_creator=_trial_name,
        trial_dirname_creator=_trial_name,
    )
    scratch = tempfile.mkdtemp(prefix="mnas-search-")
    run_config = tune.RunConfig(
        storage_path=scratch,
        verbose=0,
        failure_config=tune.FailureConfig(max_failures=1),
        checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
    )
    try:
        tune.Tuner(worker, tune_config=tune_config, run_config=run_config).fit()
    except RuntimeError as error:
        # How Tune reports unexpected ends, such as workers killed for lack of memory.
        first = str(error).splitlines()[:1]
        raise WorkFailed(f"Ray Tune ended: {single_line(''.join(first))[:300]}") from error
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if feeder.error is not None:
        raise feeder.error
    if not queue.finished:
        raise WorkFailed("Ray Tune ended before the work was done")


def _trial_name(trial: Any) -> str:
    return f"trial_{trial.trial_id}"


class _Meeting:
    """Counts the workers that have started; none is given a job before all have.

    Tune gives a waiting trial to the first free actor and stops the one that was being started for
    it: without this, a single worker would carry out all short trials.
    """

    def __init__(self, expected: int) -> None:
        self._expected, self._there = expected, 0

    def arrive(self) -> int:
        self._there += 1
        return self._there

    def complete(self) -> bool:
        return self._there >= self._expected


@final
class _Feeder(Searcher):  # type: ignore[misc]
    """Tune's view of the queue: first a meeting of all workers, then the jobs."""

    def __init__(self, queue: JobQueue[Any], workers: int) -> None:
        super().__init__(metric="accuracy", mode="max")
        self._queue, self._workers = queue, workers
        self._meeting = ray.remote(num_cpus=0)(_Meeting).remote(workers)
        self._invitations = workers
        self._open: dict[str, Job | None] = {}
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
            job = None if full else self._queue.next()
        except Exception as error:
            self.error = error
            return Searcher.FINISHED
        if job is None:
            return Searcher.FINISHED if not full and self._queue.finished else None
        self._open[trial_id] = job
        return {"job": job}

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
        job = self._open.pop(trial_id, None)
        if job is None:
            if not self._invitations and None not in self._open.values():
                ray.kill(self._meeting)  # an idle actor costs a hundredth of a CPU, and memory
            return
        if self.error is not None:
            return
        # An exception would make Tune call this again; it is kept, and raised at the end.
        try:
            if error or result is None:
                reason = f"worker lost, twice{self.losses.pop(trial_id, '')}"
                self._queue.record(job, Failure(reason=reason), 0.0)
            elif result["error"] is not None:
                self.error = result["error"]
            else:
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
        """Log a lost worker, and keep what killed it; Tune repeats its job once."""
        cause = _cause_of_loss(trial)
        _LOG.warning("the worker of %s was lost%s", trial, cause)
        self._feeder.losses[trial.trial_id] = cause

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


class _Worker(tune.Trainable):  # type: ignore[misc]
    """An actor: one job a trial, one rung of it a step."""

    def setup(self, config: dict[str, Any], packed: Packed) -> None:
        # torch, and what its optimisers import: takes seconds, once, before any job.
        import torch._dynamo  # noqa: F401

        keep_freed_memory()
        self._evaluators, self._broken = EvaluatorPool(()), None
        try:
            self._evaluators = unpack(packed)
        except WorkFailed as error:  # for the driver: an exception would only end the actor
            self._broken = error
        self._measurement: Measurement | None = None
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        if self._measurement is not None and self._measurement.rung is not None:
            self._measurement.stop()
        job: Job | None = new_config["job"]
        self._measurement = None if job is None else Measurement(self._evaluators, job)
        self._meeting: Any = new_config.get("meeting")
        return True

    def step(self) -> dict[str, Any]:
        measurement = self._measurement
        if measurement is None:
            self._meet()
            return {"accuracy": 0.0, "done": True}
        # An exception would end the actor, so every outcome goes back as a value.
        error, done = None, True
        try:
            if self._broken is not None:
                raise self._broken
            measurement.advance()
            outcome: Outcome = measurement.outcome
            if measurement.rung is not None:  # what the outcome is, if the queue stops it here
                outcome, done = Stopped(evaluation=measurement.rung), False
        except MnasSearchError as raised:
            error, outcome = raised, Failure(reason="wrong usage")
        return {
            "accuracy": outcome.accuracy if isinstance(outcome, Evaluation) else 0.0,
            "outcome": outcome,
            "seconds": measurement.seconds,
            "error": error,
            "done": done,
        }

    def _meet(self) -> None:
        place: int = ray.get(self._meeting.arrive.remote())
        # On a busy cluster some workers may come much later: the others then go ahead.
        patience = time.monotonic() + _PATIENCE
        while time.monotonic() < patience and not ray.get(self._meeting.complete.remote()):
            time.sleep(0.05)
        # One after the other, since of actors that get free at the same moment Tune keeps one.
        time.sleep(place * _PACE)
