"""The comparison of the winner with networks that need no search, on a user's data."""

from dataclasses import dataclass

from mnas_search.common.render.pages import Table
from mnas_search.common.units import format_size
from mnas_search.experiments.search.report.tables import candidates
from mnas_search.experiments.search.result import Result
from mnas_search.experiments.search.stages.baseline_comparison import TRAININGS, Improvement


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Whether to take the winner or the first baseline; all networks that were compared; and
    notes on the other comparisons and the method."""

    sentence: str
    networks: Table
    notes: tuple[str, ...]


def comparison(result: Result) -> Comparison | None:
    """Return the comparison of a run that trained on data; None for other runs."""
    verdict = result.comparison
    if verdict is None or verdict.winner is None:
        return None
    first, *others = verdict.improvements
    return Comparison(
        sentence=_advice(first),
        networks=candidates(verdict),
        notes=(*map(_against, others), *_method(len(verdict.candidates))),
    )


def _advice(gain: Improvement) -> str:
    """Return `the winner beats B0 by x ± y points`, or `use B0`."""
    name, macs = gain.over.label, format_size(gain.over.macs)
    if gain.shown:
        return f"the winner beats {name} ({macs} FLOPs) by {_points(gain)} on the test split"
    word = "no better" if gain.difference + gain.margin > 0 else "worse"
    return (
        f"use {name} ({macs} FLOPs): on the test split the winner is {word}, the difference is "
        f"{_points(gain)}"
    )


def _against(gain: Improvement) -> str:
    name, word = gain.over.label, "beats" if gain.shown else "does not beat"
    if gain.over.trial is not None:
        name = "the best of a random search with as many trials"
    return f"the winner {word} {name}: the difference is {_points(gain)}"


def _points(gain: Improvement) -> str:
    return f"{100 * gain.difference:+.2f} ± {100 * gain.margin:.2f} points"


def _method(count: int) -> tuple[str, ...]:
    return (
        f"the {count} best candidates of the search and the baselines, scaled in width to the "
        f"target, were trained {TRAININGS} times each under the same proxy, with seeds that the "
        "search did not use; ± in the table is the standard deviation between seeds",
        "the winner has the largest reward by mean validation accuracy; differences are on the "
        "test split, which nothing else uses, and each seed's winner is chosen by the other "
        "seeds; ± is Student's 95 % interval over seeds and leaves out the choice of test images",
    )
