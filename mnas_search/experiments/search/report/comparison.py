"""The verdict on a user's data, in a table and in words."""

from dataclasses import dataclass
from statistics import fmean

import numpy as np

from mnas_search.common.units import format_size
from mnas_search.experiments.search.result import Result
from mnas_search.experiments.search.stages.baseline_comparison import (
    TRAININGS,
    BaselineComparison,
    Candidate,
    Improvement,
)

Table = tuple[tuple[str, ...], list[tuple[str, ...]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What a reader is shown.

    Attributes:
        sentence: whether to take the winner or the first baseline.
        networks: header and rows: the best candidates, the baselines, the random search's best.
        said: how it was measured, and how the winner compares with all others.
    """

    sentence: str
    networks: Table
    said: tuple[str, ...]


def comparison(result: Result) -> Comparison | None:
    """The verdict of a run that trained on data; None for other runs."""
    verdict = result.comparison
    if verdict is None or verdict.winner is None:
        return None
    first, *others = verdict.improvements
    return Comparison(
        sentence=sentence(first),
        networks=_networks(verdict),
        said=(*(_against(gain) for gain in others), *_method(verdict)),
    )


def sentence(gain: Improvement) -> str:
    """`beats B0 by x ± y`, or `use B0`."""
    name, macs = gain.over.label, format_size(gain.over.macs)
    if gain.shown:
        return f"the winner beats {name} ({macs} FLOPs) by {_points(gain)} on the test split"
    far = "no better" if gain.difference + gain.margin > 0 else "worse"
    return (
        f"use {name} ({macs} FLOPs): on the test split the winner is {far}, the difference is "
        f"{_points(gain)}"
    )


def _against(gain: Improvement) -> str:
    if gain.over.trial is not None:
        name = "the best of a random search with as many trials"
    else:
        name = gain.over.label
    word = "beats" if gain.shown else "does not beat"
    return f"the winner {word} {name}: the difference is {_points(gain)}"


def _points(gain: Improvement) -> str:
    return f"{100 * gain.difference:+.2f} ± {100 * gain.margin:.2f} points"


def _networks(verdict: BaselineComparison) -> Table:
    header = ("", "validation", "test", "FLOPs", "params")
    winner = verdict.winner
    rows: list[tuple[str, ...]] = []
    for one in (*verdict.candidates, *verdict.baselines, *verdict.random_candidates):
        label = f"{one.label}, winner" if one == winner else one.label
        rows.append((label, *_figures(one), format_size(one.macs), format_size(one.params)))
    return header, rows


def _figures(one: Candidate) -> tuple[str, str]:
    if not one.validation:
        return "failed", "-"
    validation, test = (
        f"{fmean(values):.4f} ± {np.std(values, ddof=1):.4f}"
        for values in (one.validation, one.test)
    )
    return validation, test


def _method(verdict: BaselineComparison) -> tuple[str, ...]:
    count = len(verdict.candidates)
    return (
        f"the {count} best of the search and the baselines, as wide as the target lets them be, "
        f"were trained {TRAININGS} times each under the same proxy, with seeds the search did not "
        "use; in the table ± is the standard deviation between seeds",
        "the winner is the largest reward by the mean on validation; differences are on the test "
        "split, which nothing else has seen, each seed's winner chosen by the other seeds, with "
        "Student's 95 % interval over seeds; what other test images would add is not in it",
    )
