"""Accuracies of scaled networks, and compound scaling minus each dimension, with intervals."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.value import Architecture
from mnas_search.benchmarks.paper.printed import TABLE_3, TABLE_7, Scaled
from mnas_search.benchmarks.results import Record, markdown_table
from mnas_search.benchmarks.scaling.networks import reached
from mnas_search.common.statistics import Interval
from mnas_search.common.units import format_size
from mnas_search.experiments.scaling.comparison import BASE, ScaledNetwork
from mnas_search.experiments.scaling.measured import MeasuredAccuracies
from mnas_search.experiments.scaling.report import comparison_rows
from mnas_search.experiments.search.stages.held_out import Tested

_COMPOUND = "compound"
_POINTS = 100


def rows(
    base: Architecture, scaled: Sequence[ScaledNetwork], scores: MeasuredAccuracies
) -> list[Record]:
    """Return a row for the base and for each network: `accuracy` is that on the test split, with
    the standard error between seeds and, as `low` and `high`, the interval over seeds and images.

    `gain` is the test accuracy of compound scaling to the same FLOPs minus the row's. Which single
    dimension is the best (`best_single`) is decided on the validation split, so that the
    difference on the test split is not that to the luckiest of three.
    """
    found = {fingerprint: _tested(scores, fingerprint) for fingerprint in scores.results}
    tests = {name: one.accuracies for name, one in found.items() if one is not None}
    itself = ScaledNetwork(dimension=BASE, budget=float(cost(base).macs), network=base)
    records = comparison_rows(base, scaled, MeasuredAccuracies(by_fingerprint=tests))
    return [
        {
            "base": base.label,
            "times": round(one.budget / itself.budget, 4),
            **record,
            "within_2_percent": reached(one),
            "blocks": sum(stage.repeats for stage in one.network.stages),
            "validation": scores.mean(one.network),
            **_bounds("", _accuracy(found.get(one.network.fingerprint))),
            "gain": None if (gain := _gain(one, scaled, found)) is None else gain.value,
            **_bounds("gain_", gain),
            "best_single": one is _best_single(one.budget, scaled, scores),
        }
        for one, record in zip((itself, *scaled), records, strict=True)
    ]


def _tested(scores: MeasuredAccuracies, fingerprint: str) -> Tested | None:
    results = [one for one in scores.results[fingerprint] if one.test is not None]
    return Tested.of(results) if len(results) > 1 else None


def _gain(
    one: ScaledNetwork, scaled: Sequence[ScaledNetwork], found: Mapping[str, Tested | None]
) -> Interval | None:
    both = [other for other in scaled if other.budget == one.budget]
    compound = next((other for other in both if other.dimension == _COMPOUND), None)
    if compound is None or one is compound:
        return None
    mine = found.get(one.network.fingerprint)
    theirs = found.get(compound.network.fingerprint)
    return None if mine is None or theirs is None else theirs.minus(mine)


def _best_single(
    budget: float, scaled: Sequence[ScaledNetwork], scores: MeasuredAccuracies
) -> ScaledNetwork | None:
    known = {
        one.network.fingerprint: one
        for one in scaled
        if one.budget == budget and one.dimension != _COMPOUND and scores.of(one.network)
    }
    return max(known.values(), key=lambda one: scores.mean(one.network) or 0.0, default=None)


def _accuracy(test: Tested | None) -> Interval | None:
    return None if test is None else test.accuracy


def _bounds(prefix: str, found: Interval | None) -> Record:
    low, high = (None, None) if found is None else (found.low, found.high)
    return {f"{prefix}low": low, f"{prefix}high": high}


def _interval(record: Record, value: str, prefix: str, scale: float = 1.0) -> Interval | None:
    if record[value] is None or record[f"{prefix}low"] is None:
        return None
    names = (value, f"{prefix}low", f"{prefix}high")
    one, low, high = (scale * record[name] for name in names)
    return Interval(value=one, low=low, high=high)


def text(record: Record) -> dict[str, str]:
    """Return the cells of a row of the table."""
    test, gain = _interval(record, "accuracy", ""), _interval(record, "gain", "gain_", _POINTS)
    off = f"{_POINTS * (record['macs'] / record['budget'] - 1):+.1f} %"
    return {
        "base": record["base"],
        "FLOPs": f"{format_size(record['macs'])} (x{record['times']:.3g})",
        "by": record["dimension"] + " (best single)" * record["best_single"],
        "blocks": str(record["blocks"]),
        "width": f"{record['width']:.3g}",
        "pixels": str(record["resolution"]),
        "params": format_size(record["params"]),
        "off by": off + " (not reached)" * (not record["within_2_percent"]),
        "validation": "" if record["validation"] is None else f"{record['validation']:.4f}",
        "test accuracy": "" if test is None else test.text(".4f"),
        "compound minus it, points": "" if gain is None else gain.text("+.2f"),
    }


def verdicts(records: Sequence[Record]) -> Iterator[str]:
    """Yield a sentence for each base and budget that has been trained."""
    for record in records:
        gain = _interval(record, "gain", "gain_", _POINTS)
        if record["best_single"] and gain is not None:
            told = "ahead" if gain.low > 0 else "behind" if gain.high < 0 else "not separable"
            yield (
                f"{record['base']} at {record['times']:.3g} times its FLOPs: compound minus "
                f"{record['dimension']}, the best single dimension on the validation split: "
                f"{gain.text('+.2f')} points ({told})"
            )


def markdown(records: Sequence[Record], options: Mapping[str, Any]) -> str:
    """Return the tables: what was measured, and what the paper prints."""
    lines = [f"- {line}" for line in verdicts(records)]
    settings = ", ".join(f"{name} {value}" for name, value in options.items())
    return "\n".join(
        [
            "# Compound scaling, trained",
            "",
            f"Settings: {settings}.",
            "",
            *lines,
            *([""] if lines else []),
            *markdown_table([text(record) for record in records]),
            "The paper, on ImageNet (Table 3; Table 7 for Figure 8):",
            "",
            *markdown_table(list(paper_rows())),
        ]
    )


def paper_rows() -> Iterator[dict[str, str]]:
    """Yield compound scaling minus the best single dimension in the paper, for each base."""
    printed = (*TABLE_3, *TABLE_7)
    for base in dict.fromkeys(row.base for row in printed):
        own = [row for row in printed if row.base == base]
        alone = [row for row in own if sum(_factors(row)) == 1]
        (compound,) = (row for row in own if sum(_factors(row)) == 3)
        best = max(alone, key=lambda row: row.top1.value)
        yield {
            "base": base,
            "best single": f"{best.change}, {best.flops.text}, {best.top1.text}",
            "compound": f"{compound.flops.text}, {compound.top1.text}",
            "compound minus it, points": f"{compound.top1.value - best.top1.value:+.1f}",
        }


def _factors(row: Scaled) -> tuple[bool, ...]:
    return tuple(factor > 1 for factor in (row.depth, row.width, row.resolution))
