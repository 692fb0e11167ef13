"""A worker of a run: an actor of Ray Tune, and the meeting of all workers at the start.

Importing this module imports Ray.
"""

import math
import time
import warnings
from typing import Any

from mnas_search.common.errors import MnasSearchError, WorkFailed
from mnas_search.common.machine import keep_freed_memory
from mnas_search.experiments.runners.travel import Packed, unpack
from mnas_search.nas.job import EvaluatorPool, Job, Measurement, Outcome
from mnas_search.nas.trial import Evaluation, Failure, Stopped

with warnings.catch_warnings():
    warnings.simplefilter("ignore")
    import ray
    from ray import tune

_PATIENCE = 60.0  # seconds that workers wait for each other at the start
_PACE = 0.2  # seconds between their starts


class Meeting:
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


class Worker(tune.Trainable):  # type: ignore[misc]
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
        limit = new_config.get("limit", math.inf)
        self._measurement = None if job is None else Measurement(self._evaluators, job, limit)
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
