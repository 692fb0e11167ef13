"""A winner by predictions beside EfficientNet-B0: what was found, and what decided.

One structure, `discovery`, which the console and the page of a run both draw.
"""

from dataclasses import dataclass, fields
from typing import Any

from mnas_search.architecture.stage import Stage
from mnas_search.architecture.value import Architecture
from mnas_search.common.units import format_size
from mnas_search.experiments.search.result import Result
from mnas_search.experiments.search.stages.finalist_check import TRAININGS, VETO, Finalist
from mnas_search.nas.evaluator import SupportsLabel
from mnas_search.nas.space.choices import sample
from mnas_search.nas.space.contract import SearchSpace, StagewiseSpace

Table = tuple[tuple[str, ...], list[tuple[str, ...]]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Discovery:
    """What a reader is shown.

    Attributes:
        networks: header and rows: finalists, best first, and the baseline.
        stages: header and rows: winner and baseline stage by stage; None without both.
        said: what was searched, what decided, what was not shown.
    """

    networks: Table
    stages: Table | None
    said: tuple[str, ...]


def discovery(result: Result) -> Discovery | None:
    """The story of a search by predictions; None for other searches."""
    winner = result.opinion
    if winner is None:
        return None
    return Discovery(
        networks=_networks(result),
        stages=None if result.baseline is None else _stages(winner, result.baseline),
        said=(*_decisions(result), *_decided(result, winner), *_not_shown(result)),
    )


def _networks(result: Result) -> Table:
    header = ("", "searched by", "checked by", "reward (check)", "FLOPs", "params", "trained")
    rows = [
        (_label(one, result), *_figures(one))
        for one in (*result.finalists, *([] if result.baseline is None else [result.baseline]))
    ]
    return header, rows


def _label(one: Finalist, result: Result) -> str:
    if one.trial is None:
        costs = result.cost_model.costs(one.network)
        within, count = result.objective.is_feasible(costs), result.objective.target_cost(costs)
        what = "the target" if count > result.objective.target else "the limits"
        return f"{one.network.label}" + ("" if within else f", over {what}")
    name = f"trial {one.trial.number}"
    if one in result.vetoed:
        return f"{name}, vetoed"
    return f"{name}, winner" if one == result.opinion else name


def _figures(one: Finalist) -> tuple[str, ...]:
    trainings = " ".join("failed" if a is None else f"{a:.3f}" for a in one.trainings)
    return (
        with_std(one.searched.accuracy, one.searched.std),
        with_std(one.checked.accuracy, one.checked.std),
        f"{one.reward:.4f}",
        format_size(one.macs),
        format_size(one.params),
        trainings or "-",
    )


def with_std(accuracy: float, std: float | None) -> str:
    """An accuracy, with its standard deviation where it is known."""
    return f"{accuracy:.4f}" if std is None else f"{accuracy:.4f} ± {std:.4f}"


def _stages(winner: Finalist, baseline: Finalist) -> Table | None:
    one, two = winner.network, baseline.network
    if not (isinstance(one, Architecture) and isinstance(two, Architecture)):
        return None
    rows = []
    for index in range(max(len(one.stages), len(two.stages))):
        pair = [a.stages[index] if index < len(a.stages) else None for a in (one, two)]
        rows.append(
            (
                str(index),
                *(_stage(stage) for stage in pair),
                "same" if pair[0] == pair[1] else "other",
            )
        )
    return ("stage", "winner", baseline.network.label, ""), rows


def _stage(stage: Stage | None) -> str:
    if stage is None:
        return "-"
    squeeze = f", SE {stage.se_ratio:g}" if stage.se_ratio else ""
    return (
        f"{stage.repeats} x {stage.kind} {stage.kernel}x{stage.kernel}, expansion "
        f"{stage.expansion:g}{squeeze}, {stage.out_channels} channels, stride {stage.stride}"
    )


def _decisions(result: Result) -> tuple[str, ...]:
    searched, fixed = searched_and_fixed(result.space)
    if not searched:
        return ()
    return (
        f"searched, stage by stage: {', '.join(searched)}; fixed beforehand, and so not "
        f"discovered: {', '.join(fixed)}, stem, head",
    )


def searched_and_fixed(space: SearchSpace) -> tuple[list[str], list[str]]:
    """What of a stage the space leaves open, and what it fixes."""
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


def _decided(result: Result, winner: Finalist) -> tuple[str, ...]:
    said = [
        f"the search was told accuracies by {evaluator_name(result.evaluator)}",
        f"the winner among the {len(result.finalists)} largest rewards was chosen by "
        f"{evaluator_name(result.check)}",
    ]
    if winner.trainings:
        said.append(
            f"trained: accuracies of {TRAININGS} short trainings on small images each, as a "
            f"check that the networks train; below {VETO:g} of the baseline's, or failing, a "
            f"finalist is vetoed ({len(result.vetoed)} of {len(result.finalists)} were); they "
            "chose nothing"
        )
    if result.baseline is not None and winner.checked.std and result.baseline.checked.std:
        gain = winner.reward - result.baseline.reward
        std = (winner.checked.std**2 + result.baseline.checked.std**2) ** 0.5
        word = "more" if gain >= 0 else "less"
        said.append(
            f"by the check, the winner's reward is {abs(gain):.4f} {word} than "
            f"{result.baseline.network.label}'s; one standard deviation of that is {std:.4f}"
        )
    return tuple(said)


def _not_shown(result: Result) -> tuple[str, ...]:
    return (
        "not shown: accuracies are predictions, none was measured for these networks; what a full "
        "training would give, and whether it keeps the order, was not tried",
    )


def evaluator_name(evaluator: Any) -> str:
    """What an evaluator says its figures are, else its class."""
    return evaluator.label if isinstance(evaluator, SupportsLabel) else type(evaluator).__name__
