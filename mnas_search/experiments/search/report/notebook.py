"""How a result shows itself in Python: HTML in a notebook, a data frame, a figure."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mnas_search.architecture.cost.metrics import METRICS
from mnas_search.common.extras import require_packages
from mnas_search.common.render.pages import Table, render
from mnas_search.nas.objective import Objective
from mnas_search.nas.trial import Trial

if TYPE_CHECKING:
    from matplotlib.axes import Axes

_TEMPLATE = Path(__file__).parent / "templates" / "notebook.html.j2"
_MAX_ROWS = 8
_GREY, _BLUE, _ORANGE = "#8496a8", "#1f6fb2", "#bf3f0a"  # as pages have them


def html(title: str, facts: Mapping[str, str], front: Sequence[Trial]) -> str:
    """Return a result in short: facts, and the most accurate part of the Pareto front."""
    shown = list(front)[-_MAX_ROWS:]
    values = {
        "title": title,
        "facts": list(facts.items()),
        "front": _table(shown) if shown else None,
        "left_out": len(front) - len(shown),
    }
    return render(_TEMPLATE, values)


def costs(trial: Trial) -> dict[str, str]:
    """Return a trial's costs as text, by the metric's name."""
    found = {metric.name: (metric, trial.costs.get(metric.count)) for metric in METRICS.values()}
    return {name: m.amount(count) for name, (m, count) in found.items() if count is not None}


def _table(trials: Sequence[Trial]) -> Table:
    rows = [(str(t.number), f"{t.accuracy:.4f}", *costs(t).values()) for t in trials]
    return ("trial", "accuracy", *costs(trials[0])), rows


def data_frame(trials: Sequence[Trial]) -> Any:
    """Return trials as a pandas data frame with a column a decision.

    Raises:
        UsageError: pandas is not installed.
    """
    require_packages("pandas", "pandas", what="to_dataframe")
    import pandas

    return pandas.DataFrame([_record(trial) for trial in trials])


def _record(trial: Trial) -> dict[str, Any]:
    asked = {"trial": trial.number, "status": trial.status}
    names = ("reward", "feasible", "seconds", "rung", "error", "fingerprint")
    figures = {"accuracy": trial.accuracy, **trial.costs}
    figures |= {name: getattr(trial, name) for name in names}
    taken = asked | figures
    decisions = {f"decision {n}" if n in taken else n: v for n, v in trial.choices.items()}
    return {**asked, **decisions, **figures}


def plot_front(
    axes: "Axes | None",
    objective: Objective,
    trials: Sequence[Trial],
    front: Sequence[Trial],
    best: Trial | None,
) -> "Axes":
    """Draw accuracy against the target's metric: candidates, Pareto front, winner and target."""
    from matplotlib import pyplot
    from matplotlib.ticker import FuncFormatter

    metric = METRICS[objective.metric]
    axes = pyplot.subplots()[1] if axes is None else axes

    def places(shown: Sequence[Trial]) -> tuple[list[float], list[float]]:
        return [objective.target_cost(t.costs) for t in shown], [t.accuracy or 0.0 for t in shown]

    axes.plot(*places(trials), "o", color=_GREY, markersize=4, label="candidates")
    axes.step(*places(front), where="post", color=_BLUE, label="Pareto front")
    if best is not None:
        axes.plot(*places([best]), "o", color=_ORANGE, markersize=9, label="winner")
    label = f"target {metric.amount(objective.target)}"
    axes.axvline(objective.target, color=_GREY, linestyle="--", linewidth=1, label=label)
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, place: metric.amount(value)))
    across = "FLOPs (multiply-adds)" if metric.name == "FLOPs" else metric.name
    axes.set(xlabel=across, ylabel="accuracy")
    axes.legend()
    return axes
