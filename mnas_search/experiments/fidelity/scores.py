"""Agreement of proxies with a reference, beside what counting alone agrees.

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
from mnas_search.experiments.fidelity.plan import ComparedRecipe, Plan, Records
from mnas_search.experiments.fidelity.trainings import Trainings

_QUARTILES = 4
FIT = "linear fit"  # of log MACs and log params


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """How well something ranks.

    Attributes:
        tau: over all pairs of networks; None where undefined (all values equal).
        within: over pairs in one quartile of multiply-adds.
        networks, pairs: how many are in `tau`, and in `within` (the fewest of all seeds).
    """

    tau: Interval | None
    within: Interval | None
    networks: int
    pairs: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Effort:
    """What trainings by one recipe took and how far apart they were.

    Attributes:
        seconds: of a training, on its worker, the median; None where there is none.
        trained, failed: how many.
        noise: pooled standard deviation between seeds of one network; None with one seed.
        spread: standard deviation between networks, of means over seeds.
    """

    seconds: float | None
    trained: int
    failed: int
    noise: float | None
    spread: float | None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Proxy:
    """A proxy against one reference.

    Attributes:
        recipe: which.
        effort: of its trainings.
        one: agreement of one training.
        mean: tau of the mean over its seeds; None with one seed.
        difference: tau less the best baseline's, on the same networks.
    """

    recipe: ComparedRecipe
    effort: Effort
    one: Agreement
    mean: Interval | None
    difference: Interval | None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """All proxies against one reference.

    Attributes:
        reference: which.
        values: its accuracies, means over seeds [N]; NaN where missing.
        effort: of its trainings; None where it was recorded.
        noise: between its seeds, measured or recorded.
        spread: standard deviation between networks.
        ceiling: tau of one seed against the mean of the others; None where it was recorded or has
            one seed.
        baselines: by name, what counting alone agrees.
        proxies: in the plan's order.
        target: the tau that is asked for.
    """

    reference: ComparedRecipe | Records
    values: NDArray[np.float64]
    effort: Effort | None
    noise: float | None
    spread: float | None
    ceiling: Interval | None
    baselines: dict[str, Agreement]
    proxies: tuple[Proxy, ...]
    target: float

    @property
    def networks(self) -> int:
        """How many have a reference."""
        return int(np.isfinite(self.values).sum())

    @property
    def best_baseline(self) -> str | None:
        """The one with the largest tau; None where all are undefined."""
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
    """Compare the plan's proxies with each of its references, by the trainings so far.

    References of fewer than four networks are left out.
    """
    compared = (_compare(plan, trainings, reference, target) for reference in plan.references)
    return tuple(c for c in compared if c.networks >= MIN_ARCHITECTURES)


def effort_of(trainings: Trainings, recipe: ComparedRecipe) -> Effort:
    """Summarise a recipe's trainings."""
    done = [t for row in trainings.of(recipe) for t in row if t is not None]
    good = [t.seconds for t in done if t.accuracy is not None]
    values = trainings.accuracies(recipe)
    return Effort(
        seconds=float(np.median(good)) if good else None,
        trained=len(good),
        failed=len(done) - len(good),
        noise=pooled_std(values),
        spread=sample_std(_means(values)),
    )


def _compare(
    plan: Plan, trainings: Trainings, reference: ComparedRecipe | Records, target: float
) -> Comparison:
    if isinstance(reference, Records):
        repeats, effort, noise = reference.accuracy[:, None], None, reference.std
    else:
        repeats, effort = trainings.accuracies(reference), effort_of(trainings, reference)
        noise = effort.noise
    values = _means(repeats)
    there = np.flatnonzero(np.isfinite(values))
    spread = sample_std(values)
    if len(there) < MIN_ARCHITECTURES:
        return Comparison(
            reference=reference,
            values=values,
            effort=effort,
            noise=noise,
            spread=spread,
            ceiling=None,
            baselines={},
            proxies=(),
            target=target,
        )
    macs = np.log([plan.costs[i].macs for i in there])
    params = np.log([plan.costs[i].params for i in there])
    truth = order(values[there])
    bootstrap, quartile = TauBootstrap(len(there)), same(quantile_groups(macs, _QUARTILES))
    counted = {
        "MACs": order(macs),
        "params": order(params),
        FIT: leave_pair_out(np.column_stack([macs, params]), values[there]),
    }
    baselines = {
        name: _agreement(bootstrap, [(pairs, truth)], quartile) for name, pairs in counted.items()
    }
    best = _largest(baselines)
    proxies = []
    for recipe in plan.proxies:
        own = trainings.accuracies(recipe)[there]
        pairs = [(order(column), truth) for column in own.T]
        proxies.append(
            Proxy(
                recipe=recipe,
                effort=effort_of(trainings, recipe),
                one=_agreement(bootstrap, pairs, quartile),
                mean=bootstrap.tau([(order(_means(own)), truth)]) if own.shape[1] > 1 else None,
                difference=None if best is None else _difference(bootstrap, pairs, counted[best]),
            )
        )
    return Comparison(
        reference=reference,
        values=values,
        effort=effort,
        noise=noise,
        spread=spread,
        ceiling=bootstrap.tau(_against_itself(repeats[there])),
        baselines=baselines,
        proxies=tuple(proxies),
        target=target,
    )


def _agreement(
    bootstrap: TauBootstrap, pairs: Sequence[tuple[Pairs, Pairs]], quartile: NDArray[np.bool_]
) -> Agreement:
    """Return the agreement over all pairs of networks, and within quartiles."""
    networks = [int((~np.isnan(np.diag(one + two))).sum()) for one, two in pairs]
    return Agreement(
        tau=bootstrap.tau(pairs),
        within=bootstrap.tau(pairs, quartile),
        networks=min(networks),
        pairs=min(pair_count(one, two, quartile) for one, two in pairs),
    )


def _difference(
    bootstrap: TauBootstrap, pairs: Sequence[tuple[Pairs, Pairs]], baseline: Pairs
) -> Interval | None:
    """Return the mean tau of pairs of orders minus the baseline's, on the same networks."""
    theirs = [(baseline, np.where(np.isnan(one), np.nan, two)) for one, two in pairs]
    return bootstrap.difference(pairs, theirs)


def _against_itself(repeats: Values) -> list[tuple[Pairs, Pairs]]:
    """Each seed against the mean of the others [N, S]; nothing with one seed."""
    if repeats.shape[1] < 2:
        return []
    return [
        (order(column), order(_means(np.delete(repeats, k, axis=1))))
        for k, column in enumerate(repeats.T)
    ]


def _means(values: Values) -> Values:
    """Means of rows, NaN left out; NaN for rows without any."""
    there = np.isfinite(values)
    count = there.sum(axis=1)
    total = np.where(there, values, 0.0).sum(axis=1)
    means: Values = np.where(count > 0, total / np.maximum(count, 1), np.nan)
    return means


def _tau(proxy: Proxy) -> float:
    assert proxy.one.tau is not None
    return proxy.one.tau.value


def _largest(baselines: dict[str, Agreement]) -> str | None:
    known = {name: a.tau.value for name, a in baselines.items() if a.tau is not None}
    return max(known, key=lambda name: known[name], default=None)
