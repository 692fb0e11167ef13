"""A run's result as JSON: the output of `mnas-search run --format json`."""

import math
from dataclasses import asdict
from typing import Any

from mnas_search.experiments.search.folder import further_figures, verdict_of
from mnas_search.experiments.search.report.comparison import comparison
from mnas_search.experiments.search.report.notes import notes, spread
from mnas_search.experiments.search.report.prior import prior_summary
from mnas_search.experiments.search.result import Result
from mnas_search.experiments.search.stages.finalist_check import Finalist
from mnas_search.nas.trial import Trial

_MAX_BUDGETS = 12


def summary(result: Result) -> dict[str, Any]:
    """Return everything that the run has found, as plain JSON values."""
    best, timing, recommended = result.best, result.timing, result.recommendation
    limits = ("target", "metric", "max_params", "max_memory", "max_latency")
    return {
        "name": result.name,
        "folder": str(result.folder),
        **{name: getattr(result.objective, name) for name in limits},
        "objective": result.objective.kind,
        "exponent": result.objective.exponent,
        "recommended": None if recommended is None else recommended.to_dict(),
        "best": None if best is None else _best(result, best),
        "pareto": [_trial(result, t) for t in result.pareto],
        "budgets": [
            {"budget": budget, **_trial(result, trial)} for budget, trial in budgets(result)
        ],
        "finalists": [_scored(result, one) for one in result.finalists],
        "baseline": None if result.baseline is None else _scored(result, result.baseline),
        "verdict": _verdict(result),
        "prior": prior_summary(result),
        "latencies": [
            {"name": label, "predicted": predicted, **asdict(measured)}
            for label, (predicted, measured) in result.latencies.items()
        ],
        "trials": len(result.trials) - len(result.stopped),
        "stopped": len(result.stopped),
        "failed": sum(t.status == "failed" for t in result.trials),
        "asked": result.asked,
        "space_exhausted": result.exhausted,
        "spread": spread(result),
        "seed_noise": result.seed_noise,
        "repeated": len(result.replicates),
        "family": [
            {"name": m.label, "resolution": m.resolution, "params": c.params, "macs": c.macs}
            for m, c in result.family
        ],
        "seconds": None
        if timing is None
        else {
            "startup": timing.startup,
            "search": timing.search,
            "repeats": timing.replicates,
            "finals": timing.final,
        },
        "workers_busy": None if timing is None else timing.busy,
        "notes": notes(result),
    }


def _verdict(result: Result) -> dict[str, Any] | None:
    found, verdict = comparison(result), verdict_of(result)
    if found is None or verdict is None:
        return None
    return {"sentence": found.sentence, **verdict}


def _best(result: Result, best: Trial) -> dict[str, Any]:
    """Return the winner with the accuracy and reward of fresh seeds or the second opinion."""
    figures = result.figures
    assert figures is not None
    return {
        **_trial(result, best),
        "accuracy": figures.accuracy,
        "interval": figures.interval,
        "reward": figures.reward,
        "searched": {"accuracy": best.accuracy, "reward": best.reward},
    }


def _trial(result: Result, trial: Trial) -> dict[str, Any]:
    return {
        "trial": trial.number,
        **{name: getattr(trial, name) for name in ("accuracy", "macs", "params", "reward")},
        "architecture": result.networks[trial.number].label,
        **further_figures(trial),
    }


def _scored(result: Result, one: Finalist) -> dict[str, Any]:
    return {
        "trial": None if one.trial is None else one.trial.number,
        "architecture": one.network.label,
        "macs": one.macs,
        "params": one.params,
        "searched": {"accuracy": one.searched.accuracy, "std": one.searched.std},
        "checked": {"accuracy": one.checked.accuracy, "std": one.checked.std},
        "reward": one.reward,
        "trainings": list(one.trainings),
        "vetoed": one in result.vetoed,
    }


def budgets(result: Result) -> list[tuple[float, Trial]]:
    """Return the best candidate under 100M, 200M, ... (the target's power of ten) where it differs
    from the winner."""
    objective, rows = result.objective, []
    step = 10.0 ** math.floor(math.log10(objective.target))
    most = max((objective.target_cost(t.costs) for t in result.good), default=0)
    for count in range(1, min(_MAX_BUDGETS, math.ceil(most / step)) + 1):
        budget = count * step
        trial = result.best_under(budget)
        is_target = math.isclose(budget, objective.target)  # 3 * 0.1 s is not 0.3 s
        if trial is not None and trial != result.best and not is_target:
            rows.append((budget, trial))
    return rows
