"""The record of a fidelity study, from which its files and tables derive.

measurements.jsonl   every training, append-only
config.json          the options, with versions
fidelity.json        everything below, and the networks
fidelity.csv         a row for each proxy, baseline or ceiling and each reference
fidelity.svg         tau against seconds
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from mnas_search.architecture.traced_network import block_string
from mnas_search.common.files import write_atomically
from mnas_search.common.folders import csv_text
from mnas_search.common.render.chart import Chart, Point, Rule, Series, svg
from mnas_search.common.render.tables import console, print_lines, print_table
from mnas_search.common.statistics import Interval
from mnas_search.evaluators.defaults import DEFAULT_DATA
from mnas_search.experiments.fidelity.plan import ComparedRecipe
from mnas_search.experiments.fidelity.report import notes, verdict
from mnas_search.experiments.fidelity.scores import Comparison, Proxy
from mnas_search.experiments.fidelity.study import Study

Record = dict[str, Any]


def record(study: Study) -> Record:
    """Return everything as plain JSON values; None where something is undefined or missing."""
    plan, trainings = study.plan, study.trainings
    return {
        "folder": str(study.folder),
        "data": plan.config.data or DEFAULT_DATA,
        "space": plan.config.space,
        "evaluator": plan.config.evaluator,
        "seed": plan.config.seed,
        "seeds": plan.config.seeds,
        "architectures": len(plan.networks),
        "networks_of": plan.networks_of,
        "target": study.comparisons[0].target,
        "trainings": trainings.total,
        "remaining": trainings.remaining,
        "comparisons": [_comparison(c) for c in study.comparisons],
        "verdicts": [list(verdict(study, c)) for c in study.comparisons],
        "notes": list(notes(study)),
        "networks": [
            {
                "fingerprint": network.fingerprint,
                "block_string": block_string(network),
                "macs": cost.macs,
                "params": cost.params,
                "references": [_number(c.values[i]) for c in study.comparisons],
            }
            for i, (network, cost) in enumerate(zip(plan.networks, plan.costs, strict=True))
        ],
    }


def _comparison(c: Comparison) -> Record:
    return {
        "reference": c.reference.name,
        "recipe": c.reference.key if isinstance(c.reference, ComparedRecipe) else None,
        "networks": c.networks,
        "effort": None if c.effort is None else asdict(c.effort),
        "noise": c.noise,
        "spread": c.spread,
        "ceiling": _interval(c.ceiling),
        "baselines": [{"name": name, **asdict(a)} for name, a in c.baselines.items()],
        "best_baseline": c.best_baseline,
        "proxies": [
            {
                "proxy": p.recipe.name,
                "recipe": p.recipe.key,
                **asdict(p.effort),
                **asdict(p.one),
                "mean_of_seeds": _interval(p.mean),
                "difference": _interval(p.difference),
            }
            for p in c.proxies
        ],
        "cheapest": None if c.cheapest is None else c.cheapest.recipe.name,
        "best": None if c.best is None else c.best.recipe.name,
    }


def _interval(interval: Interval | None) -> dict[str, float] | None:
    return None if interval is None else asdict(interval)


def _number(value: float) -> float | None:
    return None if math.isnan(value) else float(value)


# -- rows of fidelity.csv and of the tables -----------------------------------------------------

_COLUMNS = (
    "reference name kind recipe networks failed seconds noise spread tau tau_low tau_high "
    "within within_low within_high pairs mean mean_low mean_high difference difference_low "
    "difference_high"
).split()
_INTERVALS = {
    "tau": "tau",
    "within": "within_quartiles",
    "mean": "mean_of_seeds",
    "difference": "difference",
}  # by column
_HEADINGS = "", "seconds", "std seeds", "std archs", "n", "tau", "95 %", "in quartiles", "95 %"


def _rows(c: Record) -> Iterator[Record]:
    for proxy in c["proxies"]:
        yield _row(c, proxy, name=proxy["proxy"], kind="proxy")
    for baseline in c["baselines"]:
        yield _row(c, baseline, name=baseline["name"], kind="baseline")
    if c["ceiling"] is not None:
        ceiling = {"tau": c["ceiling"], "recipe": None}
        yield _row(c, (c["effort"] or {}) | c | ceiling, name=c["reference"], kind="ceiling")


def _row(c: Record, found: Record, *, name: str, kind: str) -> Record:
    row = {"reference": c["reference"], "name": name, "kind": kind}
    row |= {key: found[key] for key in _COLUMNS if key in found and key not in (*row, *_INTERVALS)}
    for column, key in _INTERVALS.items():
        if key in found:
            interval = found[key] or dict.fromkeys(("value", "low", "high"))
            row[column] = interval["value"]
            row |= {f"{column}_{end}": interval[end] for end in ("low", "high")}
    return row


def write_files(study: Study, found: Record) -> None:
    """Write fidelity.json, fidelity.csv and fidelity.svg from a study's record."""
    text = json.dumps(found, indent=2, allow_nan=False) + "\n"
    rows = [row for c in found["comparisons"] for row in _rows(c)]
    write_atomically(study.folder / "fidelity.json", text)
    write_atomically(study.folder / "fidelity.csv", csv_text(_COLUMNS, rows))
    write_atomically(study.folder / "fidelity.svg", fidelity_figure(study.comparisons))


