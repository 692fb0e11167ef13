"""What `mnas-search scale` says of a grid search and a comparison: tables, figures, files."""

import json
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from mnas_search.architecture.cost.base import TABLE_CONVENTION
from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.scaling import CompoundRule
from mnas_search.architecture.value import Architecture
from mnas_search.common.files import write_atomically
from mnas_search.common.folders import csv_text
from mnas_search.common.render.chart import Chart, Colour, Point, Series, svg
from mnas_search.common.render.tables import console, print_rows
from mnas_search.common.units import format_bytes, format_size
from mnas_search.experiments.scaling.comparison import BASE, DIMENSIONS, ScaledNetwork
from mnas_search.experiments.scaling.families import Row
from mnas_search.experiments.scaling.grid import PAPER, Choice, Triple
from mnas_search.experiments.scaling.measured import MeasuredAccuracies

# -- the grid search --------------------------------------------------------------------------


def grid_record(choice: Choice, folder: Path, dropped: int, words: Sequence[str]) -> Row:
    """Return everything as plain JSON values; a row for each triple, best mean first."""
    return {
        "folder": str(folder),
        "chosen": asdict(choice.chosen.rule),
        "paper": asdict(PAPER),
        "separable": choice.separable,
        "paper_beaten": choice.beaten,
        "standard_error": choice.error,
        "std_between_seeds": choice.scores.std,
        "dropped": dropped,
        "triples": [
            {
                **asdict(one.rule),
                "product": round(one.rule.product, 4),
                "resolution": one.network.resolution,
                "params": one.cost.params,
                "macs": one.cost.macs,
                "accuracy": choice.scores.mean(one.network),
                "accuracies": list(choice.scores.of(one.network)),
                "within_one_error": one in choice.equals,
                "paper": one.rule == PAPER,
                "chosen": one == choice.chosen,
                "fingerprint": one.network.fingerprint,
            }
            for one in choice.candidates
        ],
        "notes": list(words),
    }


def grid_words(choice: Choice, *, demonstration: bool) -> Iterator[str]:
    """Yield the conclusions of the grid search, a sentence each."""
    best, count = choice.candidates[0], len(choice.candidates)
    mean = choice.scores.mean(best.network)
    assert mean is not None  # else every training had failed
    paper, chosen = _text(PAPER), _text(choice.chosen.rule)
    yield (
        f"best mean: {_text(best.rule)} with {mean:.4f}; {len(choice.equals)} of {count} triples "
        f"lie within one standard error ({choice.error:.4f}) of it"
    )
    distinct = len({one.network.fingerprint for one in choice.candidates})
    if distinct < count:
        yield f"rounding leaves {distinct} distinct networks of {count} triples, each trained once"
    if not choice.separable:
        yield "not separable: all triples lie within one standard error of the best"
    if choice.paper is None:
        yield f"the paper's {paper} exceeds a limit; chosen: {chosen}"
    elif choice.beaten:
        yield f"the paper's {paper} is worse by more than one standard error; chosen: {chosen}"
    else:
        yield f"chosen: the paper's {paper}, within one standard error of the best"
    if demonstration:
        yield (
            "digits are a demonstration: images of 8x8 pixels gain nothing from a higher "
            "resolution; use --data DIR for your own images"
        )


def print_grid(record: Row) -> None:
    """Print the record of a grid search: a table and the conclusions."""
    rows = [
        row
        | {
            "mean": "failed" if row["accuracy"] is None else f"{row['accuracy']:.4f}",
            "seeds": " ".join(f"{a:.3f}" for a in row["accuracies"]),
            "marks": ", ".join(name for name in ("chosen", "paper") if row[name])
            + (" ~" if row["within_one_error"] else ""),
        }
        for row in record["triples"]
    ]
    columns = {
        "alpha": "{alpha:g}",
        "beta": "{beta:g}",
        "gamma": "{gamma:g}",
        "product": "{product:.3f}",
        "resolution": "{resolution}",
        "MACs": "{macs:,}",
        "accuracy": "{mean}",
        "seeds": "{seeds}",
        "": "{marks}",
    }
    title = "alpha, beta, gamma at phi = 1 (~: within one standard error of the best)"
    print_rows(rows, columns, title=title)
    for sentence in record["notes"]:
        console().print(sentence, soft_wrap=True)


