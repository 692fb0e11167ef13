"""Trials as events of a journal, and back; an event holds a trial's costs flat."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from typing import Any

from mnas_search.architecture.cost.metrics import METRICS
from mnas_search.architecture.traced_network import Network
from mnas_search.common.errors import UsageError
from mnas_search.nas.objective import Objective
from mnas_search.nas.space.choices import Choices
from mnas_search.nas.space.cost_model import Costs
from mnas_search.nas.trial import Asked, Evaluation, Failure, Stopped, Trial

_ROUNDING = 1e-9  # powers differ in their last digit between machines
_RESULTS = ("status", "accuracy", "reward", "seconds", "error", "rung")


def results_of(trial: Trial) -> dict[str, Any]:
    """Return what an event says of a finished trial besides what was asked; costs are flat."""
    return {name: getattr(trial, name) for name in _RESULTS} | dict(trial.costs)


def read_trial(asked: Asked, event: Mapping[str, Any], objective: Objective) -> Trial:
    """Return a finished trial from what an event says of it."""
    results: dict[str, Any] = {name: event.get(name) for name in _RESULTS}
    names = [metric.count for metric in METRICS.values() if event.get(metric.count) is not None]
    costs = {name: event[name] for name in names}
    trial = Trial(**_members(asked), **results, costs=costs, feasible=False)  # checks the values
    return replace(trial, feasible=objective.is_feasible(costs))


def _members(asked: Asked) -> dict[str, Any]:
    """Return the fields by name; `asdict` would copy the choices deeply, and takes long."""
    return {field.name: getattr(asked, field.name) for field in fields(asked)}


def read_asked(event: Mapping[str, Any]) -> Asked:
    """Return a proposal from its event."""
    names = ("choices", "fingerprint", "duplicate_of", "seed")
    return Asked(number=event["trial"], **{name: event[name] for name in names})


def check_asked(asked: Asked, expected: Asked) -> None:
    """Raise `UsageError` for a journalled proposal that is not the one of its choices."""
    for name in ("number", "fingerprint", "duplicate_of", "seed"):
        given, own = getattr(asked, name), getattr(expected, name)
        if given != own:
            raise UsageError(f"{name} of trial {expected.number} must be {own!r}, got {given!r}")


def check_fingerprint(fingerprint: str, network: Network) -> None:
    """Raise `UsageError` for a journalled fingerprint that is not the network's."""
    if fingerprint != network.fingerprint:
        raise UsageError(f"fingerprint must be {network.fingerprint!r}, got {fingerprint!r}")


def check_trial(trial: Trial, costs: Costs, objective: Objective) -> None:
    """Raise `UsageError` for a journalled trial whose counts are not its network's, or whose
    reward is not that of its accuracy.

    Args:
        costs: of the network, counted anew, by name.
    """
    for name, own in costs.items():
        if trial.costs.get(name) != own:
            got = trial.costs.get(name)
            raise UsageError(f"{name} of trial {trial.number} must be {own}, got {got}")
    if trial.status != "ok":
        return
    if trial.accuracy is None or trial.reward is None:
        name = "accuracy" if trial.accuracy is None else "reward"
        raise UsageError(f"{name} of trial {trial.number} must be a number: the trial is ok")
    own = objective.reward_of(trial.accuracy, trial.costs)
    if not math.isclose(own, trial.reward, rel_tol=_ROUNDING):
        raise UsageError(f"reward of trial {trial.number} must be {own}, got {trial.reward}")


def outcome_results(
    outcome: Evaluation | Failure | Stopped, costs: Costs, objective: Objective, seconds: float
) -> dict[str, Any]:
    """Return what an event says of the outcome of an evaluation."""
    results: dict[str, Any] = {**costs, "seconds": round(seconds, 3)}
    if isinstance(outcome, Failure):
        return results | {"status": "failed", "error": outcome.reason}
    if isinstance(outcome, Stopped):
        there = outcome.evaluation
        return results | {"status": "stopped", "accuracy": there.accuracy, "rung": there.rung}
    reward = objective.reward_of(outcome.accuracy, costs)
    return results | {"status": "ok", "accuracy": outcome.accuracy, "reward": reward}


def ask_event(asked: Asked) -> dict[str, Any]:
    """Return the event of a proposal."""
    event = {"event": "ask", "trial": asked.number, **_members(asked), "phase": "search"}
    event["choices"] = dict(asked.choices)
    del event["number"]
    return event


def rung_event(
    number: int, evaluation: Evaluation, reward: float, seconds: float
) -> dict[str, Any]:
    """Return the event of what was measured of a trial at a rung."""
    return {
        "event": "rung",
        "trial": number,
        "rung": evaluation.rung,
        "accuracy": evaluation.accuracy,
        "reward": reward,
        "seconds": round(seconds, 3),
        "phase": "search",
    }


def tell_event(trial: Trial) -> dict[str, Any]:
    """Return the event of a finished trial."""
    return {"event": "tell", "trial": trial.number, **results_of(trial), "phase": "search"}


def warm_start_event(wanted: Sequence[Choices], known: Sequence[Trial]) -> dict[str, Any]:
    """Return the event of a warm start: proposals to try first and trials of earlier runs."""
    return {
        "event": "warm start",
        "wanted": [dict(choices) for choices in wanted],
        "known": [
            {"choices": dict(t.choices), "fingerprint": t.fingerprint, **results_of(t)}
            for t in known
        ],
        "phase": "start-up",
    }