def print_record(found: Record) -> None:
    """Print a table and the conclusions for each reference, then the notes."""
    for c, conclusions in zip(found["comparisons"], found["verdicts"], strict=True):
        proxies = sorted(c["proxies"], key=lambda proxy: proxy["seconds"] or 0.0)
        minus = f"minus {c['best_baseline'] or 'baseline'}"
        print_table(
            (*_HEADINGS, minus),
            [_cells(row) for row in _rows(c | {"proxies": proxies})],
            title=f"against {c['reference']}, {c['networks']} architectures",
        )
        print_lines(conclusions)
    console().print()
    print_lines([f"note: {note}" for note in found["notes"]])


def _cells(row: Record) -> tuple[str, ...]:
    name = "reference itself" if row["kind"] == "ceiling" else row["name"]
    seconds = "0" if row["kind"] == "baseline" else _text(row["seconds"], ".3g")
    spreads = (_text(row.get(key), ".4f") for key in ("noise", "spread"))
    tau, within = _interval_cells(row, "tau"), _interval_cells(row, "within")
    value, ends = _interval_cells(row, "difference", "[{:.2f}, {:.2f}]")
    difference = value if ends == "-" else f"{value} {ends}"
    return (name, seconds, *spreads, str(row["networks"]), *tau, *within, difference)


def _interval_cells(row: Record, column: str, ends: str = "{:.2f} to {:.2f}") -> tuple[str, str]:
    """Return the cells of an estimate and of its interval."""
    if column not in row:
        return "-", "-"
    if row[column] is None:
        return "undefined", "-"
    return _text(row[column], ".2f"), ends.format(row[f"{column}_low"], row[f"{column}_high"])


def _text(value: float | None, form: str) -> str:
    return "-" if value is None else format(value, form)


_SHORTEST = 1e-4  # seconds; shorter trainings are drawn there


def fidelity_figure(comparisons: Sequence[Comparison]) -> str:
    """Draw numbered points; the key below the last chart names them."""
    proxies = sorted(comparisons[0].proxies, key=_seconds)
    numbers = {p.recipe.key: n for n, p in enumerate(proxies, start=1)}
    charts = [_chart(c, numbers, key=c is comparisons[-1]) for c in comparisons]
    return svg(charts, label="Rank correlation of proxies against their seconds")


def _chart(c: Comparison, numbers: Mapping[str, int], *, key: bool) -> Chart:
    rules = [Rule(value=c.target, label=f"{c.target:.2f} asked for", colour="green")]
    if c.ceiling is not None:
        label = f"{c.ceiling.value:.2f} reference itself"
        rules.append(Rule(value=c.ceiling.value, label=label, colour="orange"))
    for name, agreement in c.baselines.items():
        if (tau := agreement.tau) is not None:
            rules.append(Rule(value=tau.value, label=f"{tau.value:.2f} {name}"))
    return Chart(
        title=f"Kendall's tau against {c.reference.name}, {c.networks} architectures",
        across="seconds a candidate",
        series=[
            _series(proxy, numbers[proxy.recipe.key], key=key)
            for proxy in sorted(c.proxies, key=lambda one: numbers[one.recipe.key])
        ],
        rules=rules,
        logarithmic=True,
    )


def _series(proxy: Proxy, number: int, *, key: bool) -> Series:
    name, tau, seconds = proxy.recipe.name, proxy.one.tau, _seconds(proxy)
    if tau is None:
        return Series(points=[], name=f"{number}  {name}: undefined" if key else "")
    title = f"{name}: {tau.text('.2f')}, {seconds:.3g} s"
    interval = (tau.low, tau.high)
    point = Point(x=seconds, y=tau.value, title=title, label=str(number), interval=interval)
    return Series(points=[point], name=f"{number}  {name}" if key else "")


def _seconds(proxy: Proxy) -> float:
    return max(proxy.effort.seconds or 0.0, _SHORTEST)
