"""How far the members of a prior, the prior, counts and real trainings agree on the order of
networks: Kendall's tau with bootstrap intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import combinations
from typing import final

import numpy as np

from mnas_search.architecture.cost.count import blocks, cost
from mnas_search.architecture.traced_network import Network
from mnas_search.common.statistics import Interval, Pairs, TauBootstrap, Values, order

MIN_TRAINED = 4  # networks for a rank correlation
_RESAMPLES = 2_000
MEMBER, PRIOR = "another member", "the prior"
COUNTS = ("FLOPs", "parameters", "blocks")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Ranking:
    """One way to rank networks.

    Attributes:
        name: `MEMBER`, `PRIOR` or a count.
        readings: tau with the readings of one member, on average over the members.
        trainings: tau with the accuracies of the networks trained so far.
    """

    name: str
    readings: Interval | None = None
    trainings: Interval | None = None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """The agreement of all rankings.

    Attributes:
        members, read: numbers of members, and of networks that each has read.
        trained: number of networks that were trained so far.
        rankings: the members among themselves, the prior, then the counts.
        best_count: with the largest tau with the trainings; None below four of them.
        difference: the prior's tau with the trainings less the best count's.
    """

    members: int
    read: int
    trained: int
    rankings: tuple[Ranking, ...]
    best_count: str | None
    difference: Interval | None


def agree(
    log_likelihoods: Values,
    read: Sequence[Network],
    trained: Sequence[Network],
    accuracies: Sequence[float],
    predicted: Values,
) -> Agreement:
    """Compare rankings on the networks that were read, and on those that were trained.

    Args:
        log_likelihoods: readings, a row a member [K, N], of the networks `read`.
        accuracies: of the networks `trained` [M].
        predicted: the prior's, of the same [M].
    """
    readings = _with_readings(log_likelihoods, read)
    trainings, best, difference = _with_trainings(trained, accuracies, predicted)
    rankings = [
        Ranking(name=name, readings=readings.get(name), trainings=trainings.get(name))
        for name in (MEMBER, PRIOR, *COUNTS)
    ]
    return Agreement(
        members=len(log_likelihoods),
        read=len(read),
        trained=len(trained),
        rankings=tuple(rankings),
        best_count=best,
        difference=difference,
    )


def _with_readings(rows: Values, networks: Sequence[Network]) -> dict[str, Interval | None]:
    if len(networks) < MIN_TRAINED:
        return {}
    bootstrap, orders = TauBootstrap(len(networks), count=_RESAMPLES), [order(row) for row in rows]
    pairs = {name: [(own, one) for one in orders] for name, own in _counts(networks).items()}
    pairs[MEMBER] = list(combinations(orders, 2))
    return {name: bootstrap.tau(some) for name, some in pairs.items()}


def _with_trainings(
    networks: Sequence[Network], accuracies: Sequence[float], predicted: Values
) -> tuple[dict[str, Interval | None], str | None, Interval | None]:
    if len(networks) < MIN_TRAINED:
        return {}, None, None
    bootstrap, truth = TauBootstrap(len(networks)), order(np.array(accuracies))
    orders = {PRIOR: order(predicted), **_counts(networks)}
    taus = {name: bootstrap.tau([(own, truth)]) for name, own in orders.items()}
    best = _best_count(taus)
    if best is None:
        return taus, None, None
    difference = bootstrap.difference([(orders[PRIOR], truth)], [(orders[best], truth)])
    return taus, best, difference


def _best_count(taus: Mapping[str, Interval | None]) -> str | None:
    known = {name: tau.value for name in COUNTS if (tau := taus[name]) is not None}
    return max(known, key=lambda name: known[name], default=None)


def _counts(networks: Sequence[Network]) -> dict[str, Pairs]:
    """Return the orders by counts [N, N], more of each being better."""
    costs = [cost(network) for network in networks]
    values = (
        [one.macs for one in costs],
        [one.params for one in costs],
        [blocks(network) for network in networks],
    )
    return {name: order(np.array(own, float)) for name, own in zip(COUNTS, values, strict=True)}
