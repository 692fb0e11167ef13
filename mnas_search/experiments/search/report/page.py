"""A run on one page: report.html."""

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from markupsafe import Markup

from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.cost.metrics import METRICS
from mnas_search.architecture.traced_network import block_string
from mnas_search.common.render.pages import render
from mnas_search.common.units import format_duration, format_latency
from mnas_search.evaluators.defaults import DEFAULT_DATA, TRAINING
from mnas_search.experiments.search.report import tables
from mnas_search.experiments.search.report.comparison import MARGIN, comparison
from mnas_search.experiments.search.report.discovery import discovery, evaluator_label
from mnas_search.experiments.search.report.figure import figure
from mnas_search.experiments.search.report.notes import conventions, deployment, notes
from mnas_search.experiments.search.report.prior import prior_report
from mnas_search.experiments.search.report.summary import budgets
from mnas_search.experiments.search.result import Result
from mnas_search.nas.objective import Objective
from mnas_search.nas.trial import Trial

_TEMPLATE = Path(__file__).parent / "templates" / "report.html.j2"
_OBJECTIVES = {
    "soft": "ACC · ({}/T)^w",
    "hard": "ACC · min(({}/T)^w, 1)",
    "absolute": "ACC + w · |{}/T - 1|",
}


def page(result: Result, versions: Mapping[str, Any]) -> str:
    """Return the page of a run that has a winner; `versions` of packages are config.json's."""
    best = result.best
    assert best is not None
    others, network = budgets(result), result.recommended or result.networks[best.number]
    values = {
        "title": f"{result.name}: a network within {result.objective.constraint}",
        "settings": [pair for pair in _settings(result, versions) if pair[1] is not None],
        "network": block_string(network) or network.label,
        "recommended": list(_recommended(result)),
        "searched": block_string(result.networks[best.number]) or "",
        "winner": list(_winner(result, best)),
        "discovery": discovery(result),
        "predictors": (
            f"search: {evaluator_label(result.evaluator)}; check: "
            f"{evaluator_label(result.check)}; the reward is by the check; {MARGIN}"
        ),
        "comparison": comparison(result),
        "prior": prior_report(result),
        "latencies": tables.latencies(result) if result.latencies else None,
        "svg": Markup(figure(result)),
        "caption": _caption(result),
        "pareto": tables.trials(result, result.pareto),
        "budgets": tables.under(result, others) if others else None,
        "family": tables.family(result) if result.family else None,
        "notes": [*notes(result), conventions(result)],
    }
    return render(_TEMPLATE, values)


def _settings(result: Result, versions: Mapping[str, Any]) -> Iterator[tuple[str, object]]:
    config, objective = result.config, result.objective
    metric = METRICS[objective.metric]
    stopped = f", {len(result.stopped)} of them stopped early" if result.stopped else ""
    data = DEFAULT_DATA if config.evaluator == TRAINING else "the evaluator's own"
    formula = f"{_OBJECTIVES[objective.kind].format(metric.name)}, w = {objective.exponent:g}"
    yield "target", f"T = {metric.text(objective.target)}"
    yield "limits", _limits(objective)
    yield "search space", config.space
    yield "controller", config.controller
    yield "prior", config.prior
    yield "started from", ", ".join(config.start_from) or None
    yield "evaluator", config.evaluator
    yield "accuracy", evaluator_label(result.evaluator, "") or None
    yield "data", config.data or data
    yield "objective", f"{objective.kind}: {formula}, {metric.name} ≤ T"
    yield "trials", f"{config.trials} asked for, {len(result.trials)} finished{stopped}"
    yield "early stopping", config.early_stopping
    yield "time budget", config.time_budget and format_duration(config.time_budget)
    yield "seed", config.seed
    yield "costs counted at", deployment(result)
    yield "versions", ", ".join(f"{name} {number}" for name, number in versions.items())


def _limits(objective: Objective) -> str | None:
    """Return the limits beside the target; None without any."""
    limits = [(METRICS[name.removeprefix("max_")], m) for name, m in objective.limits.items()]
    return ", ".join(f"{metric.name} ≤ {metric.amount(m)}" for metric, m in limits) or None


def _recommended(result: Result) -> Iterator[tuple[str, object]]:
    """Yield the facts of the recommended network of a run with a comparison."""
    found = result.recommendation
    if found is None or found.architecture is None or found.validation is None:
        return
    counted = cost(found.architecture)
    yield "name", found.name
    yield "source", "a baseline" if found.source == "baseline" else "the search's winner"
    yield "parameters", f"{counted.params:,}"
    yield "FLOPs", f"{counted.macs:,}"
    yield "resolution", f"{found.architecture.resolution} pixels"
    margin = None if result.comparison is None else result.comparison.margin
    yield "validation accuracy", tables.with_margin(found.validation, margin)
    if found.test is not None and found.interval is not None:
        low, high = found.interval
        yield "test accuracy", tables.with_margin(found.test, (high - low) / 2)
    yield "starts from", found.weights or "random initialisation"


def _winner(result: Result, best: Trial) -> Iterator[tuple[str, object]]:
    yield "trial", best.number
    yield "parameters", f"{best.params:,}"
    yield "FLOPs", f"{best.macs:,}"
    if "inference_memory" in best.costs:
        yield "memory", f"{best.costs['inference_memory']:,} bytes"
    if "latency" in best.costs:
        yield "latency (predicted)", format_latency(best.costs["latency"])
    opinion, figures = result.opinion, result.figures
    assert figures is not None
    if opinion is None and result.comparison is None:
        yield tables.figure_name(result), f"{best.accuracy:.4f}"
        yield "reward", f"{best.reward:.4f}"
        return
    by = "fresh seeds" if opinion is None else "check"
    std = None if opinion is None else opinion.searched.std
    assert best.accuracy is not None
    yield f"accuracy ({by})", tables.with_margin(figures.accuracy, figures.margin)
    yield f"reward ({by})", f"{figures.reward:.4f}"
    yield "accuracy (search)", tables.with_std(best.accuracy, std)
    yield "reward (search)", f"{best.reward:.4f}"


def _caption(result: Result) -> str:
    count = len(result.good)
    dots = f"Small dots: {count} candidate{'s' * (count != 1)}"
    dots += " trained to the end" if result.stopped else ""
    within = " within the limits" if result.objective.limits else ""
    bars = ""
    if result.comparison is not None:
        dots += ", each by one training"
        diamond = "; diamonds: the baselines"
        bars = (
            " Winner and baselines: means of fresh seeds on the validation split, with 95 % "
            "intervals."
        )
    elif result.baseline is not None:
        diamond = f"; diamond: {result.baseline.network.label}"
        if result.baseline.searched.std is not None:
            bars = " Bars are 95 % intervals."
    else:
        diamond = ""
    return (
        f"{dots}; line: the Pareto front{within}; large dot: the winner{diamond}; dashed: the "
        f"target.{bars}"
    )
