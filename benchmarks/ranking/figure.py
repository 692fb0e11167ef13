"""tau against seconds a network, beside what counting alone gives."""

import io
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from mnas_search.benchmarks.ranking.networks import DRAWS
from mnas_search.benchmarks.ranking.report import baseline_taus
from mnas_search.benchmarks.ranking.table import Row
from mnas_search.common.errors import UsageError
from mnas_search.common.files import write_atomically

INSTALL = "pip install 'mnas-search[plots]'"
_FASTEST = 0.03  # seconds; what is faster is drawn there
_WIDTH, _HEIGHT = 0.75, 0.03  # of a name, in decades and tau
_FARTHEST = 0.08  # from its point, in tau
_COLOURS = {
    "structure": "C7",
    "fitted": "C4",
    "zero-cost": "C0",
    "combination": "C2",
    "features": "C1",
    "training": "C3",
}


def draw(rows: Sequence[Row], folder: Path) -> Path:
    """Write ranking.png: a panel a draw. Raises `UsageError` where matplotlib is missing."""
    try:
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise UsageError(f"no figure without matplotlib; install it with: {INSTALL}") from None

    figure = Figure(figsize=(12, 5.5), layout="constrained")
    FigureCanvasAgg(figure)
    panels = figure.subplots(1, 2, sharey=True)
    for panel, name in zip(panels, DRAWS, strict=True):
        own = [row for row in rows if row.draw == name]
        panel.set_title(f"draw `{name}`")
        panel.set_xscale("log")
        panel.set_xlabel("CPU-seconds a network")
        panel.set_xlim(_FASTEST / 1.5, 60)
        panel.set_ylim(-0.5, 1)
        panel.axhline(0, color="black", linewidth=0.5)
        for kind, colour in _COLOURS.items():
            some = [row for row in own if row.column.kind == kind]
            if not some:
                continue
            middle = np.array([row.tau.value for row in some])
            ends = np.array([(row.tau.low, row.tau.high) for row in some]).T
            seconds = [max(row.column.seconds, _FASTEST) for row in some]
            panel.errorbar(
                seconds,
                middle,
                yerr=np.abs(ends - middle),
                fmt="o",
                markersize=4,
                linewidth=0.8,
                color=colour,
                label=kind,
            )
        for row, x, y in _label_places(own):
            panel.annotate(
                row.column.name, (x, y), xytext=(5, -2), textcoords="offset points", fontsize=6
            )
        if own:
            most = max(row.networks for row in own)
            for style, (label, value) in zip(
                ("--", "-.", ":"), baseline_taus(name, most).items(), strict=True
            ):
                panel.axhline(value, color="grey", linewidth=1, linestyle=style, label=label)
            panel.legend(fontsize=7, loc="lower left")
    panels[0].set_ylabel("Kendall tau with recorded ImageNet accuracy")
    content = io.BytesIO()
    figure.savefig(content, format="png", dpi=130)
    return write_atomically(folder / "ranking.png", content.getvalue())


def _label_places(rows: Sequence[Row]) -> Iterator[tuple[Row, float, float]]:
    """Where names stand: beside their points or a little below; those with no room are left to
    the table."""
    placed: list[tuple[float, float]] = []
    for row in sorted(rows, key=lambda row: -row.tau.value):
        x, y = max(row.column.seconds, _FASTEST), row.tau.value
        beside = [b for a, b in placed if abs(np.log10(a / x)) < _WIDTH]
        while any(abs(y - b) < _HEIGHT for b in beside):
            y -= _HEIGHT / 4
        if row.tau.value - y < _FARTHEST:
            placed.append((x, y))
            yield row, x, y
