"""How well predictions rank networks, with intervals over networks and over trainings.

Predictions are [G, D, N]: of N networks, by G groups that are samples of one way to predict (such
as pairs of supernets), each with D draws (such as of the networks that were trained). A bootstrap
sample draws networks, groups and draws with replacement.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self, final

import numpy as np
from numpy.typing import NDArray

from mnas_search.common.statistics import (
    Interval,
    Values,
    interval,
    order,
    pair_count,
    quantile_groups,
    resamples,
    same,
    tau_b,
)

QUINTILES = 5
RESAMPLES = 1_000
Mask = NDArray[np.bool_]
# A figure of each group and draw [G, D], and on each bootstrap sample of the networks [G, D, B].
Figures = tuple[Values, Values]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Predictions:
    """What is predicted of networks.

    Attributes:
        values: larger is better [G, D, N]; NaN for networks without a prediction.
        told: networks whose accuracy the prediction knows [G, D, N]: they are in no tau, and may
            be the one that is recommended.
    """

    values: Values
    told: Mask

    @classmethod
    def untold(cls, values: Values) -> Self:
        """Return predictions [G, N] that know no accuracy."""
        known = np.zeros((len(values), 1, values.shape[1]), bool)
        return cls(values=values[:, None], told=known)

    def ranks(self, among: Mask | None = None) -> Values:
        """Return ranks [G, D, N]; NaN where there is no prediction, or it was told, or the network
        is not `among` [N] those that count."""
        there = ~(np.isnan(self.values) | self.told)
        if among is not None:
            there = there & among
        ranks = np.full(self.values.shape, np.nan)
        for index in np.ndindex(self.values.shape[:2]):
            own = there[index]
            ranks[index][own] = np.unique(self.values[index][own], return_inverse=True)[1]
        return ranks

    @property
    def predicted(self) -> Mask:
        """Networks that all groups and draws predict [N]."""
        there: Mask = np.isfinite(self.values.sum(axis=(0, 1)))
        return there


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Agreement:
    """Kendall's tau-b with the recorded accuracies, and regret; None where it is undefined.

    Attributes:
        networks: that have a prediction.
        all: over all pairs of networks.
        top: over pairs within the better half of all networks.
        quintiles: over pairs within a fifth of the networks by multiply-adds.
        depth: over pairs with equally many blocks.
        regret: percentage points of accuracy that are lost to the best network within a target by
            taking the one that is predicted best, the mean over the targets.
    """

    networks: int
    all: Interval | None
    top: Interval | None
    quintiles: Interval | None
    depth: Interval | None
    regret: Interval | None


@final
class Judge:
    """Compares predictions with accuracies, always on the same bootstrap samples.

    Args:
        accuracy: of the networks, as fractions [N].
        macs, blocks: of the networks [N].
        targets: in multiply-adds.
        count: number of bootstrap samples.
    """

    def __init__(
        self,
        accuracy: Values,
        *,
        macs: NDArray[np.int64],
        blocks: NDArray[np.int64],
        targets: Sequence[float],
        count: int = RESAMPLES,
    ) -> None:
        self._accuracy = accuracy
        top = accuracy >= np.median(accuracy)
        self._among: dict[str, Mask | None] = {
            "all": None,
            "top": top[:, None] & top,
            "quintiles": same(quantile_groups(macs.astype(float), QUINTILES)),
            "depth": same(blocks),
        }
        self._feasible = [macs <= target for target in targets]
        self._weights = resamples(len(accuracy), count=count)

    def agreement(
        self, predictions: Predictions, truth: Sequence[Values] | None = None
    ) -> Agreement:
        """Return tau and regret. `truth` has accuracies [N] for each group, where it is not the
        judge's; there is no regret then, nor where a network has no prediction."""
        ranks = predictions.ranks()
        truths = [self._accuracy] * len(ranks) if truth is None else truth
        taus = {
            name: interval(*self._mean(self._taus(ranks, truths, among)))
            for name, among in self._among.items()
        }
        regret = None
        if truth is None and predictions.predicted.all():
            regret = interval(*self._mean(self._regrets(predictions.values)))
        return Agreement(networks=int(predictions.predicted.sum()), regret=regret, **taus)

    def difference(self, one: Predictions, two: Predictions) -> Interval | None:
        """Return tau of `one` minus tau of `two` over the networks that both predict."""
        both = one.predicted & two.predicted
        (value, sampled), (other, others) = (
            self._mean(self._taus(p.ranks(both), [self._accuracy] * len(p.values), None))
            for p in (one, two)
        )
        return interval(value - other, sampled - others)

    def _taus(self, ranks: Values, truths: Sequence[Values], among: Mask | None) -> Figures:
        """Tau of ranks [G, D, N]: 0 where all predictions are equal, NaN without a pair."""
        shape = ranks.shape[:2]
        values, sampled = np.empty(shape), np.empty((*shape, len(self._weights)))
        for group, draw in np.ndindex(shape):
            own, true = order(ranks[group, draw]), order(truths[group])
            missing = 0.0 if pair_count(own, true, among) else float("nan")
            values[group, draw] = np.nan_to_num(tau_b(own, true, among=among)[0], nan=missing)
            drawn = tau_b(own, true, among=among, weights=self._weights)
            sampled[group, draw] = np.nan_to_num(drawn, nan=missing)
        return values, sampled

    def _regrets(self, values: Values) -> Figures:
        """Mean regret of predictions [G, D, N] over the targets."""
        # First the networks themselves, then the samples of them.
        drawn = np.concatenate([np.ones((1, len(self._accuracy)), bool), self._weights > 0])
        regrets = np.empty((*values.shape[:2], len(drawn)))
        for index in np.ndindex(values.shape[:2]):
            lost = [_lost(values[index], self._accuracy, drawn & f) for f in self._feasible]
            regrets[index] = 100 * np.nanmean(lost, axis=0)
        return regrets[..., 0], regrets[..., 1:]

    def _mean(self, figures: Figures) -> tuple[float, Values]:
        """Return the mean over groups and draws, and over those that are drawn [B]."""
        values, sampled = figures
        groups, draws = (
            resamples(size, count=len(self._weights), seed=1 + axis) / size
            for axis, size in enumerate(values.shape)
        )
        return float(values.mean()), np.einsum("bg,bd,gdb->b", groups, draws, sampled)


def _lost(values: Values, accuracy: Values, among: Mask) -> Values:
    """Accuracy lost by taking the largest of values [N], on samples [B, N] of the networks; equal
    ones are taken equally often."""
    shown = np.where(among, values, -np.inf)
    taken = (shown == shown.max(axis=1, keepdims=True)) & among
    best = np.where(among, accuracy, -np.inf).max(axis=1)
    count = taken.sum(axis=1)
    with np.errstate(invalid="ignore"):
        lost: Values = np.where(
            count > 0, best - (taken @ accuracy) / np.maximum(count, 1), np.nan
        )
    return lost
