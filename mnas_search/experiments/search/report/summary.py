"""The end of a run in words and tables."""

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from mnas_search.architecture.cost.base import CONVENTION, MEMORY_CONVENTION
from mnas_search.architecture.cost.latency.conditions import describe
from mnas_search.architecture.cost.latency.table import matches_this_machine
from mnas_search.architecture.cost.metrics import METRICS
from mnas_search.architecture.value import Architecture
from mnas_search.common.render.tables import console, print_table
from mnas_search.common.statistics import sample_std
from mnas_search.common.units import format_duration, format_latency
from mnas_search.experiments.search.folder import further_figures
from mnas_search.experiments.search.report.comparison import comparison
from mnas_search.experiments.search.report.discovery import discovery
from mnas_search.experiments.search.result import Result
from mnas_search.experiments.search.stages.finalist_check import Finalist
from mnas_search.nas.objective import Objective
from mnas_search.nas.trial import Trial

_MOST_BUDGETS = 12
# A constraint binds where the winner uses this share of what it allows.
_BINDS = 0.9
_ESTIMATED = 0.01  # of a latency, from which on it is said
_BUSY = 0.5  # below, the evaluations are no work to speak of


def summary(result: Result) -> dict[str, Any]:
    """Everything that `print_summary` says, as plain JSON values."""
    best = result.best
    timing = result.timing
    return {
        "name": result.name,
        "folder": str(result.folder),
        "target": result.objective.target,
        "metric": result.objective.metric,
        "max_params": result.objective.max_params,
        "max_memory": result.objective.max_memory,
        "max_latency": result.objective.max_latency,
        "objective": result.objective.kind,
        "exponent": result.objective.exponent,
        "best": None if best is None else _trial(result, best),
        "pareto": [_trial(result, t) for t in result.pareto],
        "budgets": [
            {"budget": budget, **_trial(result, trial)} for budget, trial in budgets(result)
        ],
        "finalists": [_scored(result, one) for one in result.finalists],
        "baseline": None if result.baseline is None else _scored(result, result.baseline),
        "verdict": _verdict(result),
        "latencies": [
            {"name": label, "predicted": predicted, **asdict(measured)}
            for label, (predicted, measured) in result.latencies.items()
        ],
        "trials": len(result.trials) - len(result.stopped),
        "stopped": len(result.stopped),
        "failed": sum(t.status == "failed" for t in result.trials),
        "asked": result.asked,
        "space_exhausted": result.exhausted,
        "spread": spread(result),
        "seed_noise": result.seed_noise,
        "repeated": len(result.replicates),
        "family": [
            {"name": m.label, "resolution": m.resolution, "params": c.params, "macs": c.macs}
            for m, c in result.family
        ],
        "seconds": None
        if timing is None
        else {
            "startup": timing.startup,
            "search": timing.search,
            "repeats": timing.replicates,
            "finals": timing.final,
        },
        "workers_busy": None if timing is None else timing.busy,
        "notes": notes(result),
    }


def _verdict(result: Result) -> dict[str, Any] | None:
    found = comparison(result)
    if found is None or result.comparison is None:
        return None
    return {"sentence": found.sentence, **result.comparison.summary()}


def _trial(result: Result, trial: Trial) -> dict[str, Any]:
    return {
        "trial": trial.number,
        "accuracy": trial.accuracy,
        "macs": trial.macs,
        "params": trial.params,
        "reward": trial.reward,
        "architecture": result.networks[trial.number].label,
        **further_figures(trial),
    }


def _scored(result: Result, one: Finalist) -> dict[str, Any]:
    return {
        "trial": None if one.trial is None else one.trial.number,
        "architecture": one.network.label,
        "macs": one.macs,
        "params": one.params,
        "searched": {"accuracy": one.searched.accuracy, "std": one.searched.std},
        "checked": {"accuracy": one.checked.accuracy, "std": one.checked.std},
        "reward": one.reward,
        "trainings": list(one.trainings),
        "vetoed": one in result.vetoed,
    }


def spread(result: Result) -> float | None:
    """Standard deviation of the accuracy between networks; None below two."""
    return sample_std([t.accuracy for t in result.good if t.accuracy is not None])


