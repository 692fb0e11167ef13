"""Notes on a run: what went wrong, which constraints bind, how far its figures can be trusted."""

from collections import Counter
from collections.abc import Iterator

from mnas_search.architecture.cost.base import CONVENTION, MEMORY_CONVENTION
from mnas_search.architecture.cost.latency.conditions import describe
from mnas_search.architecture.cost.latency.table import matches_this_machine
from mnas_search.architecture.cost.metrics import METRICS
from mnas_search.architecture.value import Architecture
from mnas_search.common.statistics import sample_std
from mnas_search.common.units import format_latency
from mnas_search.experiments.search.result import Result
from mnas_search.nas.objective import Objective
from mnas_search.nas.trial import Trial

_BINDS = 0.9  # a constraint binds where the winner uses this share of what it allows
_ESTIMATED = 0.01  # an estimated share of a latency that is worth a note


def notes(result: Result) -> list[str]:
    """Return the warnings, then how far the accuracies can be trusted."""
    return [*warnings(result), *_accuracy(result)]


def warnings(result: Result) -> list[str]:
    """Return what went wrong, which constraints bind, and whether a bound on latency holds."""
    found = list(_ended(result))
    if (best := result.best) is not None:
        found += [*_binding(result.objective, best), *_latency(result, best)]
        if result.architecture is None:
            found.append("the winner is not a chain of stages: no family, no export")
    return found


def spread(result: Result) -> float | None:
    """Return the standard deviation of the accuracy between networks; None below two."""
    return sample_std([t.accuracy for t in result.good if t.accuracy is not None])


def conventions(result: Result) -> str:
    """Return how costs are counted, and at which resolution and number of classes."""
    parts = [f"{CONVENTION}, {deployment(result)}"]
    if "memory" in result.objective.bounds:
        parts.append(f"memory is that of {MEMORY_CONVENTION}")
    if (table := result.cost_model.latency_table) is not None:
        parts.append(f"latency is that of {table.conditions}, {describe(table.machine)}")
    return "; ".join(parts)


def deployment(result: Result) -> str:
    """Return the resolution and number of classes that costs are counted at."""
    network = next(iter(result.networks.values()))
    classes = f", {network.num_classes} classes" if isinstance(network, Architecture) else ""
    return f"{network.resolution} pixels{classes}"


def why_no_winner(result: Result) -> str:
    """Say why a run has found nothing."""
    failed = [t for t in result.trials if t.status == "failed"]
    if result.finalists:
        return f"none of the {len(result.finalists)} finalists can be trained; see journal.jsonl"
    if failed and not result.good:
        rest = f", {len(result.stopped)} were stopped early" if result.stopped else ""
        return f"all {len(failed)} candidates failed{rest}; the first one: {failed[0].error}"
    if not result.good:
        return result.shortage or "no candidate was finished"
    more = "`mnas-search resume` with more --trials continues the search"
    return (
        f"none of {len(result.good)} candidates is within {result.objective.constraint} "
        f"({_minima(result)}); {'the space is exhausted' if result.exhausted else more}"
    )


def _minima(result: Result) -> str:
    """Describe the minima of the bounded metrics over the candidates."""
    metrics = [METRICS[name] for name in result.objective.bounds]
    minima = [m.text(min(t.costs[m.count] for t in result.good)) for m in metrics]
    if len(minima) == 1:
        return f"the cheapest has {minima[0]}"
    return f"the minima over all candidates: {', '.join(minima)}"


def _ended(result: Result) -> Iterator[str]:
    if result.exhausted:
        yield "the space is exhausted: 1,000 proposals in a row had been evaluated before"
    if result.stalled:
        yield "early stopping ended 1,000 candidates in a row before their last epoch"
    if result.stopped:
        rungs = Counter(t.rung for t in result.stopped if t.rung is not None)
        counts = ", ".join(f"{rung} ({count})" for rung, count in sorted(rungs.items()))
        yield (
            f"{len(result.stopped)} of {len(result.trials)} candidates were stopped early, at "
            f"{'rung' if len(rungs) == 1 else 'rungs'} {counts}"
        )
    failed = [t for t in result.trials if t.status == "failed"]
    if failed:
        yield f"{len(failed)} candidates failed; the first: {failed[0].error}"


def _accuracy(result: Result) -> Iterator[str]:
    best, noise, between = result.best, result.seed_noise, spread(result)
    if noise is not None and between is not None:
        yield (
            f"accuracy: standard deviation {between:.4f} between networks, {noise:.4f} between "
            f"seeds of one network ({len(result.replicates)} networks trained twice)"
        )
        if between > 0:
            share = min(1.0, (noise / between) ** 2)
            yield (
                f"about {share:.0%} of the variance between candidates is therefore seed noise, "
                "and part of the winner's lead is luck"
            )
    if best is None:
        return
    if best.number in result.estimates:
        chosen = "the winner was" if result.comparison is None else "the best candidates were"
        yield (
            f"{chosen} chosen by the controller's estimates, which remove noise: for the winner "
            f"{result.estimates[best.number]:.4f} where {best.accuracy:.4f} was measured"
        )
    yield from result.caveats


def _binding(objective: Objective, best: Trial) -> Iterator[str]:
    """Yield which constraints hold the winner back, and which do not."""
    limited = False
    for option, most in objective.limits.items():
        name = option.removeprefix("max_")
        metric = METRICS[name]
        count = best.costs[metric.count]
        binds = count >= _BINDS * most
        limited |= binds
        word = "binds" if binds else "does not bind"
        used = f"{metric.amount(count)} of {metric.amount(most)}"
        yield f"the limit on {name} {word}: the winner has {used}"
    target_cost = objective.target_cost(best.costs)
    if objective.kind == "soft" and target_cost < _BINDS * objective.target:
        amount = METRICS[objective.metric].amount(target_cost)
        optimum = f"the candidate with the largest reward has {amount}"
        more = "a limit binds instead" if limited else "--objective hard spends the whole budget"
        yield f"the target does not bind: {optimum}; {more}"


def _latency(result: Result, best: Trial) -> Iterator[str]:
    """Yield how far the winner's predicted latency can be trusted, and whether the measured one
    exceeds the bound."""
    table, most = result.cost_model.latency_table, result.objective.bounds.get("latency")
    if table is None or most is None:
        return
    estimated = 1 - table.predict(result.networks[best.number]).timed
    if estimated > _ESTIMATED:
        yield (
            f"{estimated:.0%} of the winner's predicted latency is estimated: the table lacks "
            "these parts (it may be of another space, resolution or number of classes)"
        )
    if (found := result.winner_latency) is None:
        elsewhere = ": the table is of another machine or other packages"
        why = "" if matches_this_machine(table) else elsewhere
        yield f"the winner's latency was not measured{why}"
    elif (measured := found[1]).seconds > most:
        yield (
            f"measured, the winner takes {format_latency(measured.seconds)} and not the "
            f"{format_latency(best.costs['latency'])} that were predicted: more than "
            f"{format_latency(most)}"
        )
