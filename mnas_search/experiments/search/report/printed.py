"""The result of a run on one screen: winner, comparison, files, next commands."""

import shlex
from collections.abc import Iterator
from pathlib import Path

from mnas_search.architecture.cost.metrics import METRICS
from mnas_search.architecture.traced_network import block_string
from mnas_search.common.render.tables import console, print_table
from mnas_search.common.units import format_duration, format_latency
from mnas_search.experiments.search.report import tables
from mnas_search.experiments.search.report.comparison import MARGIN, comparison
from mnas_search.experiments.search.report.discovery import UNMEASURED, against_baseline
from mnas_search.experiments.search.report.notes import conventions, warnings
from mnas_search.experiments.search.report.prior import prior_report
from mnas_search.experiments.search.result import Result
from mnas_search.experiments.search.stages.baseline_comparison import TRAININGS
from mnas_search.nas.trial import Trial

_BUSY = 0.5  # a smaller share of busy time means that evaluations took next to none


def print_result(result: Result, folder: Path | None = None) -> None:
    """Print the result of a run that has a winner.

    Args:
        folder: the result's, as the user would type it; None for the absolute path.
    """
    folder = folder or result.folder
    best = result.best
    assert best is not None  # a run without a winner has failed
    within, compared = result.objective.constraint, comparison(result)
    if compared is None:
        _print(f"winner within {within}: {_winner(result, best)}", bold=True)
    else:
        _print(f"recommended within {within}: {compared.sentence}", bold=True)
    network = result.recommended or result.networks[best.number]
    _print(f"  {block_string(network) or network.label}")
    _print_comparison(result)
    _print_prior(result)
    notes = [*_latency(result), *warnings(result), conventions(result), _time(result)]
    for line in [*notes, "", *_files(result, folder)]:
        _print(line)
    _print("next", bold=True)
    for line in _commands(result, folder):
        _print(f"  {line}")


def _print(line: str, *, bold: bool = False) -> None:
    console().print(line, highlight=False, markup=False, style="bold" if bold else None)


def _winner(result: Result, best: Trial) -> str:
    costs = (
        metric.text(count)
        for metric in METRICS.values()
        if (count := best.costs.get(metric.count)) is not None
    )
    trial = f"trial {best.number} of {len(result.trials)}"
    figures = result.figures
    assert figures is not None
    accuracy = (
        f"{tables.figure_name(result)} {tables.with_margin(figures.accuracy, figures.margin)}"
    )
    return ", ".join([trial, accuracy, *costs, f"reward {figures.reward:.4f}"])


def _print_comparison(result: Result) -> None:
    """Print what the winner was compared with: a baseline by prediction, or trained networks."""
    if (compared := comparison(result)) is not None:
        print_table(*compared.networks, title=f"compared by {TRAININGS} trainings each; {MARGIN}")
        if result.best is not None:
            _print(f"the search's winner: {_winner(result, result.best)}")
    elif result.opinion is not None:
        shown = [one for one in (result.opinion, result.baseline) if one is not None]
        print_table(*tables.finalists(result, shown), title="compared by predictions")
        for line in (*against_baseline(result), UNMEASURED, MARGIN):
            _print(line)
    else:
        print_table(*tables.trials(result, result.good[:3]), title="compared: the largest rewards")


def _print_prior(result: Result) -> None:
    """Print how far a prior that was trained agrees with the trainings, counts beside it."""
    if (found := prior_report(result)) is not None:
        print_table(*found.rankings, title="how well the prior ranks; in brackets: 95 % intervals")
        for line in found.notes:
            _print(line)


def _latency(result: Result) -> Iterator[str]:
    if (found := result.winner_latency) is not None:
        predicted, measured = found
        yield (
            f"latency of the winner: {format_latency(predicted)} predicted, "
            f"{format_latency(measured.seconds)} measured on the device"
        )


def _time(result: Result) -> str:
    timing = result.timing
    count = f"{len(result.trials)} candidates, {result.asked} proposals"
    if timing is None:
        return f"{count}; nothing was left to do"
    parts = [f"start-up {format_duration(timing.startup)}"]
    busy = f" (workers busy {timing.busy:.0%})" if timing.busy > _BUSY else ""
    parts.append(f"search {format_duration(timing.search)}{busy}")
    if timing.replicates:
        parts.append(f"seed noise {format_duration(timing.replicates)}")
    if timing.final:
        stage = "finalists" if result.comparison is None else "comparison"
        parts.append(f"{stage} {format_duration(timing.final)}")
    return f"{count}; {', '.join(parts)}"


def _files(result: Result, folder: Path) -> Iterator[str]:
    yield f"files: {folder}"
    yield "  report.html              figure, finalists, other budgets, notes"
    yield "  recommended.json         the network to use, which commands take by this folder"
    yield "  best.json, pareto.csv    the winner; Pareto-optimal trials; all trials: trials.csv"
    if result.family:
        yield "  family.csv, family/      that network scaled as EfficientNet-B0 is to B1 to B7"
        yield "  export/                  model.py and weights; the network is untrained"


def _commands(result: Result, place: Path) -> Iterator[str]:
    folder = shlex.quote(str(place))
    data = shlex.quote(result.config.data) if result.config.data else "DIR"
    if result.config.init is not None:
        data += f" --init {shlex.quote(result.config.init)} --remap"
    if result.recommended is not None:
        yield f"mnas-search train {folder} --data {data}"
        yield f"mnas-search export {folder} --to onnx --output onnx"
    yield f"mnas-search resume {folder} --trials {2 * len(result.trials)}"