def budgets(result: Result) -> list[tuple[float, Trial]]:
    """The best candidate under 100M, 200M, ... (the target's power of ten) where it is another."""
    target_cost = result.objective.target_cost
    step = 10.0 ** math.floor(math.log10(result.objective.target))
    rows: list[tuple[float, Trial]] = []
    most = max((target_cost(t.costs) for t in result.good), default=0)
    for count in range(1, min(_MOST_BUDGETS, math.ceil(most / step)) + 1):
        budget = count * step
        trial = result.best_under(budget)
        asked = math.isclose(budget, result.objective.target)  # 3 * 0.1 s is not 0.3 s
        if not asked and trial not in (None, result.best):
            assert trial is not None
            rows.append((budget, trial))
    return rows


def notes(result: Result) -> list[str]:
    """What a reader should know before believing the tables."""
    said = []
    best, noise, between = result.best, result.seed_noise, spread(result)
    if result.exhausted:
        said.append("space exhausted: 1,000 proposals in a row were known already")
    if result.stalled:
        said.append("early stopping let 1,000 candidates in a row not come to their end")
    if result.stopped:
        rungs = Counter(t.rung for t in result.stopped if t.rung is not None)
        said.append(
            f"{len(result.stopped)} of {len(result.trials)} candidates were stopped early, at "
            f"{'rung' if len(rungs) == 1 else 'rungs'} "
            + ", ".join(f"{rung} ({count})" for rung, count in sorted(rungs.items()))
        )
    failed = [t for t in result.trials if t.status == "failed"]
    if failed:
        said.append(f"{len(failed)} candidates failed; the first: {failed[0].error}")
    if best is not None:
        said += _binding(result.objective, best)
        said += _latency(result, best)
    if noise is not None and between is not None:
        said.append(
            f"accuracy: standard deviation {between:.4f} between networks, {noise:.4f} between "
            f"seeds of one network ({len(result.replicates)} networks trained twice)"
        )
        if between > 0:
            share = min(1.0, (noise / between) ** 2)
            said.append(
                f"so about {share:.0%} of the variance between candidates is seed noise, and the "
                "winner's lead is in part luck"
            )
    if best is not None and best.number in result.estimates:
        what = "the winner was" if result.comparison is None else "the best candidates were"
        said.append(
            f"{what} chosen by the controller's estimates, noise taken off: for the winner "
            f"{result.estimates[best.number]:.4f} where {best.accuracy:.4f} was measured"
        )
    if best is not None:
        said += result.caveats
    if result.architecture is None and best is not None:
        said.append("the winner is no chain of stages: no family, no export")
    return said


def _binding(objective: Objective, best: Trial) -> list[str]:
    """Which constraints hold the winner back, and which do not."""
    said, held = [], False
    for name, most in objective.limits.items():
        metric = METRICS[name.removeprefix("max_")]
        count = best.costs[metric.count]
        binds = count >= _BINDS * most
        held |= binds
        word = "binds" if binds else "does not bind"
        said.append(
            f"the limit on {name.removeprefix('max_')} {word}: the winner has "
            f"{metric.amount(count)} of {metric.amount(most)}"
        )
    target_cost = objective.target_cost(best.costs)
    if objective.kind == "soft" and target_cost < _BINDS * objective.target:
        amount = METRICS[objective.metric].amount(target_cost)
        lies = f"the reward's optimum among the candidates lies at {amount}"
        more = "a limit binds instead" if held else "--objective hard spends the whole budget"
        said.append(f"the target does not bind: {lies}; {more}")
    return said


def _latency(result: Result, best: Trial) -> list[str]:
    """How far the winner's predicted latency is to be believed, and whether it keeps the bound
    where it was measured, too."""
    table, most = result.cost_model.latency_table, result.objective.bounds.get("latency")
    if table is None or most is None:
        return []
    said = []
    estimated = 1 - table.predict(result.networks[best.number]).timed
    if estimated > _ESTIMATED:
        said.append(
            f"{estimated:.0%} of the winner's predicted latency is estimated: the table does not "
            "have these parts (it may be of another space, resolution or number of classes)"
        )
    winner = next(iter(result.leading))
    if winner not in result.latencies:
        why = (
            ""
            if matches_this_machine(table)
            else ": the table is of another machine or other packages"
        )
        return [*said, f"the winner's latency was not measured{why}"]
    _, measured = result.latencies[winner]
    if measured.seconds > most:
        said.append(
            f"measured, the winner takes {format_latency(measured.seconds)} and not the "
            f"{format_latency(best.costs['latency'])} that were predicted: more than "
            f"{format_latency(most)}"
        )
    return said


