"""The winner of a search by predictions, beside EfficientNet-B0: how it was chosen."""

from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

from mnas_search.architecture.stage import Stage
from mnas_search.common.render.pages import Table
from mnas_search.experiments.search.report.tables import finalists, stages
from mnas_search.experiments.search.result import Result
from mnas_search.experiments.search.stages.finalist_check import TRAININGS, VETO, Finalist
from mnas_search.nas.evaluator import SupportsLabel
from mnas_search.nas.space.choices import sample
from mnas_search.nas.space.contract import SearchSpace, StagewiseSpace

UNMEASURED = (
    "accuracies are predictions, not measurements; full trainings may order the networks otherwise"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """The choice of the winner, for readers.

    Attributes:
        networks: finalists, best first, and the baseline.
        stages: winner and baseline stage by stage; None without both.
        said: what was searched, how the winner was chosen, what was not measured.
    """

    networks: Table
    stages: Table | None
    said: tuple[str, ...]


def discovery(result: Result) -> Discovery | None:
    """Return how a search by predictions chose its winner; None for other searches."""
    winner, baseline = result.opinion, result.baseline
    if winner is None:
        return None
    return Discovery(
        networks=finalists(result, [*result.finalists, *([baseline] if baseline else [])]),
        stages=None if baseline is None else stages(winner, baseline),
        said=(*_decisions(result), *_chosen(result, winner), UNMEASURED),
    )


def _decisions(result: Result) -> Iterator[str]:
    searched, fixed = searched_and_fixed(result.space)
    if searched:
        yield (
            f"searched for each stage: {', '.join(searched)}; fixed by the space: "
            f"{', '.join(fixed)}, stem, head"
        )


def searched_and_fixed(space: SearchSpace) -> tuple[list[str], list[str]]:
    """Return the fields of a stage that the space leaves open, and those that it fixes."""
    import numpy as np

    if not isinstance(space, StagewiseSpace):
        return [], []
    rng = np.random.default_rng(0)
    seen: dict[tuple[int, str], set[Any]] = {}
    for _ in range(100):
        choices = sample(space.decisions, rng)
        for index in range(len(space.stage_decisions)):
            stage = space.stage(index, choices)
            for field in fields(Stage):
                value = getattr(stage, field.name)
                seen.setdefault((index, field.name), set()).add(value)
    names = [field.name for field in fields(Stage)]
    # A depthwise stage is an inverted bottleneck of expansion 1: no choice of its own.
    open_ = {name for (_, name), values in seen.items() if len(values) > 1} - {"kind"}
    hidden = {"kind", "activation", "skip"} - open_
    return [n for n in names if n in open_], [n for n in names if n not in open_ | hidden]


def _chosen(result: Result, winner: Finalist) -> Iterator[str]:
    yield f"the search optimized {evaluator_name(result.evaluator)}"
    yield (
        f"of the {len(result.finalists)} candidates with the largest rewards, the winner has the "
        f"largest reward by {evaluator_name(result.check)}"
    )
    if winner.trainings:
        yield (
            f"trained: accuracies of {TRAININGS} short trainings on small images, a sanity check: "
            f"a finalist that fails or stays below {VETO:g} of the baseline's accuracy is "
            f"disqualified ({len(result.vetoed)} of {len(result.finalists)} were), and none is "
            "promoted"
        )
    yield from against_baseline(result)


def against_baseline(result: Result) -> Iterator[str]:
    """Yield the difference of the rewards of winner and baseline, where both have deviations."""
    winner, baseline = result.opinion, result.baseline
    if winner is None or baseline is None:
        return
    if winner.checked.std and baseline.checked.std:
        gain = winner.reward - baseline.reward
        std = (winner.checked.std**2 + baseline.checked.std**2) ** 0.5
        word = "higher" if gain >= 0 else "lower"
        yield (
            f"by the check, the winner's reward is {abs(gain):.4f} {word} than "
            f"{baseline.network.label}'s (standard deviation of the difference: {std:.4f})"
        )


def accuracy_label(evaluator: Any) -> str:
    """Return what the accuracies are, where the evaluator says it."""
    return evaluator.label if isinstance(evaluator, SupportsLabel) else "accuracy"


def evaluator_name(evaluator: Any) -> str:
    """Return what an evaluator says its accuracies are, else its class."""
    return evaluator.label if isinstance(evaluator, SupportsLabel) else type(evaluator).__name__
