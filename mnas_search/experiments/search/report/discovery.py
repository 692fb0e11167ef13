"""How a search by predictions chose its winner, beside EfficientNet-B0."""

from collections import defaultdict
from collections.abc import Iterator
from dataclasses import dataclass, fields
from typing import Any

import numpy as np

from mnas_search.architecture.stage import Stage
from mnas_search.common.render.pages import Table
from mnas_search.common.statistics import normal_margin
from mnas_search.experiments.search.report.tables import finalists, stages
from mnas_search.experiments.search.result import Result
from mnas_search.experiments.search.stages.finalist_check import TRAININGS, VETO, Finalist
from mnas_search.nas.evaluator import Evaluator, label_of
from mnas_search.nas.space.choices import sample
from mnas_search.nas.space.contract import StagewiseSpace

UNMEASURED = (
    "accuracies are predictions, not measurements; full trainings may order the networks otherwise"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """The finalists, best first, and the baseline; winner and baseline stage by stage, if both
    have stages; and notes on what was searched, how the winner was chosen, what was not measured.
    """

    networks: Table
    stages: Table | None
    notes: tuple[str, ...]


def discovery(result: Result) -> Discovery | None:
    """Return how a search by predictions chose its winner; None for other searches."""
    winner, baseline = result.opinion, result.baseline
    if winner is None:
        return None
    return Discovery(
        networks=finalists(result, result.finalists + ((baseline,) if baseline else ())),
        stages=None if baseline is None else stages(winner, baseline),
        notes=(*_decisions(result), *_chosen(result, winner), UNMEASURED),
    )


def _decisions(result: Result) -> Iterator[str]:
    if not isinstance(result.space, StagewiseSpace):
        return
    searched = _searched_fields(result.space)
    hidden = {"kind", "activation", "skip"}
    names = [field.name for field in fields(Stage)]
    fixed = [name for name in names if name not in searched | hidden]
    if searched:
        yield (
            f"searched for each stage: {', '.join(n for n in names if n in searched)}; fixed by "
            f"the space: {', '.join(fixed)}, stem, head"
        )


def _searched_fields(space: StagewiseSpace) -> set[str]:
    """Return the fields of a stage that differ between random networks of a space."""
    rng = np.random.default_rng(0)
    seen: dict[tuple[int, str], set[Any]] = defaultdict(set)
    for _ in range(100):
        choices = sample(space.decisions, rng)
        for index in range(len(space.stage_decisions)):
            stage = space.stage(index, choices)
            for field in fields(Stage):
                seen[index, field.name].add(getattr(stage, field.name))
    # A depthwise stage is an inverted bottleneck of expansion 1: no choice of its own.
    return {name for (_, name), values in seen.items() if len(values) > 1} - {"kind"}


def _chosen(result: Result, winner: Finalist) -> Iterator[str]:
    yield f"the search optimized {evaluator_label(result.evaluator)}"
    yield (
        f"of the {len(result.finalists)} candidates with the largest rewards, the winner has the "
        f"largest reward by {evaluator_label(result.check)}"
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
    """Yield the difference of the rewards of winner and baseline, with its 95 % interval, where
    both have deviations."""
    winner, baseline = result.opinion, result.baseline
    if winner is None or baseline is None:
        return
    if winner.checked.std and baseline.checked.std:
        gain = winner.reward - baseline.reward
        std = (winner.checked.std**2 + baseline.checked.std**2) ** 0.5
        yield (
            f"by the check, the winner's reward less {baseline.network.label}'s is {gain:+.4f} ± "
            f"{normal_margin(std):.4f} (95 % interval)"
        )


def evaluator_label(evaluator: Evaluator | None, default: str | None = None) -> str:
    """Return what an evaluator says its accuracies are, else the default or its class's name."""
    if evaluator is not None and (label := label_of(evaluator)) is not None:
        return label
    return type(evaluator).__name__ if default is None else default
