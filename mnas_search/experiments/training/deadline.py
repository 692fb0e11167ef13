"""The time of a training whose number of epochs follows from a time, as a fit's does.

That number was computed from the seconds that steps took when they were measured. While the
training runs, its end is projected from the seconds of the recent steps; where the machine has
become so much slower that the end would be late, the training gets the steps that still fit, and
its learning rate comes down sooner (`mnas_search.training.schedules.Length`). It never becomes
longer again.

The end is projected when the steps of an epoch are done, and several times within epochs that are
long beside the time (`CHECK`). At least as many steps as lie between two checks follow a change:
in these the learning rate comes down.

Each change is in `shortened.jsonl` before its first step, and a resumed training repeats it:
nothing that was decided is measured again. A training without a deadline keeps its epochs.
"""

import math
import time
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import final

import torch

from mnas_search.common.errors import RunFolderError
from mnas_search.nas.event_kinds import COUNT, NUMBER, EventKinds
from mnas_search.nas.journal import Journal, read_events
from mnas_search.training.loop import Training
from mnas_search.training.schedules import Length
from mnas_search.training.worker_context import WorkerContext

SHORTENED = "shortened.jsonl"
# Shares of the time:
LATE = 0.03  # by how much the projected end may be late before steps are left out
CHECK = 0.02  # between two checks, at most
SLOW_END = 0.05  # by how much what follows the training is taken to last longer, at most
RECENT = 0.05  # of steps that tell the pace, at least: shorter disturbances tell nothing
_SHORTENED = "shortened"  # the event
_EVENTS: EventKinds = {
    _SHORTENED: {"step": COUNT, "steps": COUNT, "planned": COUNT, "slowdown": NUMBER}
}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Pace:
    """How fast a training is.

    Attributes:
        step: seconds of a step.
        rest: seconds of an epoch besides its steps: validation and checkpoint.
    """

    step: float
    rest: float

    def seconds(self, length: Length, done: int, steps: int) -> float:
        """Return the seconds from the end of step `done` until `steps` are done, with the rest of
        all epochs in between; that of an epoch which ends with `done` is still to come."""
        rests = math.ceil(steps / length.per_epoch) - (done - 1) // length.per_epoch
        return (steps - done) * self.step + rests * self.rest


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Deadline:
    """When a training, and what follows it, has to be over.

    Attributes:
        end: `time.monotonic()` of this machine.
        time: seconds of everything that ends then.
        epoch: seconds that an epoch was planned to take.
        following: seconds that what follows the last epoch was planned to take.
    """

    end: float
    time: float
    epoch: float
    following: float

    def interval(self, length: Length) -> int:
        """Return the number of steps between two checks."""
        checks = math.ceil(self.epoch / (CHECK * self.time))
        return max(1, math.ceil(length.per_epoch / checks))

    def slowdown(self, pace: Pace, length: Length) -> float:
        """Return how many times as long as planned an epoch takes; at least 1."""
        return max(1.0, (length.per_epoch * pace.step + pace.rest) / self.epoch)

    def steps(self, length: Length, done: int, pace: Pace, left: float) -> int:
        """Return after how many steps the training ends: all of its length, or fewer where these
        would be late.

        Args:
            done: number of steps so far.
            left: seconds for the rest of the training and what follows it.
        """

        def seconds(steps: int) -> float:
            return pace.seconds(length, done, steps)

        longer = (self.slowdown(pace, length) - 1) * self.following
        spare = left - self.following - min(longer, SLOW_END * self.time)
        if seconds(length.steps) <= spare + LATE * self.time:
            return length.steps
        interval = self.interval(length)
        possible = range(min(done + interval, length.steps), length.steps, interval)
        fitting = bisect_right(possible, spare, key=seconds)
        return possible.start + max(0, fitting - 1) * interval


@final
class Shortening:
    """Keeps a training within a deadline; process 0 decides for all of them.

    Args:
        folder: of the training.
    """

    def __init__(
        self, training: Training, deadline: Deadline, *, folder: Path, share: WorkerContext
    ) -> None:
        self._training, self._deadline = training, deadline
        self._folder, self._share = folder, share
        self._interval = deadline.interval(training.length)
        self._parts: list[tuple[float, int]] = []  # seconds of steps, and their number
        self._rest = 0.0  # seconds of the last epoch besides its steps, once it is known
        # When the last part, or an epoch, ended, and the number of steps until then.
        self._since, self._done = 0.0, training.epoch * training.length.per_epoch

    def train_epoch(self) -> float:
        """Train one epoch, or the part of it that there is time for; returns its mean loss."""
        now = time.monotonic()
        if self._parts:
            self._rest = now - self._since
        self._since = now
        return self._training.train_epoch(self._after_step)

    def _after_step(self, done: int) -> None:
        """Measure the last steps, and shorten the training where the rest of it would be late."""
        length = self._training.length
        if done % length.per_epoch % self._interval:
            return
        now = time.monotonic()
        self._parts.append((now - self._since, done - self._done))
        self._since, self._done = now, done
        device = next(self._training.network.parameters()).device
        steps = self._decide(done) if self._share.rank == 0 else 0
        # No process takes the next step before process 0 has written to the journal.
        steps = int(self._share.sum(torch.tensor(steps, device=device)))
        if steps < length.steps:
            self._training.length = length.shortened(done, steps)

    def _decide(self, done: int) -> int:
        """Return the number of steps; fewer than before are in the journal."""
        length, deadline = self._training.length, self._deadline
        step = recent_pace(self._parts, RECENT * deadline.time)
        if step is None or (length.changes and done < length.changes[-1][0]):
            return length.steps  # too little is known, or what was decided is repeated
        pace = Pace(step=step, rest=self._rest)
        steps = deadline.steps(length, done, pace, deadline.end - time.monotonic())
        if steps < length.steps:
            event = {
                "event": _SHORTENED,
                "step": done,
                "steps": steps,
                "planned": length.planned * length.per_epoch,
                "slowdown": round(deadline.slowdown(pace, length), 3),
            }
            with Journal(self._folder / SHORTENED, _EVENTS) as journal:
                journal.append(event, sync=True)
        return steps


def recent_pace(parts: Sequence[tuple[float, int]], least: float) -> float | None:
    """Return the seconds of a step, the median over the last parts of a training.

    Args:
        parts: seconds and number of steps.
        least: seconds of the parts that count; None is returned for fewer.
    """
    recent, known = [], 0.0
    for seconds, steps in reversed(parts):
        recent.append(seconds / steps)
        known += seconds
        if known >= least:
            return median(recent)
    return None


def read_length(folder: Path, length: Length) -> tuple[Length, str | None]:
    """Return the length of a training with the changes of its folder, and why it is shorter, if it
    is: "the machine became slower: 31 of 39 epochs".

    Args:
        length: without changes.

    Raises:
        RunFolderError: `shortened.jsonl` does not hold changes to fewer and fewer steps.
    """
    path, planned, slower = folder / SHORTENED, length.steps, False
    for event in read_events(path, _EVENTS) if path.is_file() else ():
        if event["planned"] != planned:  # the training was given more epochs since then
            continue
        try:
            length = length.shortened(event["step"], event["steps"])
        except ValueError as error:
            raise RunFolderError(f"{str(path)!r} holds no change of a length: {error}") from None
        slower = slower or event["slowdown"] > 1
    if not length.changes:
        return length, None
    cause = "the machine became slower" if slower else "less time was left than planned"
    epochs = round(length.steps / length.per_epoch, 1)
    return length, f"{cause}: {epochs:g} of {length.planned} epochs"
