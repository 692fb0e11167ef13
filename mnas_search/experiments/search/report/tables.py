"""Tables of a run, each a header and rows of text. `±` is half the width of a 95 % interval."""

from collections.abc import Sequence

from mnas_search.architecture.cost.metrics import METRICS
from mnas_search.architecture.stage import Stage
from mnas_search.architecture.value import Architecture
from mnas_search.common.render.pages import Table
from mnas_search.common.statistics import normal_margin
from mnas_search.common.units import format_latency, format_size
from mnas_search.experiments.search.result import Result
from mnas_search.experiments.search.stages.baseline_comparison import BaselineComparison
from mnas_search.experiments.search.stages.finalist_check import Finalist
from mnas_search.experiments.search.stages.held_out import HeldOutTest
from mnas_search.nas.evaluator import label_of
from mnas_search.nas.trial import Trial

_SHORT = 20  # characters of a label that heads a column


def figure_name(result: Result) -> str:
    """Return what the search's figures are: the evaluator's label if it is short, else
    "accuracy"."""
    label = label_of(result.evaluator) or ""
    return label if 0 < len(label) <= _SHORT else "accuracy"


def trials(result: Result, chosen: Sequence[Trial]) -> Table:
    """Return accuracy, the costs that all of them have, and reward."""
    metrics = [
        metric
        for metric in METRICS.values()
        if all(metric.count in trial.costs for trial in chosen)
    ]
    header = ("trial", figure_name(result), *(metric.name for metric in metrics), "reward")
    rows = []
    for t in chosen:
        costs = (metric.amount(t.costs[metric.count]) for metric in metrics)
        rows.append((str(t.number), f"{t.accuracy:.4f}", *costs, f"{t.reward:.4f}"))
    return header, rows


def under(result: Result, others: Sequence[tuple[float, Trial]]) -> Table:
    """Return the best trials under other budgets."""
    amount = METRICS[result.objective.metric].amount
    header, rows = trials(result, [trial for _, trial in others])
    budgets = [amount(budget) for budget, _ in others]
    return ("under", *header), [(b, *row) for b, row in zip(budgets, rows, strict=True)]


def latencies(result: Result) -> Table:
    """Return predicted and measured latency of the networks measured on the device."""
    rows = [
        (
            label,
            format_latency(predicted),
            format_latency(measured.seconds),
            f"{format_latency(measured.low)} to {format_latency(measured.high)}",
        )
        for label, (predicted, measured) in result.latencies.items()
    ]
    return ("network", "predicted", "measured", "95% interval of the median"), rows


def family(result: Result) -> Table:
    """Return the members of the family."""
    rows = [(m.label, str(m.resolution), f"{c.params:,}", f"{c.macs:,}") for m, c in result.family]
    return ("name", "resolution", "parameters", "FLOPs"), rows


def finalists(result: Result, shown: Sequence[Finalist]) -> Table:
    """Return finalists and baseline with the accuracies by both predictors and by trainings."""
    header = ("", "search", "check", "reward", "FLOPs", "params", "trained")
    rows = []
    for one in shown:
        predicted = (with_std(by.accuracy, by.std) for by in (one.searched, one.checked))
        costs = format_size(one.macs), format_size(one.params)
        trained = " ".join("failed" if a is None else f"{a:.3f}" for a in one.trainings) or "-"
        rows.append((label(one, result), *predicted, f"{one.reward:.4f}", *costs, trained))
    return header, rows


def label(one: Finalist, result: Result) -> str:
    """Return the name of a finalist, or of the baseline and whether it exceeds a constraint."""
    if one.trial is None:
        costs = result.cost_model.costs(one.network)
        within, count = result.objective.is_feasible(costs), result.objective.target_cost(costs)
        exceeded = "the target" if count > result.objective.target else "the limits"
        return one.network.label + ("" if within else f", over {exceeded}")
    name = f"trial {one.trial.number}"
    if one in result.vetoed:
        return f"{name}, vetoed"
    return f"{name}, winner" if one == result.opinion else name


def with_margin(accuracy: float, margin: float | None) -> str:
    """Return an accuracy, with half the width of its 95 % interval where it is known."""
    return f"{accuracy:.4f}" if margin is None else f"{accuracy:.4f} ± {margin:.4f}"


def with_std(accuracy: float, std: float | None) -> str:
    """Return a prediction with its standard deviation, where it is known, as an interval."""
    return with_margin(accuracy, None if std is None else normal_margin(std))


def stages(winner: Finalist, baseline: Finalist) -> Table | None:
    """Return winner and baseline stage by stage; None where one has no stages."""
    one, two = winner.network, baseline.network
    if not (isinstance(one, Architecture) and isinstance(two, Architecture)):
        return None
    rows = []
    for index in range(max(len(one.stages), len(two.stages))):
        pair = [a.stages[index] if index < len(a.stages) else None for a in (one, two)]
        same = "same" if pair[0] == pair[1] else "different"
        rows.append((str(index), *map(_stage, pair), same))
    return ("stage", "winner", baseline.network.label, ""), rows


def _stage(stage: Stage | None) -> str:
    if stage is None:
        return "-"
    squeeze = f", SE {stage.se_ratio:g}" if stage.se_ratio else ""
    return (
        f"{stage.repeats} x {stage.kind} {stage.kernel}x{stage.kernel}, expansion "
        f"{stage.expansion:g}{squeeze}, {stage.out_channels} channels, stride {stage.stride}"
    )


def candidates(verdict: BaselineComparison, test: HeldOutTest) -> Table:
    """Return the best candidates, the baselines and the random search's best by fresh seeds."""
    rows = []
    for one in verdict.networks:
        words = [one.label]
        words += ["winner"] * (one == verdict.winner)
        words += ["recommended"] * (one == verdict.recommended)
        validation = with_margin(one.mean, verdict.margin) if one.validation else "failed"
        tested = test.of(one)
        accuracy = None if tested is None else tested.accuracy
        rows.append(
            (
                ", ".join(words),
                validation,
                "-" if accuracy is None else with_margin(accuracy.value, accuracy.margin),
                format_size(one.macs),
                format_size(one.params),
            )
        )
    return ("", "validation", "test", "FLOPs", "params"), rows
