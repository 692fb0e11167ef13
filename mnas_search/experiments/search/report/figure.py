"""Accuracy of all candidates of a run against what is targeted, for the page of the run."""

from collections.abc import Iterator
from dataclasses import replace

from mnas_search.architecture.cost.metrics import METRICS
from mnas_search.common.render.chart import Chart, Point, Rule, Series, svg
from mnas_search.common.statistics import normal_margin
from mnas_search.experiments.search.report.discovery import evaluator_label
from mnas_search.experiments.search.report.tables import with_margin
from mnas_search.experiments.search.result import Result
from mnas_search.experiments.search.stages.baseline_comparison import Candidate
from mnas_search.nas.trial import Trial


def figure(result: Result) -> str:
    """The SVG of a run that has a winner."""
    objective = result.objective
    metric = METRICS[objective.metric]
    target = f"target {metric.amount(objective.target)}"
    chart = Chart(
        title=evaluator_label(result.evaluator, "accuracy"),
        across="FLOPs (multiply-adds)" if metric.name == "FLOPs" else metric.name,
        series=list(_series(result)),
        rules=[Rule(value=objective.target, label=target, axis="x")],
        amount=metric.amount,
    )
    return svg([chart], label=f"Accuracy against {metric.name} of all candidates")


def _series(result: Result) -> Iterator[Series]:
    best, baseline, objective = result.best, result.baseline, result.objective
    assert best is not None
    yield Series(points=[_winner(result, best)], colour="orange", strong=True)
    if (compared := result.comparison) is not None:
        points = [_fresh(result, one) for one in compared.baselines if one.validation]
        yield Series(points=points, colour="violet", mark="diamond", strong=True)
    if baseline is not None:
        label, accuracy = baseline.network.label, baseline.searched.accuracy
        cost = objective.target_cost(result.cost_model.costs(baseline.network))
        point = Point(x=cost, y=accuracy, title=f"{label}: {accuracy:.4f}", label=label)
        points = [_with_bar(point, baseline.searched.std)]
        yield Series(points=points, colour="violet", mark="diamond", strong=True)
    front = [_point(result, trial) for trial in result.pareto]
    yield Series(points=front, colour="blue", mark="none", line="steps")
    yield Series(points=[_point(result, trial) for trial in result.good], colour="grey")


def _winner(result: Result, best: Trial) -> Point:
    compared, opinion = result.comparison, result.opinion
    if compared is not None and compared.winner is not None:
        return replace(_fresh(result, compared.winner), label="winner")
    point = _point(result, best, "winner")
    return point if opinion is None else _with_bar(point, opinion.searched.std)


def _with_bar(point: Point, std: float | None) -> Point:
    """Return a prediction's point with its error bar, where its deviation is known."""
    if std is None or point.y is None:
        return point
    margin = normal_margin(std)
    return replace(point, interval=(point.y - margin, point.y + margin))


def _fresh(result: Result, one: Candidate) -> Point:
    """Return a network that was trained with fresh seeds, with its error bar."""
    assert result.comparison is not None
    margin, costs = result.comparison.margin, result.cost_model.costs(one.network)
    return Point(
        x=result.objective.target_cost(costs),
        y=one.mean,
        title=f"{one.label}: {with_margin(one.mean, margin)}",
        label=one.label,
        interval=(one.mean - margin, one.mean + margin),
    )


def _point(result: Result, trial: Trial, label: str = "") -> Point:
    cost, accuracy = result.objective.target_cost(trial.costs), trial.accuracy or 0.0
    amount = METRICS[result.objective.metric].amount(cost)
    title = f"trial {trial.number}: {accuracy:.4f}, {amount}"
    return Point(x=cost, y=accuracy, title=title, label=label)
