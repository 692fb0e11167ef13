"""Draw tau against seconds a network, with the baselines."""

from collections.abc import Sequence
from typing import Any

from mnas_search.benchmarks.figure_style import label_points, new_figure, rendered
from mnas_search.benchmarks.ranking.networks import DRAWS
from mnas_search.benchmarks.ranking.report import baseline_taus
from mnas_search.benchmarks.ranking.table import BUDGET, Row

_FASTEST = 0.03  # seconds; what is faster is drawn there
_COLOURS = {
    "structure": "C7",
    "fitted": "C4",
    "zero-cost": "C0",
    "combination": "C2",
    "features": "C1",
    "training": "C3",
}


def draw(rows: Sequence[Row]) -> bytes:
    """Return a PNG with a panel for each draw."""
    with new_figure(12, 5.5) as figure:
        panels = figure.subplots(1, len(DRAWS), sharey=True)
        for panel, name in zip(panels, DRAWS, strict=True):
            own = [row for row in rows if row.draw == name]
            _axes(panel, name)
            for kind, colour in _COLOURS.items():
                _points(panel, [row for row in own if row.column.kind == kind], kind, colour)
            if own:
                _baselines(panel, name, max(row.networks for row in own))
                panel.legend(loc="lower left", fontsize=7)
        panels[0].set_ylabel("Kendall's tau with recorded ImageNet accuracy")
        for panel, name in zip(panels, DRAWS, strict=True):
            own = sorted((r for r in rows if r.draw == name), key=lambda row: -row.tau.value)
            label_points(panel, [(r.column.name, _seconds(r), r.tau.value) for r in own], size=6)
        return rendered(figure, "png")


def _axes(panel: Any, name: str) -> None:
    panel.set_title(f"draw `{name}`")
    panel.set_xlabel("CPU-seconds a network")
    panel.set_xscale("log")
    panel.set_xlim(_FASTEST / 1.5, BUDGET)
    panel.set_ylim(-0.5, 1)
    panel.axhline(0, color="black", linewidth=0.5)


def _points(panel: Any, rows: Sequence[Row], kind: str, colour: str) -> None:
    if not rows:
        return
    taus = [row.tau for row in rows]
    panel.errorbar(
        [_seconds(row) for row in rows],
        [tau.value for tau in taus],
        yerr=[[t.value - t.low for t in taus], [t.high - t.value for t in taus]],
        fmt="o",
        markersize=4,
        linewidth=0.8,
        color=colour,
        label=kind,
    )


def _baselines(panel: Any, draw: str, networks: int) -> None:
    taus = baseline_taus(draw, networks)
    for style, (name, value) in zip(("--", "-.", ":"), taus.items(), strict=True):
        panel.axhline(value, color="grey", linewidth=1, linestyle=style, label=name)


def _seconds(row: Row) -> float:
    return max(row.column.seconds, _FASTEST)
