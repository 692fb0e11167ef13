"""Agreement of proxies with a reference, beside that of rankings by cost alone.

Tau is Kendall's tau-b of one training's accuracies, which is what a search sees, against the mean
over the reference's seeds, averaged over the proxy's seeds. Intervals are bootstraps over the
networks; a difference is taken on the same samples.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from mnas_search.common.statistics import (
    Interval,
    Pairs,
    TauBootstrap,
    Values,
    leave_pair_out,
    order,
    pair_count,
    pooled_std,
    quantile_groups,
    same,
    sample_std,
)
from mnas_search.experiments.fidelity.config import MIN_ARCHITECTURES
from mnas_search.experiments.fidelity.plan import ComparedRecipe, Plan, Records, Reference
from mnas_search.experiments.fidelity.trainings import Trainings
from mnas_search.nas.evaluator import SupportsSpace

_QUARTILES = 4
FIT = "linear fit"  # of log MACs and log params


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How well a ranking agrees with the reference's."""

    tau: Interval | None  # over all pairs of networks; None where undefined (all values equal)
    networks: int  # in `tau`, the fewest of all seeds
    within_quartiles: Interval | None  # tau over pairs in one quartile of multiply-adds
    pairs: int  # in `within_quartiles`, the fewest of all seeds


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """The cost and spread of the trainings by one recipe."""

    # median of a training on its worker, or their mean where one training serves all networks;
    # None without trainings
    seconds: float | None
    # trained, failed: numbers of trainings
    trained: int
    failed: int
    # pooled standard deviation between seeds of one network; None with one seed
    noise: float | None
    spread: float | None  # standard deviation between networks, of means over seeds


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """A proxy against one reference."""

    recipe: ComparedRecipe
    effort: Effort
    one: Agreement  # agreement of one training
    mean: Interval | None  # tau of the mean over its seeds; None with one seed
    difference: Interval | None  # tau minus the best baseline's, on the same networks


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All proxies, in the plan's order, against one reference."""

    reference: Reference
    values: Values  # the reference's accuracies, means over seeds [N]; NaN where missing
    effort: Effort | None  # of the reference's trainings; None where its accuracies were recorded
    # tau of one seed against the mean of the others; None with fewer than two seeds
    ceiling: Interval | None
    baselines: dict[str, Agreement]  # agreement of rankings by cost, by name
    proxies: tuple[Proxy, ...]
    target: float  # the tau that a proxy should reach

    @property
    def networks(self) -> int:
        """Number of networks that have a reference."""
        return int(np.isfinite(self.values).sum())

    @property
    def noise(self) -> float | None:
        """Standard deviation between the reference's seeds, measured or recorded."""
        if isinstance(self.reference, Records):
            return self.reference.results.std
        return None if self.effort is None else self.effort.noise

    @property
    def spread(self) -> float | None:
        """Standard deviation between networks."""
        return sample_std(self.values)

    @property
    def best_baseline(self) -> str | None:
        """The baseline with the largest tau; None where all are undefined."""
        return _largest(self.baselines)

    @property
    def best(self) -> Proxy | None:
        """The proxy with the largest tau; None where all are undefined."""
        known = [p for p in self.proxies if p.one.tau is not None]
        return max(known, key=_tau, default=None)

    @property
    def cheapest(self) -> Proxy | None:
        """The fastest proxy that reaches the target; None where none does."""
        reaching = [p for p in self.proxies if p.one.tau is not None and _tau(p) >= self.target]
        return min(reaching, key=lambda p: p.effort.seconds or 0.0, default=None)


def compare(plan: Plan, trainings: Trainings, target: float) -> tuple[Comparison, ...]:
    """Compare the plan's proxies with each of its references, by the trainings so far. References
    of fewer than four networks are left out."""
    compared = (_compare(plan, trainings, reference, target) for reference in plan.references)
    return tuple(comparison for comparison in compared if comparison is not None)


