"""The search for alpha, beta and gamma at phi = 1 (EfficientNet section 3.3, step 1).

Every triple of a grid with alpha * beta^2 * gamma^2 near 2 scales the base to one network, which
is trained with several seeds. The paper's result on ImageNet, (1.2, 1.1, 1.15), is always included
and stays the choice unless another triple is better by more than a standard error: with few and
short trainings the largest mean is mostly luck.
"""

import itertools
from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

from mnas_search.architecture.cost.base import Cost
from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.scaling.equations import CompoundRule, Rounding, compound_or_none
from mnas_search.architecture.scaling.limits import Limit
from mnas_search.architecture.value import Architecture
from mnas_search.common.checks import check_number
from mnas_search.common.errors import UsageError
from mnas_search.experiments.scaling.measured import MeasuredAccuracies

PAPER = CompoundRule()
_MAX_TRIPLES = 1000
_EXACT = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class GridConfig:
    """The grid of triples."""

    step: float = 0.1  # between values of alpha, of beta and of gamma, which start at 1
    tolerance: float = 0.1  # largest deviation of alpha * beta^2 * gamma^2 from 2

    def __post_init__(self) -> None:
        check_number("grid step", self.step, "[0.01, 1]")
        check_number("tolerance", self.tolerance, "(0, 1]")


@dataclass(frozen=True, slots=True, kw_only=True)
class Triple:
    """A triple with the network that it makes of the base at phi = 1."""

    rule: CompoundRule
    network: Architecture

    @property
    def cost(self) -> Cost:
        """The network's cost."""
        return cost(self.network)


def triples(config: GridConfig) -> tuple[CompoundRule, ...]:
    """Return the grid's triples near the constraint of equation (3), the paper's own first. Raises
    `UsageError` if the grid has none, or more than a thousand."""
    values = [round(1 + n * config.step, 9) for n in range(int(1 / config.step + _EXACT) + 1)]
    near = [
        rule
        for a, b, c in itertools.product(values, values, values)
        if abs((rule := CompoundRule(alpha=a, beta=b, gamma=c)).product - 2)
        <= config.tolerance + _EXACT
    ]
    if not near or len(near) > _MAX_TRIPLES:
        raise UsageError(
            f"a grid must have 1 to {_MAX_TRIPLES} triples with alpha * beta^2 * gamma^2 within "
            f"{config.tolerance:g} of 2, got {len(near)} for step {config.step:g}"
        )
    return tuple(dict.fromkeys([PAPER, *near]))


def candidates(
    base: Architecture,
    config: GridConfig,
    limits: Sequence[Limit] = (),
    rounding: Rounding | None = None,
) -> tuple[tuple[Triple, ...], int]:
    """Return the networks to train, and the number of triples beyond a limit. Raises `UsageError`
    if none is left."""
    rules = triples(config)
    kept = [
        Triple(rule=rule, network=network)
        for rule in rules
        if (network := compound_or_none(base, 1, rule, rounding)) is not None
        and all(limit.is_met(network) for limit in limits)
    ]
    dropped = len(rules) - len(kept)
    if not kept:
        raise UsageError(
            f"none of {dropped} triples is within the limits ("
            + ", ".join(f"{limit.name} {limit.maximum:g}" for limit in limits)
            + ")"
        )
    return tuple(kept), dropped


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """The choice of a triple by the trainings."""

    candidates: tuple[Triple, ...]  # best mean first; those whose trainings all failed last
    scores: MeasuredAccuracies
    error: float  # standard error of the best mean
    equals: tuple[Triple, ...]  # candidates within one standard error of the best
    chosen: Triple  # the paper's triple if it is among the equals, else the best

    @property
    def separable(self) -> bool:
        """Whether any triple stands out: not all are within a standard error of the best."""
        return len(self.equals) < len(self.candidates)

    @property
    def paper(self) -> Triple | None:
        """The paper's triple; None where it breaks a limit."""
        return next((one for one in self.candidates if one.rule == PAPER), None)

    @property
    def beaten(self) -> bool:
        """Whether the paper's triple is worse than the best by more than a standard error."""
        return self.paper is None or self.paper not in self.equals


def choose(tried: Sequence[Triple], scores: MeasuredAccuracies) -> Choice:
    """Rank the candidates and choose."""

    def mean(one: Triple) -> float:
        value = scores.mean(one.network)
        return -1.0 if value is None else value

    ranked = tuple(sorted(tried, key=mean, reverse=True))
    best = ranked[0]
    error = scores.error(best.network) or 0.0
    equals = tuple(one for one in ranked if mean(one) >= mean(best) - error)
    chosen = next((one for one in equals if one.rule == PAPER), best)
    return Choice(candidates=ranked, scores=scores, error=error, equals=equals, chosen=chosen)
