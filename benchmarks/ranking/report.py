"""What is written: tables as Markdown, readings as CSV, tau against seconds as a figure."""

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from mnas_search.benchmarks.figure_style import label_points, new_figure, rendered
from mnas_search.benchmarks.ranking import table as ranked
from mnas_search.benchmarks.ranking.networks import DRAWS, sample
from mnas_search.benchmarks.ranking.readings import Reading
from mnas_search.benchmarks.ranking.table import BUDGET, CONFIRMING, Row
from mnas_search.benchmarks.ranking.trials import Trial
from mnas_search.benchmarks.results import (
    Record,
    markdown_table,
    rounded,
    zipped_csv,
)
from mnas_search.common.statistics import Interval


def records(rows: Sequence[Row]) -> list[Record]:
    """Return all figures, for JSON."""
    return [
        {
            "trial": row.column.name,
            "kind": row.column.kind,
            "draw": row.draw,
            "networks": row.networks,
            "seconds": round(row.column.seconds, 3),
            "tau": rounded(row.tau),
            "baseline": row.baseline,
            "baseline tau": round(row.baseline_tau, 3),
            "difference": rounded(row.difference),
            "fair": _figure(row.fair),
            "fair baseline": _figure(row.fair_baseline),
            "band": _figure(row.band),
            "band baseline": _figure(row.band_baseline),
            "band networks": row.band_networks,
            "passes": row.passes,
        }
        for row in rows
    ]


def table(rows: Sequence[Row]) -> list[dict[str, str]]:
    """Return rows as cells of text."""
    return [
        {
            "trial": row.column.name,
            "kind": row.column.kind,
            "draw": row.draw,
            "networks": str(row.networks),
            "s": f"{row.column.seconds:.2f}",
            "tau": _tau(row.tau),
            "best baseline": f"{row.baseline} {row.baseline_tau:.2f}",
            "difference": _gain(row.difference),
            "fair (baseline)": _pair(row.fair, row.fair_baseline),
            "360-440M (baseline)": _pair(row.band, row.band_baseline),
            "passes": "yes" if row.passes else "no",
        }
        for row in rows
    ]


_LEGEND = f"""\
tau: Kendall's tau-b with recorded ImageNet accuracy, 95 % interval over networks (bootstrap,
{ranked.RESAMPLES:,} resamples). difference: to the best of three baselines on the same
networks, paired bootstrap; the baselines are log MACs, log params, and a linear function of both
fitted on the recorded networks outside both draws. fair: among networks with
squeeze-and-excitation in some stage. s: process time a network, one thread. passes: on the draw
`{DRAWS[1]}`, at least {CONFIRMING} networks, at most {BUDGET:g} s, and an interval of the
difference above zero.
"""


def verdict(rows: Sequence[Row]) -> str:
    """Describe what was chosen on the first draw, and what the second says of it."""
    taken = ranked.choice(rows)
    if taken is None:
        return (
            f"Nothing was read on {CONFIRMING} networks of draw `{DRAWS[0]}`: nothing is chosen."
        )
    among = sum(row.draw == DRAWS[0] for row in rows)
    name = taken.column.name
    chosen = (
        f"Chosen among {among} readings on draw `{DRAWS[0]}`: `{name}`, {taken.networks} "
        f"networks, tau {_tau(taken.tau)}, difference to {taken.baseline} "
        f"{_gain(taken.difference)}."
    )
    fresh = [row for row in rows if row.draw == DRAWS[1] and row.column.name == name]
    if not fresh:
        return f"{chosen} Not read on draw `{DRAWS[1]}`."
    (row,) = fresh
    told = (
        f"{chosen} On {row.networks} fresh networks: tau {_tau(row.tau)}, difference "
        f"to {row.baseline} {_gain(row.difference)}: "
        f"{'passes' if row.passes else 'does not pass'}."
    )
    for kind in ("structure", "fitted"):
        others = [r for r in rows if r.draw == DRAWS[1] and r.column.kind == kind]
        if others:
            best = max(others, key=lambda r: r.tau.value).column
            gain = ranked.against(row.column, best, DRAWS[1])
            told += f" Difference to `{best.name}`: {_gain(gain)}."
    return told


def markdown(rows: Sequence[Row]) -> str:
    """Return a table for each draw as Markdown."""
    title = "# Ranking: what orders networks as ImageNet does"
    parts = [title, "", verdict(rows), "", _LEGEND]
    for draw in DRAWS:
        own = [row for row in rows if row.draw == draw]
        if not own:
            continue
        ordered = sorted(own, key=lambda row: -row.tau.value)
        without = ("draw", "passes") if draw == DRAWS[0] else ("draw",)
        parts += [f"## Draw `{draw}`: {len(own)} readings", ""]
        parts += markdown_table(table(ordered), without=without)
    return "\n".join(parts)


def raw(
    trials: Sequence[Trial], read: Callable[[Trial], Mapping[int, Sequence[Reading]]]
) -> bytes:
    """Return every reading as CSV, gzipped; `network` is a row of the recorded networks."""
    rows = (
        (trial.name, r.name, row, f"{r.value:.6g}", f"{r.seconds:.3f}")
        for trial in trials
        for row, readings in sorted(read(trial).items())
        for r in readings
    )
    return zipped_csv(("trial", "reading", "network", "value", "seconds"), rows)


def _tau(interval: Interval) -> str:
    return interval.text(".2f")


def _gain(interval: Interval) -> str:
    return interval.text("+.2f")


def _pair(value: float, baseline: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f} ({baseline:.2f})"


def _figure(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 3)


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
    on = sample(draw, networks)
    for style, (name, scores) in zip(("--", "-.", ":"), ranked.baselines(on).items(), strict=True):
        tau = ranked.tau(scores, on.accuracy)
        panel.axhline(tau, color="grey", linewidth=1, linestyle=style, label=name)


def _seconds(row: Row) -> float:
    return max(row.column.seconds, _FASTEST)
