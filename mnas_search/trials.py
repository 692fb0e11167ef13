"""Trials as values, and the journal they are written to.

A journal is append-only, one JSON event a line, each written whole and flushed before it counts;
the tell of a finished evaluation is also synced to disk. Complete lines never change; a torn last
line, left by a crash, is cut when the journal is opened again.
"""

import json
import os
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from numbers import Integral
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Literal, Protocol, final, get_args

from mnas_search.choices import Choices
from mnas_search.errors import RunFolderError, UsageError, WorkFailed
from mnas_search.files import check_ordinary, lock
from mnas_search.objective import METRICS, Objective

_FOREVER, _LARGEST = 1e12, 1e300  # seconds, and a reward that arithmetic can still work with

Status = Literal["ok", "failed", "stopped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What an evaluator measured.

    Attributes:
        accuracy: fraction in [0, 1].
        std: standard deviation of the accuracy, where the evaluator knows it.
        rung: how far the evaluation had come, where more is to come; None for a result.
        info: further figures, by name.
    """

    accuracy: float
    std: float | None = None
    rung: int | None = None
    info: Mapping[str, float] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An evaluation that gave no accuracy, with the reason."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """An evaluation that was given up at a rung, with what was measured there."""

    evaluation: Evaluation

    @property
    def reason(self) -> str:
        """Why there is no result."""
        return f"stopped early at rung {self.evaluation.rung}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A proposal of the controller.

    Attributes:
        number: of the trial, from 0.
        choices: what was proposed.
        fingerprint: of the network.
        duplicate_of: number of the earlier trial with the same network, or None.
        seed: of its training, from the run's seed and the fingerprint.
    """

    number: int
    choices: Choices
    fingerprint: str
    duplicate_of: int | None
    seed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A finished trial.

    Attributes:
        number, choices, fingerprint, duplicate_of, seed: as asked.
        status: `ok`; `failed`, with the reason in `error`; `stopped` early, at `rung`.
        accuracy: fraction in [0, 1]; None where there is none. A stopped trial's is the one at its
            rung, and to be compared with no result.
        macs, params: exact cost at the deployment resolution.
        reward: the objective's plain value; None unless `ok`.
        within_target: whether the network keeps the target, and the limits beside it.
        seconds: of work, on the worker.
        error: reason of a failure.
        rung: where a stopped trial stopped.
        inference_memory: exact bytes of fp32 inference at batch 1; None where nothing limits it.
        latency: predicted seconds of one forward pass; None where nothing limits it.
    """

    number: int
    choices: Choices
    fingerprint: str
    duplicate_of: int | None = None
    seed: int = 0
    status: Status
    accuracy: float | None
    macs: int
    params: int
    reward: float | None
    within_target: bool
    seconds: float
    error: str | None = None
    rung: int | None = None
    inference_memory: int | None = None
    latency: float | None = None

    def __post_init__(self) -> None:
        if self.status not in get_args(Status):
            raise UsageError(
                f"trial {self.number} has status {self.status!r}; allowed: "
                f"{', '.join(get_args(Status))}"
            )
        for name in ("macs", "params", "inference_memory"):
            value = getattr(self, name)
            if value is None and name == "inference_memory":
                continue
            if not isinstance(value, Integral) or value < 0:
                raise UsageError(
                    f"trial {self.number} has {name} {value!r}; allowed: a whole number from 0"
                )
        if not isinstance(self.seconds, int | float) or not 0 <= self.seconds < _FOREVER:
            raise UsageError(
                f"trial {self.number} has seconds {self.seconds!r}; allowed: a number"
            )
        if self.latency is not None and not (
            isinstance(self.latency, int | float) and 0 < self.latency < _FOREVER
        ):
            raise UsageError(f"trial {self.number} has latency {self.latency!r}; allowed: seconds")
        if self.error is not None and not isinstance(self.error, str):
            raise UsageError(f"trial {self.number} has error {self.error!r}; allowed: text")
        # One NaN that is learnt from would spoil every later proposal of a model.
        if self.accuracy is not None and not (
            isinstance(self.accuracy, int | float) and 0 <= self.accuracy <= 1
        ):
            raise UsageError(
                f"trial {self.number} has accuracy {self.accuracy}; allowed: a fraction from 0 to "
                "1, or none for a trial that failed"
            )
        if self.reward is not None and not (
            isinstance(self.reward, int | float) and abs(self.reward) < _LARGEST
        ):
            raise UsageError(
                f"trial {self.number} has reward {self.reward}; allowed: a number, or none for a "
                "trial that failed"
            )


def rank(trial: Trial) -> tuple[float, int, int]:
    """Sorts trials with a reward, best first; ties go to fewer multiply-adds, then the earlier."""
    assert trial.reward is not None
    return (-trial.reward, trial.macs, trial.number)


def believed(trial: Trial, estimates: Mapping[int, float], objective: Objective) -> float:
    """The trial's reward, by what its controller estimates the accuracy to be where it does;
    `estimates` by number of the trial."""
    assert trial.reward is not None
    if trial.number not in estimates:
        return trial.reward
    return objective.reward(estimates[trial.number], objective.targeted(trial))


_RESULTS = ("status", "accuracy", "macs", "params", "reward", "seconds", "error", "rung")
_LIMITED = ("inference_memory", "latency")  # told only where they are limited


def results_of(trial: Trial) -> dict[str, Any]:
    """What an event says of a finished trial, beside what was asked."""
    told = {name: getattr(trial, name) for name in _RESULTS}
    limited = {name: getattr(trial, name) for name in _LIMITED}
    return told | {name: value for name, value in limited.items() if value is not None}


def read_trial(asked: Asked, event: Mapping[str, Any], objective: Objective) -> Trial:
    """A finished trial from what an event says of it."""
    own: dict[str, Any] = {name: event.get(name) for name in (*_RESULTS, *_LIMITED)}
    trial = Trial(**asdict(asked), **own, within_target=False)  # which looks at the values
    kept = objective.within(*(own[m.count] for m in METRICS.values()))
    return replace(trial, within_target=kept)


def read_asked(event: Mapping[str, Any]) -> Asked:
    """A proposal from its event."""
    return Asked(
        number=event["trial"],
        choices=event["choices"],
        fingerprint=event["fingerprint"],
        duplicate_of=event["duplicate_of"],
        seed=event["seed"],
    )


class Events(Protocol):
    """The record of a run, as the parts of a run use it."""

    events: list[dict[str, Any]]

    def append(self, event: Mapping[str, Any], *, sync: bool = False) -> None:
        """Write one event."""


@final
class ReadJournal:
    """A record that is only read; the run may go on meanwhile, and does not notice."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.events = read_events(path)

    def append(self, event: Mapping[str, Any], *, sync: bool = False) -> None:
        """Refused."""
        del event, sync
        raise WorkFailed(f"{self._path} is only read")


class Journal:
    """The append-only record of a run, locked against a second writer."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO = path.open("a+b")
        lock(self._file, path.parent)
        try:
            self.events = self._read()
        except BaseException:
            self.close()
            raise

    def append(self, event: Mapping[str, Any], *, sync: bool = False) -> None:
        """Write one event; `time` (seconds since 1970) is added."""
        line = json.dumps({**event, "time": round(time.time(), 3)}, allow_nan=False) + "\n"
        try:
            self._file.write(line.encode())
            self._file.flush()
            if sync:
                os.fsync(self._file.fileno())
        except OSError as error:
            raise WorkFailed(
                f"cannot write {self._path}: {error.strerror}; started again, it goes on from "
                "the last complete line"
            ) from error

    def close(self) -> None:
        """Release the file and its lock."""
        try:
            self._file.close()
        except OSError:
            pass  # what could not be written was reported by append

    def __enter__(self) -> "Journal":
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def _read(self) -> list[dict[str, Any]]:
        self._file.seek(0)
        content = self._file.read()
        events, whole = _parse(content, self._path)
        if whole < len(content):
            self._file.truncate(whole)
        return events


def read_events(path: Path) -> list[dict[str, Any]]:
    """The complete events of a journal that is only read; it may be in use."""
    try:
        check_ordinary(path)
        return _parse(path.read_bytes(), path)[0]
    except OSError as error:
        raise RunFolderError(f"cannot read {str(path)!r}: {error.strerror}") from None


def _parse(content: bytes, path: Path) -> tuple[list[dict[str, Any]], int]:
    """Events, and the length of the whole lines."""
    whole = content[: content.rfind(b"\n") + 1]
    events = []
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            event = json.loads(line)
            event["event"], event["time"]
        except (ValueError, TypeError, KeyError, RecursionError):
            raise RunFolderError(
                f"{path} line {number} is no event: {line[:60]!r}; it was changed by "
                "something else than mnas-search"
            ) from None
        events.append(event)
    return events, len(whole)
