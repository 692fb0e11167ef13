"""The files of `mnas-search fidelity`.

measurements.jsonl   every training, append-only
config.json          the options, with versions
fidelity.json        everything below, and the networks
fidelity.csv         a row for each proxy, baseline or ceiling and each reference
fidelity.svg         tau against seconds
"""

import json
from collections.abc import Iterable, Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mnas_search.architecture.traced_network import block_string
from mnas_search.common.files import write_atomically
from mnas_search.common.folders import csv_text
from mnas_search.common.statistics import Interval
from mnas_search.evaluators.defaults import DEFAULT_DATA
from mnas_search.experiments.fidelity.figure import fidelity_figure
from mnas_search.experiments.fidelity.plan import ComparedRecipe
from mnas_search.experiments.fidelity.report import notes, verdict
from mnas_search.experiments.fidelity.scores import Agreement, Comparison
from mnas_search.experiments.fidelity.study import Study


def record(study: Study) -> dict[str, Any]:
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
        "target": study.target,
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


def _comparison(c: Comparison) -> dict[str, Any]:
    return {
        "reference": c.reference.name,
        "recipe": c.reference.key if isinstance(c.reference, ComparedRecipe) else None,
        "networks": c.networks,
        "effort": None if c.effort is None else asdict(c.effort),
        "noise": c.noise,
        "spread": c.spread,
        "ceiling": _interval(c.ceiling),
        "baselines": [{"name": n, **_agreement(a)} for n, a in c.baselines.items()],
        "best_baseline": c.best_baseline,
        "proxies": [
            {
                "proxy": p.recipe.name,
                "recipe": p.recipe.key,
                **asdict(p.effort),
                **_agreement(p.one),
                "mean_of_seeds": _interval(p.mean),
                "difference": _interval(p.difference),
            }
            for p in c.proxies
        ],
        "cheapest": None if c.cheapest is None else c.cheapest.recipe.name,
        "best": None if c.best is None else c.best.recipe.name,
    }


def _agreement(a: Agreement) -> dict[str, Any]:
    return {
        "tau": _interval(a.tau),
        "networks": a.networks,
        "within_quartiles": _interval(a.within),
        "pairs": a.pairs,
    }


def _interval(interval: Interval | None) -> dict[str, float] | None:
    return None if interval is None else asdict(interval)


def _number(value: float) -> float | None:
    return None if value != value else float(value)


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


def _rows(comparisons: Iterable[dict[str, Any]]) -> Iterator[dict[str, Any]]:
    for c in comparisons:
        for p in c["proxies"]:
            yield _row(c, p, name=p["proxy"], kind="proxy")
        for baseline in c["baselines"]:
            yield _row(c, baseline, name=baseline["name"], kind="baseline")
        if c["ceiling"] is not None:
            ceiling = {"tau": c["ceiling"], "recipe": None}
            yield _row(c, (c["effort"] or {}) | c | ceiling, name=c["reference"], kind="ceiling")


def _row(c: dict[str, Any], found: dict[str, Any], *, name: str, kind: str) -> dict[str, Any]:
    row = {"reference": c["reference"], "name": name, "kind": kind}
    row |= {key: found[key] for key in _COLUMNS if key in found and key not in (*row, *_INTERVALS)}
    for column, key in _INTERVALS.items():
        if (interval := found.get(key)) is not None:
            low, high = interval["low"], interval["high"]
            row |= {column: interval["value"], f"{column}_low": low, f"{column}_high": high}
    return row


def write_files(study: Study) -> tuple[Path, ...]:
    """Write what follows from the trainings."""
    folder, found = study.folder, record(study)
    text = json.dumps(found, indent=2, allow_nan=False) + "\n"
    return (
        write_atomically(folder / "fidelity.json", text),
        write_atomically(folder / "fidelity.csv", csv_text(_COLUMNS, _rows(found["comparisons"]))),
        write_atomically(folder / "fidelity.svg", fidelity_figure(study.comparisons)),
    )
