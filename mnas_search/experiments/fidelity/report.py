"""What `mnas-search fidelity` found: in words, as a table, and in its folder.

measurements.jsonl   every training, append-only
config.json          what was asked for, with versions
fidelity.json        everything below, and the networks
fidelity.csv         a row a proxy, baseline or ceiling, for each reference
fidelity.svg         tau against seconds
"""

import json
import shlex
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mnas_search.architecture.traced_network import block_string
from mnas_search.common.files import write_atomically
from mnas_search.common.folders import csv_text
from mnas_search.common.render.tables import console, print_table
from mnas_search.common.statistics import Interval
from mnas_search.evaluators.defaults import DEFAULT_DATA, TRAINING
from mnas_search.experiments.fidelity.config import DEFAULTS, MIN_ARCHITECTURES
from mnas_search.experiments.fidelity.figure import fidelity_figure
from mnas_search.experiments.fidelity.plan import DEFAULT, ComparedRecipe
from mnas_search.experiments.fidelity.scores import Agreement, Comparison, Proxy
from mnas_search.experiments.fidelity.study import Study

_CEILING = "reference itself"


def record(study: Study) -> dict[str, Any]:
    """Everything as plain JSON values; None where something is undefined or missing."""
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


def verdict(study: Study, c: Comparison) -> Iterator[str]:
    """What follows, for one reference; the last line is a command where there is one to give."""
    target = f"tau {study.target:g}"
    chosen = c.cheapest or c.best
    if chosen is None or chosen.one.tau is None:
        yield "tau is undefined for every proxy: all accuracies are equal"
        return
    told = f"{chosen.recipe.name} ({_said(chosen.one.tau)}, {_seconds(chosen)} s a candidate)"
    if c.cheapest is None:
        yield f"no proxy reaches {target}; the best one is {told}"
    else:
        sure = chosen.one.tau.low >= study.target
        yield f"the cheapest proxy that reaches {target} is {told}"
        yield f"the lower end of its interval {'reaches it too' if sure else 'does not'}"
    if c.ceiling is not None and c.ceiling.value < study.target:
        yield (
            f"the reference agrees with itself only at {_said(c.ceiling)} with another seed: no "
            f"proxy can be expected to reach {target}; a longer reference or more --seeds could "
            "show more"
        )
    if chosen.difference is not None and c.best_baseline is not None:
        free = c.baselines[c.best_baseline].tau
        assert free is not None  # there would be no difference
        low, high = chosen.difference.low, chosen.difference.high
        shown = "better" if low > 0 else "worse" if high < 0 else "no different, as far as shown,"
        yield (
            f"ranking by {c.best_baseline} costs no training and has {_said(free)}; the proxy is "
            f"{shown} than that: difference {_said(chosen.difference, name='')}"
        )
    if c.cheapest is not None:
        yield command(study, chosen)


def command(study: Study, proxy: Proxy) -> str:
    """The search by a proxy."""
    config = study.plan.config
    words = ["mnas-search", "run", "--target-flops", "400M", "--data", config.data or DEFAULT_DATA]
    if config.space != DEFAULTS["space"]:
        words += ["--space", str(config.space)]
    if config.evaluator != TRAINING:
        words += ["--evaluator", str(config.evaluator)]
    line = " ".join(map(shlex.quote, words))
    return line if proxy.recipe.name == DEFAULT else f'{line} --proxy "{proxy.recipe.name}"'


def notes(study: Study) -> Iterator[str]:
    """What to know before anything is concluded."""
    plan, trainings = study.plan, study.trainings
    yield (
        "tau: Kendall's tau-b of one training, as a search sees it, with the mean over the "
        "reference's seeds, averaged over the proxy's seeds; 95 % intervals by bootstrap over "
        "architectures; proxies and references have no seed in common; `reference itself`: one of "
        "its seeds with the mean of the others"
    )
    if plan.config.data in (None, DEFAULT_DATA) and plan.config.evaluator == TRAINING:
        yield "digits are a demonstration: their taus say nothing about other data"
    for c in study.comparisons:
        if not isinstance(c.reference, ComparedRecipe):
            yield f"reference {c.reference.name}: {c.reference.note}"
    left_out = len(plan.references) - len(study.comparisons)
    if left_out:
        yield (
            f"{left_out} references are left out: fewer than {MIN_ARCHITECTURES} architectures "
            "have them"
        )
    failed = [
        t.error for j in plan.recipes for row in trainings.of(j) for t in row if t and t.error
    ]
    if failed:
        yield (
            f"{len(failed)} trainings failed and are left out; the first: {failed[0]}; the same "
            "command tries them again"
        )
    if trainings.remaining:
        yield (
            f"{trainings.remaining} of {trainings.total} trainings are still to do; resume with: "
            f"mnas-search fidelity --output {shlex.quote(str(study.folder))}"
        )


