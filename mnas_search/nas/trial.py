"""Trials as values, and the journal they are written to.

A journal is append-only, one JSON event a line, each written whole and flushed before it counts;
the tell of a finished evaluation is also synced to disk. Complete lines never change; a torn last
line, left by a crash, is cut when the journal is opened again.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from numbers import Integral
from typing import Any, Literal, get_args

from mnas_search.architecture.cost.metrics import METRICS
from mnas_search.common.errors import UsageError
from mnas_search.nas.objective import Objective
from mnas_search.nas.space.choices import Choices

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
    return objective.reward(estimates[trial.number], objective.target_cost(trial))


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
