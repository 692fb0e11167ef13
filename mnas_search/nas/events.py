"""Trials as events of a journal, and back; an event holds a trial's costs flat."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, replace
from typing import Any

from mnas_search.architecture.cost.metrics import METRICS
from mnas_search.nas.objective import Objective
from mnas_search.nas.space.choices import Choices
from mnas_search.nas.space.cost_model import Costs
from mnas_search.nas.trial import Asked, Evaluation, Failure, Stopped, Trial

_RESULTS = ("status", "accuracy", "reward", "seconds", "error", "rung")


def results_of(trial: Trial) -> dict[str, Any]:
    """Return what an event says of a finished trial besides what was asked; costs are flat."""
    return {name: getattr(trial, name) for name in _RESULTS} | dict(trial.costs)


def read_trial(asked: Asked, event: Mapping[str, Any], objective: Objective) -> Trial:
    """Return a finished trial from what an event says of it."""
    results: dict[str, Any] = {name: event.get(name) for name in _RESULTS}
    names = [metric.count for metric in METRICS.values() if event.get(metric.count) is not None]
    costs = {name: event[name] for name in names}
    trial = Trial(**asdict(asked), **results, costs=costs, feasible=False)  # checks the values
    return replace(trial, feasible=objective.is_feasible(costs))


def read_asked(event: Mapping[str, Any]) -> Asked:
    """Return a proposal from its event."""
    names = ("choices", "fingerprint", "duplicate_of", "seed")
    return Asked(number=event["trial"], **{name: event[name] for name in names})


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
    event = {"event": "ask", "trial": asked.number, **asdict(asked), "phase": "search"}
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