_COLUMNS = (
    "reference",
    "name",
    "kind",
    "recipe",
    "networks",
    "failed",
    "seconds",
    "noise",
    "spread",
    "tau",
    "tau_low",
    "tau_high",
    "within",
    "within_low",
    "within_high",
    "pairs",
    "mean",
    "mean_low",
    "mean_high",
    "difference",
    "difference_low",
    "difference_high",
)


def _rows(study: Study) -> Iterator[dict[str, Any]]:
    for c in study.comparisons:
        shared = {"reference": c.reference.name}
        for p in c.proxies:
            yield {
                **shared,
                "name": p.recipe.name,
                "kind": "proxy",
                "recipe": p.recipe.key,
                "failed": p.effort.failed,
                "seconds": p.effort.seconds,
                "noise": p.effort.noise,
                "spread": p.effort.spread,
                **_ends("mean", p.mean),
                **_ends("difference", p.difference),
                **_row(p.one),
            }
        for name, agreement in c.baselines.items():
            yield {**shared, "name": name, "kind": "baseline", **_row(agreement)}
        if c.ceiling is not None:
            yield {
                **shared,
                "name": c.reference.name,
                "kind": "ceiling",
                "networks": c.networks,
                "failed": c.effort and c.effort.failed,
                "seconds": c.effort and c.effort.seconds,
                "noise": c.noise,
                "spread": c.spread,
                **_ends("tau", c.ceiling),
            }


def _row(a: Agreement) -> dict[str, Any]:
    counts = {"networks": a.networks, "pairs": a.pairs}
    return counts | _ends("tau", a.tau) | _ends("within", a.within)


def _ends(name: str, interval: Interval | None) -> dict[str, float]:
    if interval is None:
        return {}
    return {name: interval.value, f"{name}_low": interval.low, f"{name}_high": interval.high}


def write_files(study: Study) -> tuple[Path, ...]:
    """Write what is derived from the trainings."""
    folder = study.folder
    text = json.dumps(record(study), indent=2, allow_nan=False) + "\n"
    return (
        write_atomically(folder / "fidelity.json", text),
        write_atomically(folder / "fidelity.csv", csv_text(_COLUMNS, _rows(study))),
        write_atomically(folder / "fidelity.svg", fidelity_figure(study.comparisons)),
    )


def print_study(study: Study) -> None:
    """Tables and sentences on standard output."""
    for c in study.comparisons:
        columns = ("", "s", "std seeds", "std archs", "n", "tau", "95 %", "in quartiles", "95 %")
        print_table(
            (*columns, f"minus {c.best_baseline}" if c.best_baseline else "minus baseline"),
            list(_cells(c)),
            title=f"against {c.reference.name}, {c.networks} architectures",
        )
        for line in verdict(study, c):
            console().print(line, markup=False, highlight=False, soft_wrap=True)
    console().print()
    for line in notes(study):
        console().print(f"note: {line}", markup=False, highlight=False, soft_wrap=True)


def _cells(c: Comparison) -> Iterator[tuple[str, ...]]:
    for p in sorted(c.proxies, key=lambda p: p.effort.seconds or 0.0):
        yield (
            p.recipe.name,
            _seconds(p),
            _std(p.effort.noise),
            _std(p.effort.spread),
            str(p.one.networks),
            *_two(p.one.tau),
            *_two(p.one.within),
            _said(p.difference, name="") if p.difference else "undefined",
        )
    for name, a in c.baselines.items():
        yield (name, "0", "-", "-", str(a.networks), *_two(a.tau), *_two(a.within), "-")
    if c.ceiling is not None and c.effort is not None:
        effort = c.effort
        seconds = "-" if effort.seconds is None else f"{effort.seconds:.3g}"
        spread = (_std(effort.noise), _std(effort.spread))
        yield (_CEILING, seconds, *spread, str(c.networks), *_two(c.ceiling), "-", "-", "-")


def _two(interval: Interval | None) -> tuple[str, str]:
    if interval is None:
        return "undefined", "-"
    return f"{interval.value:.2f}", f"{interval.low:.2f} to {interval.high:.2f}"


def _said(interval: Interval, *, name: str = "tau ") -> str:
    return f"{name}{interval.value:.2f} [{interval.low:.2f}, {interval.high:.2f}]"


def _std(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _seconds(p: Proxy) -> str:
    return "-" if p.effort.seconds is None else f"{p.effort.seconds:.3g}"
