"""Work over Ray workers, as one Ray Tune experiment.

Tune asks our searcher for a trial whenever a worker is free; the searcher asks the source, and
never for more than there are workers, so that nothing is proposed ahead of what could be known.
Actors are reused from trial to trial (starting one and importing torch costs seconds), the
evaluator with its data is put into the object store once, and a worker that dies is replaced and
its work tried once more. Tune's own checkpoints and resume are not used: the journal is ours.

Importing this module imports Ray.
"""

import contextlib
import ctypes
import logging
import os
import shutil
import tempfile
import time
import warnings
from collections.abc import Iterator
from typing import Any, final

from mnas_search import plugins
from mnas_search.errors import MnasSearchError, UsageError, WorkFailed
from mnas_search.interfaces import Evaluator, Resources
from mnas_search.trials import Failure
from mnas_search.work import Outcome, Source, Work, measure

# Ray and Tune read these when they are imported or started.
for _name, _value in {
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",
    "RAY_USAGE_STATS_ENABLED": "0",
    # Tune's own handler swallows the first Ctrl-C; without it, Ctrl-C ends the run.
    "TUNE_DISABLE_SIGINT_HANDLER": "1",
    # No CSV, JSON and TensorBoard files of Tune's own, and hardly a snapshot of its state.
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",
    "TUNE_GLOBAL_CHECKPOINT_S": "100000",
}.items():
    os.environ.setdefault(_name, _value)

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import ray
    from ray import cloudpickle, tune
    from ray.tune.search import Searcher

_PATIENCE = 60.0  # seconds that workers wait for each other at the start

_PACE = 0.2  # seconds between their starts

_M_TRIM_THRESHOLD, _M_MMAP_MAX = -1, -4  # of malloc.h


def run_on_ray(
    source: Source,
    evaluator: Evaluator,
    *,
    workers: int,
    gpus_per_trial: float | None = None,
    address: str | None = None,
) -> None:
    """Evaluate until the source has finished.

    Args:
        workers: pieces of work in flight, at most.
        gpus_per_trial: overrides the evaluator's own wish.
        address: of a Ray cluster to join; None starts a private one on this machine, with as many
            CPUs as the workers need, which ends with the run.
    """
    wanted = evaluator.resources or Resources()
    gpus = wanted.gpus if gpus_per_trial is None else gpus_per_trial
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with _cluster(address, cpus=workers * wanted.cpus, gpus=gpus):
            _tune(source, evaluator, workers, {"CPU": wanted.cpus, "GPU": gpus})


@contextlib.contextmanager
def _cluster(address: str | None, *, cpus: float, gpus: float) -> Iterator[None]:
    if ray.is_initialized():
        raise UsageError(
            "Ray is running in this process already; allowed: call ray.shutdown() first"
        )
    shared: dict[str, Any] = {"log_to_driver": False, "logging_level": logging.ERROR}
    if address is None:
        # "local" starts a new cluster even where RAY_ADDRESS names somebody else's.
        shared |= {"num_cpus": max(1, round(cpus)), "include_dashboard": False}
    try:
        ray.init(address=address or "local", **shared)
    except ConnectionError as error:
        raise UsageError(
            f"no Ray cluster at {address!r}: {error} (a cluster that asks for a token needs "
            "RAY_AUTH_MODE=token and the token on this machine)"
        ) from None
    try:
        available = ray.cluster_resources().get("GPU", 0.0)
        if gpus > available:
            raise UsageError(
                f"{gpus:g} GPUs a trial; allowed: at most {available:g}, all that Ray sees"
            )
        yield
    finally:
        ray.shutdown()


def _tune(source: Source, evaluator: Evaluator, workers: int, resources: dict[str, float]) -> None:
    # Tune starts this many actors at a time; its default of one would start them in turn.
    os.environ["TUNE_MAX_PENDING_TRIALS_PG"] = str(workers)
    for module in plugins.modules_from_files():
        cloudpickle.register_pickle_by_value(module)  # the users' own files travel by content
    feeder = _Feeder(source, workers)
    scratch = tempfile.mkdtemp(prefix="mnas-search-")
    try:
        tune.Tuner(
            tune.with_resources(tune.with_parameters(_Worker, evaluator=evaluator), resources),
            tune_config=tune.TuneConfig(
                search_alg=feeder,
                num_samples=-1,
                reuse_actors=True,
                trial_name_creator=_trial_name,
                trial_dirname_creator=_trial_name,
            ),
            run_config=tune.RunConfig(
                storage_path=scratch,
                verbose=0,
                failure_config=tune.FailureConfig(max_failures=1),
                checkpoint_config=tune.CheckpointConfig(checkpoint_at_end=False),
            ),
        ).fit()
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    if feeder.error is not None:
        raise feeder.error
    if not source.finished:
        raise WorkFailed("Ray Tune ended before the work was done")


