"""How well one order agrees with another, and how sure that is.

Everything rests on pairs. `order(values)` is a matrix [N, N], the sign of values[i] - values[j];
Kendall's tau-b compares two such matrices, over all pairs or some of them, and a bootstrap sample
of the items is a weight on each: a pair counts as often as it was drawn. Values that are missing
are NaN, and so are the pairs that hold one: they count nowhere.
"""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Pairs = NDArray[np.float64]

RESAMPLES = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float


def order(values: Values) -> Pairs:
    """Which of two values [N] is larger: 1, 0 or -1 [N, N]; NaN where one of them is missing."""
    return np.sign(values[:, None] - values[None, :])


def same(groups: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Which pairs lie in one group [N, N], for groups by number [N]."""
    mask: NDArray[np.bool_] = groups[:, None] == groups[None, :]
    return mask


def quantile_groups(values: Values, count: int) -> NDArray[np.int64]:
    """Which of `count` groups of equal size a value [N] lies in, from the smallest up."""
    rank = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    return rank * count // len(values)


def pair_count(one: Pairs, two: Pairs, among: NDArray[np.bool_] | None = None) -> int:
    """Pairs that both orders know."""
    return int(np.triu(_known(one, two, among), 1).sum())


def tau_b(
    one: Pairs,
    two: Pairs,
    *,
    among: NDArray[np.bool_] | None = None,
    weights: Values | None = None,
) -> Values:
    """Kendall's tau-b of two orders [N, N], an array [B] for weights [B, N] of the items.

    (concordant - discordant) / sqrt(pairs not tied in one * pairs not tied in two), Kendall 1945.
    An item that was drawn twice makes no pair with itself. NaN where one of them has only ties.

    Args:
        among: pairs that count [N, N]; None for all.
        weights: None for 1 everywhere, which gives an array [1].
    """
    known = _known(one, two, among)
    one, two = np.where(known, one, 0.0), np.where(known, two, 0.0)
    drawn = np.ones((1, len(one))) if weights is None else weights

    def total(pairs: Pairs) -> Values:
        summed: Values = ((drawn @ pairs) * drawn).sum(axis=1) / 2
        return summed

    untied = total(np.abs(one)) * total(np.abs(two))
    root = np.sqrt(np.where(untied > 0, untied, np.nan))
    return total(one * two) / root


def resamples(items: int, *, count: int = RESAMPLES, seed: int = 0) -> Values:
    """How often each item is in each of `count` samples with replacement [count, items]."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(items, np.full(items, 1 / items), size=count).astype(np.float64)


def interval(value: float, sampled: Values) -> Interval | None:
    """The percentile bootstrap (Efron and Tibshirani 1993, chapter 13) of an estimate.

    Samples without a value (all ties) are left out; None where the estimate itself, or more than
    half of the samples, have none.
    """
    known = sampled[np.isfinite(sampled)]
    if not np.isfinite(value) or 2 * len(known) < len(sampled):
        return None
    low, high = np.percentile(known, [2.5, 97.5])
    return Interval(value=float(value), low=float(low), high=float(high))


def leave_pair_out(features: Values, values: Values) -> Pairs:
    """The order [N, N] that a linear model with intercept of features [N, F] predicts for values
    [N], each pair by the least-squares fit to all others (Airola et al. 2011).

    Pairs from different fits of an ordinary cross-validation cannot be compared: where there is
    nothing to learn, leaving one out gives tau -1. NaN where a value is missing, and everywhere
    if fewer than F + 4 are there.
    """
    ordered = np.full((len(values), len(values)), np.nan)
    there = np.flatnonzero(np.isfinite(values))
    if len(there) < features.shape[1] + 4:
        return ordered
    x, y = features[there], values[there]
    spread = x.std(axis=0)
    x = (x - x.mean(axis=0)) / np.where(spread > 0, spread, 1.0)
    x = np.column_stack([np.ones(len(x)), x])
    outer = x[:, :, None] * x[:, None, :]
    first, second = np.triu_indices(len(there), 1)
    gram = outer.sum(axis=0) - outer[first] - outer[second]
    moment = (x.T @ y) - x[first] * y[first, None] - x[second] * y[second, None]
    # The pseudo-inverse, since two features may be one (params that grow with multiply-adds).
    weights = np.linalg.pinv(gram, rcond=1e-10, hermitian=True) @ moment[:, :, None]
    differences = ((x[first] - x[second])[:, None, :] @ weights).ravel()
    signs = np.where(np.abs(differences) > 1e-12, np.sign(differences), 0.0)
    ordered[there, there] = 0.0
    ordered[there[first], there[second]] = signs
    ordered[there[second], there[first]] = -signs
    return ordered


def pooled_std(values: Values) -> float | None:
    """Standard deviation within rows [N, S], sqrt(sum of squares / degrees of freedom); NaN is
    missing. None where no row has two values."""
    there = np.isfinite(values)
    rows = values[there.sum(axis=1) > 1]
    freedom = int((np.isfinite(rows).sum(axis=1) - 1).sum())
    if not freedom:
        return None
    squares = np.nansum((rows - np.nanmean(rows, axis=1, keepdims=True)) ** 2)
    return float(np.sqrt(squares / freedom))


def _known(one: Pairs, two: Pairs, among: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    known = ~(np.isnan(one) | np.isnan(two))
    return known if among is None else known & among