def _compare(
    plan: Plan, trainings: Trainings, reference: Reference, target: float
) -> Comparison | None:
    if isinstance(reference, Records):
        repeats, effort = reference.accuracy[:, None], None
    else:
        repeats, effort = trainings.accuracies(reference), _effort(trainings, reference)
    values = _means(repeats)
    there = np.flatnonzero(np.isfinite(values))
    if len(there) < MIN_ARCHITECTURES:
        return None
    macs = np.log([plan.costs[i].macs for i in there])
    params = np.log([plan.costs[i].params for i in there])
    truth = order(values[there])
    bootstrap, quartile = TauBootstrap(len(there)), same(quantile_groups(macs, _QUARTILES))
    orders = {
        "MACs": order(macs),
        "params": order(params),
        FIT: leave_pair_out(np.column_stack([macs, params]), values[there]),
    }
    baselines = {
        name: _agreement(bootstrap, [(pairs, truth)], quartile) for name, pairs in orders.items()
    }
    best = _largest(baselines)
    proxies = []
    for recipe in plan.proxies:
        own = trainings.accuracies(recipe)[there]
        pairs = [(order(column), truth) for column in own.T]
        proxies.append(
            Proxy(
                recipe=recipe,
                effort=_effort(trainings, recipe),
                one=_agreement(bootstrap, pairs, quartile),
                mean=bootstrap.tau([(order(_means(own)), truth)]) if own.shape[1] > 1 else None,
                difference=None if best is None else _difference(bootstrap, pairs, orders[best]),
            )
        )
    return Comparison(
        reference=reference,
        values=values,
        effort=effort,
        ceiling=bootstrap.tau(_against_itself(repeats[there])),
        baselines=baselines,
        proxies=tuple(proxies),
        target=target,
    )


def _effort(trainings: Trainings, recipe: ComparedRecipe) -> Effort:
    finished = [t for row in trainings.of(recipe) for t in row if t is not None]
    seconds = [t.seconds for t in finished if t.accuracy is not None]
    values = trainings.accuracies(recipe)
    typical = np.mean if isinstance(recipe.evaluator, SupportsSpace) else np.median
    return Effort(
        seconds=float(typical(seconds)) if seconds else None,
        trained=len(seconds),
        failed=len(finished) - len(seconds),
        noise=pooled_std(values),
        spread=sample_std(_means(values)),
    )


def _agreement(
    bootstrap: TauBootstrap, pairs: Sequence[tuple[Pairs, Pairs]], quartile: NDArray[np.bool_]
) -> Agreement:
    networks = [int((~np.isnan(np.diag(one + two))).sum()) for one, two in pairs]
    return Agreement(
        tau=bootstrap.tau(pairs),
        networks=min(networks),
        within_quartiles=bootstrap.tau(pairs, quartile),
        pairs=min(pair_count(one, two, quartile) for one, two in pairs),
    )


def _difference(
    bootstrap: TauBootstrap, pairs: Sequence[tuple[Pairs, Pairs]], baseline: Pairs
) -> Interval | None:
    """Return the mean tau of pairs of orders minus the baseline's, on the same networks."""
    theirs = [(baseline, np.where(np.isnan(one), np.nan, two)) for one, two in pairs]
    return bootstrap.difference(pairs, theirs)


def _against_itself(repeats: Values) -> list[tuple[Pairs, Pairs]]:
    """Pair each seed with the mean of the others [N, S]; return no pair with one seed."""
    if repeats.shape[1] < 2:
        return []
    return [
        (order(column), order(_means(np.delete(repeats, k, axis=1))))
        for k, column in enumerate(repeats.T)
    ]


def _means(values: Values) -> Values:
    """Return the means of rows without NaN [N]; NaN for rows of nothing else."""
    means: Values = np.ma.masked_invalid(values).mean(axis=1).filled(np.nan)
    return means


def _tau(proxy: Proxy) -> float:
    assert proxy.one.tau is not None
    return proxy.one.tau.value


def _largest(baselines: dict[str, Agreement]) -> str | None:
    known = {name: a.tau.value for name, a in baselines.items() if a.tau is not None}
    return max(known, key=lambda name: known[name], default=None)