def print_summary(result: Result) -> None:
    """Tables for people."""
    out = console()
    best = result.best
    assert best is not None  # a run without a winner has failed
    print_table(
        *columns([best]),
        title=f"winner within {result.objective.constraint}",
    )
    network = result.networks[best.number]
    out.print(
        network.block_string if isinstance(network, Architecture) else network.label,
        highlight=False,
    )
    if (found := discovery(result)) is not None:
        print_table(*found.networks, title="finalists, best by the check first")
        if found.stages is not None:
            print_table(*found.stages, title="stage by stage")
        for line in found.said:
            out.print(line, highlight=False)
    if (compared := comparison(result)) is not None:
        print_table(*compared.networks, title="under the same proxy, three trainings each")
        out.print(compared.sentence, highlight=False, style="bold")
        for line in compared.said:
            out.print(line, highlight=False)
    if others := budgets(result):
        print_table(
            *under(result, others), title="best under other budgets (architectures: trials.csv)"
        )
    print_table(
        *columns(result.pareto),
        title=f"Pareto front of accuracy and {METRICS[result.objective.metric].name}",
    )
    if result.latencies:
        print_table(*latencies(result), title="predicted, and measured on the device")
    if result.family:
        print_table(
            ("family", "resolution", "params", "FLOPs"),
            [
                (m.label, str(m.resolution), f"{c.params:,}", f"{c.macs:,}")
                for m, c in result.family
            ],
            title="the winner scaled by EfficientNet's published coefficients",
        )
    for note in notes(result):
        out.print(note, highlight=False, markup=False)  # of files, called whatever they are
    out.print(_time(result), highlight=False)
    out.print(conventions(result), highlight=False)
    out.print(f"files: {result.folder}", highlight=False)
    if result.family:
        out.print(
            f"the exported network is untrained: python {result.folder / 'export' / 'model.py'}",
            highlight=False,
        )


Table = tuple[tuple[str, ...], list[tuple[str, ...]]]


def columns(trials: Sequence[Trial]) -> Table:
    """Header and rows: accuracy, costs as far as they are known, reward."""
    metrics = [
        metric
        for metric in METRICS.values()
        if all(metric.count in trial.costs for trial in trials)
    ]
    header = ("trial", "accuracy", *(metric.name for metric in metrics), "reward")
    rows = [
        (
            str(t.number),
            f"{t.accuracy:.4f}",
            *(metric.amount(t.costs[metric.count]) for metric in metrics),
            f"{t.reward:.4f}",
        )
        for t in trials
    ]
    return header, rows


def under(result: Result, others: Sequence[tuple[float, Trial]]) -> Table:
    """Header and rows of the best under other budgets."""
    amount = METRICS[result.objective.metric].amount
    header, rows = columns([trial for _, trial in others])
    ahead = [amount(budget) for budget, _ in others]
    return ("under", *header), [(a, *row) for a, row in zip(ahead, rows, strict=True)]


def latencies(result: Result) -> Table:
    """Header and rows of the networks that were measured on the device."""
    rows: list[tuple[str, ...]] = [
        (
            label,
            format_latency(predicted),
            format_latency(measured.seconds),
            f"{format_latency(measured.low)} to {format_latency(measured.high)}",
        )
        for label, (predicted, measured) in result.latencies.items()
    ]
    return ("network", "predicted", "measured", "95% interval of the median"), rows


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
        what = "finals" if result.comparison is None else "verdict"
        parts.append(f"{what} {format_duration(timing.final)}")
    return f"{count}; {', '.join(parts)}"


def conventions(result: Result) -> str:
    """What is counted, and at what."""
    objective = result.objective
    said = f"{CONVENTION}, {deployment(result)}"
    if "memory" in objective.bounds:
        said += f"; memory is that of {MEMORY_CONVENTION}"
    table = result.cost_model.latency_table
    if table is not None:
        said += f"; latency is that of {table.conditions}, {describe(table.machine)}"
    return said


def deployment(result: Result) -> str:
    """What the networks are counted at."""
    network = next(iter(result.networks.values()))
    classes = f", {network.num_classes} classes" if isinstance(network, Architecture) else ""
    return f"{network.resolution} pixels{classes}"
