"""A run on one page: report.html.

One file without scripts, links or images from elsewhere, so that it can be mailed, printed and
kept. It says what was asked, what was found, and what decided, in that order.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from mnas_search.architecture.cost.metrics import METRICS
from mnas_search.architecture.traced_network import block_string
from mnas_search.common.render.document import document
from mnas_search.common.render.markup import escaped, facts, items, paragraph, sentence, table
from mnas_search.common.units import format_duration, format_latency
from mnas_search.evaluators.defaults import DEFAULT_DATA, TRAINING
from mnas_search.experiments.search.report.comparison import comparison
from mnas_search.experiments.search.report.discovery import discovery, evaluator_name, with_std
from mnas_search.experiments.search.report.figure import axis_label, figure
from mnas_search.experiments.search.report.summary import (
    budgets,
    conventions,
    deployment,
    latencies,
    notes,
    under,
)
from mnas_search.experiments.search.result import Result
from mnas_search.nas.objective import Objective
from mnas_search.nas.trial import Trial

_OBJECTIVES = {
    "soft": "ACC · ({}/T)^w",
    "hard": "ACC · min(({}/T)^w, 1)",
    "absolute": "ACC + w · |{}/T - 1|",
}


def page(result: Result, versions: Mapping[str, Any]) -> str:
    """The page of a run that has a winner; `versions` by package, as config.json has them."""
    best = result.best
    assert best is not None
    title = f"{result.name}: a network within {result.objective.constraint}"
    body = "\n".join(
        [
            f"<h1>{escaped(title)}</h1>",
            *_asked(result, versions),
            *_winner(result, best),
            *_verdict(result),
            *_latencies(result),
            *_figure(result),
            *_budgets(result),
            *_family(result),
            *_notes(result),
        ]
    )
    return document(title, body)


def _asked(result: Result, versions: Mapping[str, Any]) -> Iterator[str]:
    config, objective = result.config, result.objective
    metric = METRICS[objective.metric]
    data = config.data or (DEFAULT_DATA if config.evaluator == TRAINING else None)
    label = axis_label(result.evaluator)
    stopped = f", {len(result.stopped)} of them stopped early" if result.stopped else ""
    pairs: dict[str, object] = {
        "target": f"T = {metric.text(objective.target)}",
        "limits": _limits(objective),
        "search space": config.space,
        "controller": config.controller,
        "prior": config.prior,
        "started from": ", ".join(config.start_from) or None,
        "evaluator": config.evaluator,
        "accuracy": None if label == "accuracy" else label,
        "data": data or "none but the evaluator's own",
        "objective": f"{objective.kind}: {_OBJECTIVES[objective.kind].format(metric.name)} with "
        f"w = {objective.exponent:g}, under {metric.name} ≤ T",
        "trials": f"{config.trials} asked for, {len(result.trials)} finished{stopped}",
        "early stopping": config.early_stopping,
        "time budget": None if config.time_budget is None else format_duration(config.time_budget),
        "seed": config.seed,
        "deployment": deployment(result),
        "versions": ", ".join(f"{name} {number}" for name, number in versions.items()),
    }
    yield "<h2>What was asked</h2>"
    yield facts((name, value) for name, value in pairs.items() if value is not None)


def _limits(objective: Objective) -> str | None:
    """The limits beside the target; None without any."""
    limits = {name.removeprefix("max_"): most for name, most in objective.limits.items()}
    said = [f"{METRICS[n].name} ≤ {METRICS[n].amount(most)}" for n, most in limits.items()]
    return ", ".join(said) or None


def _winner(result: Result, best: Trial) -> Iterator[str]:
    network, opinion = result.networks[best.number], result.opinion
    yield "<h2>The winner</h2>"
    yield f"<pre><code>{escaped(block_string(network) or network.label)}</code></pre>"
    pairs: list[tuple[str, object]] = [
        ("trial", best.number),
        ("parameters", f"{best.params:,}"),
        ("FLOPs", f"{best.macs:,}"),
    ]
    if "inference_memory" in best.costs:
        pairs.append(("memory", f"{best.costs['inference_memory']:,} bytes"))
    if "latency" in best.costs:
        pairs.append(("latency (predicted)", format_latency(best.costs["latency"])))
    if opinion is None:
        pairs += [("accuracy", f"{best.accuracy:.4f}"), ("reward", f"{best.reward:.4f}")]
    else:
        searched, checked = opinion.searched, opinion.checked
        pairs += [
            ("accuracy (search)", with_std(searched.accuracy, searched.std)),
            ("accuracy (check)", with_std(checked.accuracy, checked.std)),
            ("reward (search)", f"{best.reward:.4f}"),
            ("reward (check)", f"{opinion.reward:.4f}"),
        ]
    yield facts(pairs)
    if (found := discovery(result)) is None:
        return
    yield "<h3>Finalists, best by the check first</h3>"
    yield table(*found.networks)
    yield paragraph(
        f"the search was told {evaluator_name(result.evaluator)}; the check is "
        f"{evaluator_name(result.check)}; ± is one standard deviation"
    )
    if found.stages is not None:
        yield "<h3>Stage by stage</h3>"
        yield table(*found.stages)
    yield "<h3>What was searched, what decided, what was not shown</h3>"
    yield items(found.said)


def _verdict(result: Result) -> Iterator[str]:
    if (found := comparison(result)) is None:
        return
    yield "<h2>Beside networks that need no search</h2>"
    yield f"<p><strong>{escaped(sentence(found.sentence))}</strong></p>"
    yield table(*found.networks)
    yield items(found.said)


def _latencies(result: Result) -> Iterator[str]:
    if result.latencies:
        yield "<h2>Latency, predicted and measured</h2>"
        yield table(*latencies(result))


def _figure(result: Result) -> Iterator[str]:
    baseline = "" if result.baseline is None else f"; diamond: {result.baseline.network.label}"
    count = len(result.good)
    to_end = " trained to the end" if result.stopped else ""
    within = " within the limits" if result.objective.limits else ""
    yield "<h2>All candidates</h2>"
    yield f'<figure>\n<div class="wide">{figure(result)}</div>'
    yield (
        f"<figcaption>Small dots: {count} candidate{'s' * (count != 1)}{to_end}; line: the "
        f"Pareto front, the best accuracy for so much{within}; large dot: the winner"
        f"{escaped(baseline)}; dashed: the target.</figcaption>\n</figure>"
    )


def _budgets(result: Result) -> Iterator[str]:
    if not (others := budgets(result)):
        return
    yield "<h2>Best under other budgets</h2>"
    yield table(*under(result, others))
    yield paragraph("the architectures are in trials.csv, by number of the trial")


def _family(result: Result) -> Iterator[str]:
    if not result.family:
        return
    yield "<h2>The family</h2>"
    yield paragraph("the winner, scaled by EfficientNet's published coefficients")
    yield table(
        ("name", "resolution", "parameters", "FLOPs"),
        [(m.label, str(m.resolution), f"{c.params:,}", f"{c.macs:,}") for m, c in result.family],
    )


def _notes(result: Result) -> Iterator[str]:
    yield "<h2>To be read with this</h2>"
    yield items([*notes(result), conventions(result)])
