"""The figures of `mnas-search scale`, each a self-contained SVG."""

from collections.abc import Iterator, Sequence
from typing import Any

from mnas_search.common.render.chart import Chart, Colour, Point, Series, svg
from mnas_search.common.units import format_size
from mnas_search.experiments.scaling.comparison import BASE, DIMENSIONS
from mnas_search.experiments.scaling.grid import PAPER, Choice, Triple

_COLOURS: tuple[Colour, ...] = ("violet", "green", "brown", "blue")


def grid_figure(choice: Choice) -> str:
    """Draw mean accuracy and standard error of each triple, best first, and the band of equals."""
    means = [(one, choice.scores.mean(one.network)) for one in choice.candidates]
    points = [
        _triple(choice, one, rank, mean)
        for rank, (one, mean) in enumerate(means, start=1)
        if mean is not None
    ]
    marked = [point for point in points if point.label.endswith(")")]
    others = [point for point in points if point not in marked]
    best = max(mean for _, mean in means if mean is not None)
    chart = Chart(
        title="mean accuracy of each (alpha, beta, gamma) at phi = 1, with its standard error; "
        "shaded: within one standard error of the best",
        across="rank of the triple",
        series=[Series(points=marked, colour="orange", strong=True), Series(points=others)],
        band=(best - choice.error, best),
    )
    return svg([chart], label="Accuracy of each triple of the grid")


def _triple(choice: Choice, one: Triple, rank: int, mean: float) -> Point:
    rule, error = one.rule, choice.error
    kinds = ["paper"] * (rule == PAPER) + ["chosen"] * (one is choice.chosen)
    label = f"{rule.alpha:g}, {rule.beta:g}, {rule.gamma:g}"
    label += f" ({', '.join(kinds)})" if kinds else ""
    interval = (mean - error, mean + error)
    return Point(x=rank, y=mean, title=f"{label}: {mean:.4f}", label=label, interval=interval)


def comparison_figure(rows: Sequence[dict[str, Any]]) -> str:
    """Draw accuracy against FLOPs on a logarithmic axis, a line for each way of scaling."""
    chart = Chart(
        title="accuracy by what is scaled, with its standard error",
        across="FLOPs (multiply-adds), as recounted",
        series=list(_lines([row for row in rows if row["accuracy"] is not None])),
        logarithmic=True,
        amount=format_size,
    )
    return svg([chart], label="Accuracy against FLOPs by what is scaled")


def _lines(known: Sequence[dict[str, Any]]) -> Iterator[Series]:
    for colour, dimension in zip(_COLOURS, DIMENSIONS, strict=True):
        own = [row for row in known if row["dimension"] in (BASE, dimension)]
        if any(row["dimension"] == dimension for row in own):
            points = sorted(map(_network, own), key=lambda point: point.x)
            yield Series(points=points, colour=colour, name=dimension, line="straight")


def _network(row: dict[str, Any]) -> Point:
    accuracy, error = row["accuracy"], row["standard_error"] or 0.0
    return Point(
        x=row["macs"],
        y=accuracy,
        title=f"{row['name']}: {accuracy:.4f}",
        interval=(accuracy - error, accuracy + error) if error else None,
    )
