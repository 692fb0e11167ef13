"""Proposals, evaluations and finished trials as values."""

from collections.abc import Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Literal, NoReturn, get_args

from mnas_search.common.errors import UsageError
from mnas_search.nas.objective import Objective
from mnas_search.nas.space.choices import Choices
from mnas_search.nas.space.cost_model import Costs

MAX_NUMBER = 1e300  # that arithmetic can still work with

Status = Literal["ok", "failed", "stopped"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Evaluation:
    """What an evaluator measured.

    Attributes:
        accuracy: fraction in [0, 1].
        std: standard deviation of the accuracy, where the evaluator knows it.
        rung: how far the evaluation had come, where more is to come; None for a result.
        info: further figures, by name.
        correct: whether each image of the test split was classified correctly, in its order, where
            the evaluator measures on it.
    """

    accuracy: float
    std: float | None = None
    rung: int | None = None
    info: Mapping[str, float] | None = None
    correct: tuple[bool, ...] | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Failure:
    """An evaluation that gave no accuracy, with the reason."""

    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Stopped:
    """An evaluation that was stopped at a rung, with what was measured there."""

    evaluation: Evaluation

    @property
    def reason(self) -> str:
        """Why there is no result."""
        return f"stopped early at rung {self.evaluation.rung}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A proposal of the controller."""

    number: int  # of the trial, from 0
    choices: Choices  # what was proposed
    fingerprint: str  # of the network
    duplicate_of: int | None  # number of the earlier trial with the same network, or None
    seed: int  # of its training, from the run's seed and the fingerprint


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """A finished trial.

    Attributes:
        number, choices, fingerprint, duplicate_of, seed: as asked.
        status: `ok`; `failed`, with the reason in `error`; `stopped` early, at `rung`.
        accuracy: fraction in [0, 1]; None where there is none. A stopped trial's is the one at its
            rung, which compares with no result.
        costs: by name: exact `macs` and `params` at the deployment resolution, and what the
            objective bounds besides: `inference_memory` (bytes), predicted `latency` (seconds).
        reward: the objective's plain value; None unless `ok`.
        feasible: whether the network keeps the target and all limits.
        seconds: of work, on the worker.
        error: reason of a failure.
        rung: where a stopped trial stopped.
    """

    number: int
    choices: Choices
    fingerprint: str
    duplicate_of: int | None = None
    seed: int = 0
    status: Status
    accuracy: float | None
    costs: Costs
    reward: float | None
    feasible: bool
    seconds: float
    error: str | None = None
    rung: int | None = None

    def __post_init__(self) -> None:
        if self.status not in get_args(Status):
            self._refuse("status", self.status, f"one of {', '.join(get_args(Status))}")
        for name in {"macs": None, "params": None, **self.costs}:
            kind, expected = (Real, "a number") if name == "latency" else (Integral, "an integer")
            value = self.costs.get(name)
            if not (isinstance(value, kind) and 0 <= value < MAX_NUMBER):
                self._refuse(name, value, f"{expected} of at least 0")
        if not (isinstance(self.seconds, int | float) and 0 <= self.seconds < MAX_NUMBER):
            self._refuse("seconds", self.seconds, "a number of at least 0")
        if self.error is not None and not isinstance(self.error, str):
            self._refuse("error", self.error, "text")
        # One NaN that is learnt from would spoil every later proposal of a model.
        for name, value, low, high in (
            ("accuracy", self.accuracy, 0, 1),
            ("reward", self.reward, -MAX_NUMBER, MAX_NUMBER),
        ):
            number = isinstance(value, int | float) and low <= value <= high
            if value is not None and not number:
                self._refuse(name, value, f"a number from {low:g} to {high:g}, or none")

    def _refuse(self, name: str, value: object, expected: str) -> NoReturn:
        raise UsageError(f"{name} of trial {self.number} must be {expected}, got {value!r}")

    @property
    def macs(self) -> int:
        """Multiply-adds at the deployment resolution."""
        return int(self.costs["macs"])

    @property
    def params(self) -> int:
        """Trainable parameters."""
        return int(self.costs["params"])


def rank(trial: Trial) -> tuple[float, int, int]:
    """Sort trials with a reward, best first; ties go to fewer multiply-adds, then the earlier."""
    assert trial.reward is not None
    return (-trial.reward, trial.macs, trial.number)


def believed(trial: Trial, estimates: Mapping[int, float], objective: Objective) -> float:
    """Return the trial's reward, by its controller's estimate of the accuracy where there is one;
    `estimates` by number of the trial."""
    assert trial.reward is not None
    if trial.number not in estimates:
        return trial.reward
    return objective.reward_of(estimates[trial.number], trial.costs)
