"""The comparison of the winner with networks that need no search, on a user's data."""

from collections.abc import Iterator
from dataclasses import dataclass

from mnas_search.common.render.pages import Table
from mnas_search.common.units import format_size
from mnas_search.experiments.search.report.tables import candidates, with_margin
from mnas_search.experiments.search.result import Result
from mnas_search.experiments.search.stages.baseline_comparison import (
    TRAININGS,
    BaselineComparison,
    Improvement,
)
from mnas_search.experiments.search.stages.held_out import HeldOutTest

MARGIN = "± is half the width of a 95 % interval"


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """What to use: the winner, or a baseline; all networks that were compared; and notes on the
    other comparisons and the method."""

    sentence: str
    networks: Table
    notes: tuple[str, ...]


def comparison(result: Result) -> Comparison | None:
    """Return the comparison of a run that trained on data; None for other runs."""
    verdict, test = result.comparison, result.test
    if verdict is None or test is None:
        return None
    return Comparison(
        sentence=f"{_advice(verdict)}{_tested(verdict, test)}",
        networks=candidates(verdict, test),
        notes=(*map(_against, verdict.improvements), *_method(verdict)),
    )


def _advice(verdict: BaselineComparison) -> str:
    """Return `use the winner, trial 3`, or `use B0`, and why."""
    chosen, winner = verdict.recommended, verdict.winner
    assert chosen is not None
    if chosen == winner:
        return f"use the winner, {chosen.label} ({format_size(chosen.macs)} FLOPs)"
    use = f"use {chosen.label} ({format_size(chosen.macs)} FLOPs), a baseline"
    if winner is None:
        return f"{use}: none of the best candidates could be trained"
    if chosen.mean < winner.mean:
        use += f" that is as good and {'is pretrained' if chosen.weights else 'has fewer FLOPs'}"
    return (
        f"{use}: its validation accuracy is {with_margin(chosen.mean, verdict.margin)}, and the "
        f"winner's {with_margin(winner.mean, verdict.margin)}"
    )


def _tested(verdict: BaselineComparison, test: HeldOutTest) -> str:
    """Return the recommended network's test accuracy and its lead over the best baseline."""
    if (found := test.of(verdict.recommended)) is None:
        return ""
    accuracy = found.accuracy
    said = f"; on the test split it has {with_margin(accuracy.value, accuracy.margin)}"
    if (difference := test.difference) is None or (best := verdict.best_baseline) is None:
        return said
    points = _points(difference.value, difference.margin)
    return f"{said}, {points} compared with {best.label}, the best baseline"


def _against(gain: Improvement) -> str:
    name, word = gain.over.label, "beats" if gain.shown else "does not beat"
    if gain.over.trial is not None:
        name = "the best of a random search with as many trials"
    points = _points(gain.difference, gain.margin)
    return f"on the validation split, the winner {word} {name}: the difference is {points}"


def _points(difference: float, margin: float) -> str:
    return f"{100 * difference:+.2f} ± {100 * margin:.2f} points"


def _method(verdict: BaselineComparison) -> Iterator[str]:
    yield (
        f"the {len(verdict.candidates)} best candidates of the search and the baselines, scaled "
        f"in width to the target, were trained {TRAININGS} times each under the same proxy, with "
        "seeds that the search did not use; the candidate with the largest reward by its mean "
        "validation accuracy is the winner"
    )
    yield (
        "recommended is the largest mean validation accuracy among the winner and the baselines; "
        "of networks within the interval of the largest, a pretrained one, else the one with the "
        "fewest FLOPs"
    )
    yield (
        "after this choice, the recommended network and the best baseline were trained "
        f"{TRAININGS} times more and tested; no other network has seen the test split"
    )
    yield (
        f"{MARGIN}: Student's over seeds on the validation split, over seeds and images on the "
        "test split; in differences to the winner, each seed's winner is chosen by the other seeds"
    )