def write_grid(record: Row, choice: Choice, folder: Path) -> None:
    """Write grid.json, grid.csv and grid.svg."""
    write_atomically(folder / "grid.json", json.dumps(record, indent=2) + "\n")
    rows = [{k: v for k, v in row.items() if k != "accuracies"} for row in record["triples"]]
    write_atomically(folder / "grid.csv", csv_text(list(rows[0]), rows))
    write_atomically(folder / "grid.svg", grid_figure(choice))


def _text(rule: CompoundRule) -> str:
    return f"({rule.alpha:g}, {rule.beta:g}, {rule.gamma:g})"


# -- one dimension against compound -----------------------------------------------------------


def comparison_rows(
    base: Architecture, scaled: Sequence[ScaledNetwork], scores: MeasuredAccuracies | None
) -> list[Row]:
    """Return a row for each network, the base first, as the dimension `base`."""
    itself = ScaledNetwork(dimension=BASE, budget=float(cost(base).macs), network=base)
    return [
        {
            "name": one.network.label,
            "dimension": one.dimension,
            "budget": one.budget,
            "depth": round(one.depth, 4),
            "width": round(one.width, 4),
            "resolution_ratio": round(one.resolution, 4),
            "params": one.cost.params,
            "macs": one.cost.macs,
            "memory": one.cost.memory,
            "resolution": one.network.resolution,
            "accuracy": scores and scores.mean(one.network),
            "standard_error": scores and scores.error(one.network),
            "block_string": one.network.block_string,
        }
        for one in (itself, *scaled)
    ]


def print_comparison(rows: Sequence[Row]) -> None:
    """Print a table."""
    texts = [
        row
        | {
            "size": format_size(row["budget"]),
            "off": 100 * (row["macs"] / row["budget"] - 1),
            "bytes": format_bytes(row["memory"]),
            "mean": _accuracy(row),
        }
        for row in rows
    ]
    columns = {
        "budget": "{size}",
        "by": "{dimension}",
        "d": "{depth:.3g}",
        "w": "{width:.3g}",
        "r": "{resolution_ratio:.3g}",
        "params": "{params:,}",
        "MACs": "{macs:,}",
        "off by": "{off:+.1f} %",
        "memory": "{bytes}",
        "accuracy": "{mean}",
    }
    print_rows(texts, columns)
    console().print(TABLE_CONVENTION)
    console().print(
        "networks are scaled to the counted budget; rows of the paper's Tables 3 and 7 that scale "
        "one dimension do not have the FLOPs printed there",
        soft_wrap=True,
    )


def write_comparison(rows: Sequence[Row], folder: Path) -> None:
    """Write comparison.json, comparison.csv and comparison.svg."""
    write_atomically(folder / "comparison.json", json.dumps(list(rows), indent=2) + "\n")
    write_atomically(folder / "comparison.csv", csv_text(list(rows[0]), rows))
    write_atomically(folder / "comparison.svg", comparison_figure(rows))


def _accuracy(row: Row) -> str:
    if row["accuracy"] is None:
        return "-"
    error = row["standard_error"]
    return f"{row['accuracy']:.4f}" + ("" if error is None else f" ± {error:.4f}")


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


def comparison_figure(rows: Sequence[dict[str, Any]], what: str = "accuracy") -> str:
    """Draw accuracy against FLOPs on a logarithmic axis, a line for each way of scaling; `what`
    names the accuracy in the title."""
    chart = Chart(
        title=f"{what} by what is scaled, with its standard error",
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