def _trial_name(trial: Any) -> str:
    return f"trial_{trial.trial_id}"


def _keep_freed_memory() -> None:
    """Keep freed blocks for the next training step, whatever their size.

    By default glibc gives large ones back to the system, and every step pays for fresh pages.
    """
    set_option = getattr(ctypes.CDLL(None), "mallopt", None)  # glibc has it
    if set_option is not None:
        for option, value in ((_M_MMAP_MAX, 0), (_M_TRIM_THRESHOLD, -1)):
            set_option(option, value)


class _Meeting:
    """Where the workers wait for each other before any work is handed out.

    Tune gives a waiting trial to whichever actor is free first and stops the one that was being
    started for it: without this, short trials would all end up on a single worker.
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
    """Tune's view of the source: first a meeting of all workers, then the work."""

    def __init__(self, source: Source, workers: int) -> None:
        super().__init__(metric="accuracy", mode="max")
        self._source, self._workers = source, workers
        self._meeting = ray.remote(num_cpus=0)(_Meeting).remote(workers)
        self._invitations = workers
        self._open: dict[str, Work | None] = {}
        self.error: BaseException | None = None  # what ends the run

    def __reduce__(self) -> Any:
        # Tune writes a copy of itself to disk that we never read; the source cannot be pickled.
        return Searcher, ()

    def suggest(self, trial_id: str) -> Any:
        if self.error is not None:
            return Searcher.FINISHED
        if self._invitations:
            self._invitations -= 1
            self._open[trial_id] = None
            return {"work": None, "meeting": self._meeting}
        full = len(self._open) >= self._workers
        try:
            work = None if full else self._source.next()
        except Exception as error:
            self.error = error
            return Searcher.FINISHED
        if work is None:
            return Searcher.FINISHED if not full and self._source.finished else None
        self._open[trial_id] = work
        return {"work": work}

    def on_trial_complete(
        self, trial_id: str, result: dict[str, Any] | None = None, error: bool = False
    ) -> None:
        work = self._open.pop(trial_id, None)
        if work is None or self.error is not None:
            return
        # An exception would make Tune call this again; it is kept, and raised at the end.
        try:
            if error or result is None:
                self._source.record(work, Failure(reason="worker lost, twice"), 0.0)
            elif result["error"] is not None:
                self.error = result["error"]
            else:
                self._source.record(work, result["outcome"], result["seconds"])
        except Exception as unexpected:
            self.error = unexpected

    def save(self, checkpoint_path: str) -> None:
        """The journal is the only record."""

    def restore(self, checkpoint_path: str) -> None:
        """The journal is the only record."""


class _Worker(tune.Trainable):  # type: ignore[misc]
    """An actor: one piece of work a trial."""

    def setup(self, config: dict[str, Any], evaluator: Evaluator) -> None:
        import torch  # noqa: F401  (takes seconds: once, before any work)

        _keep_freed_memory()
        self._evaluator = evaluator
        self.reset_config(config)

    def reset_config(self, new_config: dict[str, Any]) -> bool:
        self._work: Work | None = new_config["work"]
        self._meeting: Any = new_config.get("meeting")
        return True

    def step(self) -> dict[str, Any]:
        if self._work is None:
            self._meet()
            return {"accuracy": 0.0, "done": True}
        # An exception would end the actor, so every outcome goes back as a value.
        outcome: Outcome = Failure(reason="wrong usage")
        seconds, error = 0.0, None
        try:
            outcome, seconds = measure(self._evaluator, self._work)
        except MnasSearchError as raised:
            error = raised
        return {
            "accuracy": 0.0 if isinstance(outcome, Failure) else outcome.accuracy,
            "outcome": outcome,
            "seconds": seconds,
            "error": error,
            "done": True,
        }

    def _meet(self) -> None:
        place: int = ray.get(self._meeting.arrive.remote())
        # On a busy cluster some workers may come much later: the others then go ahead.
        patience = time.monotonic() + _PATIENCE
        while time.monotonic() < patience and not ray.get(self._meeting.complete.remote()):
            time.sleep(0.05)
        # One after the other, since of actors that get free at the same moment Tune keeps one.
        time.sleep(place * _PACE)
