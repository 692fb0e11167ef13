"""What is written: tables as Markdown, readings as CSV, a figure."""

import math
from collections.abc import Callable, Mapping, Sequence

from mnas_search.benchmarks.ranking import table as ranked
from mnas_search.benchmarks.ranking.networks import DRAWS, sample
from mnas_search.benchmarks.ranking.readings import Reading
from mnas_search.benchmarks.ranking.table import BUDGET, CONFIRMING, Row
from mnas_search.benchmarks.ranking.trials import Trial
from mnas_search.benchmarks.results import (
    Record,
    interval_text,
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


def baseline_taus(draw: str, count: int) -> dict[str, float]:
    """Return tau of each baseline on a draw."""
    on = sample(draw, count)
    return {name: ranked.tau(v, on.accuracy) for name, v in ranked.baselines(on).items()}


def _tau(interval: Interval) -> str:
    return interval_text(interval, "{:.2f}")


def _gain(interval: Interval) -> str:
    return interval_text(interval, "{:+.2f}")


def _pair(value: float, baseline: float) -> str:
    return "-" if math.isnan(value) else f"{value:.2f} ({baseline:.2f})"


def _figure(value: float) -> float | None:
    return None if math.isnan(value) else round(value, 3)
