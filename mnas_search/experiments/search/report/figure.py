"""Accuracy against FLOPs, latency or memory of all candidates of a run, as SVG for the inside
of a page.

Colours are the page's: classes and variables that `page` defines.
"""

import math
import textwrap
from collections.abc import Iterator, Sequence
from typing import Any

from mnas_search.architecture.cost.metrics import METRICS, Metric
from mnas_search.common.render.markup import escaped
from mnas_search.common.render.svg import Axis, text
from mnas_search.experiments.search.result import Result
from mnas_search.nas.evaluator import SupportsLabel
from mnas_search.nas.trial import Trial

_WIDTH, _HEIGHT = 640, 430
_LEFT, _RIGHT, _BOTTOM = 64, 624, 374
_LINE = 17  # height of a line of text
_LABEL = 84  # characters that fit above the figure
_FAR = 1.5  # a target beyond the candidates by so many of their ranges is told, not drawn


def figure(result: Result) -> str:
    """The figure of a run that has a winner."""
    best, baseline = result.best, result.baseline
    assert best is not None
    assert best.accuracy is not None
    objective = result.objective
    metric, target_cost = METRICS[objective.metric], objective.target_cost
    points = [(target_cost(t.costs), t.accuracy or 0.0) for t in result.good]
    marked = [("winner", target_cost(best.costs), best.accuracy)]
    if baseline is not None:
        cost = target_cost(result.cost_model.costs(baseline.network))
        marked.append((baseline.network.label, cost, baseline.searched.accuracy))
    drawn = points + [(cost, accuracy) for _, cost, accuracy in marked]
    target = result.objective.target
    lines = textwrap.wrap(axis_label(result.evaluator), _LABEL)[:3] or ["accuracy"]
    top = _LINE * (len(lines) + 2)
    costs, accuracies = zip(*drawn, strict=True)
    far = target > max(costs) + _FAR * (max(costs) - min(costs)) and target > 2 * max(costs)
    reached = [*costs, *([] if far else [target])]
    x = Axis.around(reached, start=_LEFT, end=_RIGHT, least=0.1 * max(reached))
    y = Axis.around(accuracies, start=_BOTTOM, end=top, least=0.01)
    parts = [
        *_axes(x, y, lines, metric),
        *_target(x, top, target, metric.amount(target)),
        *(_dot(x, y, t, target_cost(t.costs), metric) for t in result.good),
        _front(x, y, [(target_cost(t.costs), t.accuracy or 0.0) for t in result.pareto]),
        *_marks(x, y, marked),
    ]
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {_HEIGHT}" role="img" '
        'aria-label="Accuracy against cost of all candidates">\n' + "\n".join(parts) + "\n</svg>"
    )


def axis_label(evaluator: Any) -> str:
    """What the accuracies are, where the evaluator says it."""
    return evaluator.label if isinstance(evaluator, SupportsLabel) else "accuracy"


def _axes(x: Axis, y: Axis, label: Sequence[str], metric: Metric) -> Iterator[str]:
    for number, line in enumerate(label):
        yield text(0, _LINE * (number + 0.75), line)
    for tick in x.ticks:
        at = x.at(tick)
        yield f'<path class="grid" d="M{at} {y.start}V{y.end}"/>'
        yield text(at, y.start + 18, metric.amount(tick) if tick else "0", anchor="middle")
    decimals = max(0, -math.floor(math.log10(y.step) + 1e-9))
    for tick in y.ticks:
        at = y.at(tick)
        yield f'<path class="grid" d="M{x.start} {at}H{x.end}"/>'
        yield text(x.start - 8, at + 4, f"{tick:.{decimals}f}", anchor="end")
    yield f'<path class="axis" d="M{x.start} {y.end}V{y.start}H{x.end}"/>'
    middle = (x.start + x.end) / 2
    said = "FLOPs (multiply-adds)" if metric.name == "FLOPs" else metric.name
    yield text(middle, y.start + 44, said, anchor="middle")


def _target(x: Axis, top: float, target: float, amount: str) -> Iterator[str]:
    said, above = f"target {amount}", top - 10
    if target > x.high:
        yield text(x.end, above, f"{said}: beyond \u2192", anchor="end", kind="target")
        return
    at = x.at(target)
    yield f'<path class="target" d="M{at} {above + 4}V{_BOTTOM}"/>'
    yield text(min(at, _WIDTH - 60), above, said, anchor="middle", kind="target")


def _dot(x: Axis, y: Axis, trial: Trial, cost: float, metric: Metric) -> str:
    accuracy = trial.accuracy or 0.0
    said = f"trial {trial.number}: {accuracy:.4f}, {metric.amount(cost)}"
    return (
        f'<circle class="dot" cx="{x.at(cost)}" cy="{y.at(accuracy)}" r="3.2">'
        f"<title>{escaped(said)}</title></circle>"
    )


def _front(x: Axis, y: Axis, front: Sequence[tuple[float, float]]) -> str:
    """Steps: what could be had for so much."""
    (cost, accuracy), *later = front
    steps = "".join(f"H{x.at(c)}V{y.at(a)}" for c, a in later)
    return f'<path class="front" d="M{x.at(cost)} {y.at(accuracy)}{steps}"/>'


def _marks(x: Axis, y: Axis, marked: Sequence[tuple[str, float, float]]) -> Iterator[str]:
    """The winner, and the baseline where there is one, the upper one labelled above."""
    highest = max(accuracy for _, _, accuracy in marked)
    upper = next(name for name, _, accuracy in marked if accuracy == highest)
    for number, (name, cost, accuracy) in enumerate(marked):
        kind = "baseline" if number else "winner"
        across, down = x.at(cost), y.at(accuracy)
        yield (
            f'<path class="{kind}" d="M{across - 7} {down}l7 -7l7 7l-7 7z"/>'
            if number
            else f'<circle class="{kind}" cx="{across}" cy="{down}" r="6.5"/>'
        )
        left = across > (x.start + x.end) / 2
        yield text(
            across - 8 if left else across + 8,
            down - 12 if name == upper else down + 22,
            name,
            anchor="end" if left else "start",
            kind=kind,
        )
