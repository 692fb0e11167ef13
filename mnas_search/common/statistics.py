"""Rank agreement, spread and confidence intervals: every statistic that a report shows.

Rank statistics rest on pairs. `order(values)` is a matrix [N, N], the sign of values[i] -
values[j]; Kendall's tau-b compares two such matrices, over all pairs or some of them. A bootstrap
sample of the items is a weight for each item, so a pair counts as often as it was drawn. Missing
values are NaN, and pairs with a missing value are not counted.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar, final

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]
Pairs = NDArray[np.float64]
_Key = TypeVar("_Key", int, tuple[str, int])

RESAMPLES = 10_000
_PERCENTILES = (2.5, 97.5)
_NORMAL = 1.959964  # the two-sided 95 % quantile of the standard normal distribution


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def above_zero(self) -> bool:
        """Whether the whole interval is positive."""
        return self.low > 0

    @property
    def margin(self) -> float:
        """Half the width: what follows a `±`."""
        return (self.high - self.low) / 2

    def text(self, form: str) -> str:
        """Return "value [low, high]", each in a format such as `.2f`."""
        return f"{self.value:{form}} [{self.low:{form}}, {self.high:{form}}]"


# -- spread and intervals ----------------------------------------------------------------------


def sample_std(values: Sequence[float] | Values) -> float | None:
    """Return the standard deviation of the finite values; None for fewer than two."""
    known = np.asarray(values, float)
    known = known[np.isfinite(known)]
    return float(known.std(ddof=1)) if len(known) > 1 else None


def pooled_std(groups: Iterable[Sequence[float] | Values]) -> float | None:
    """Return the standard deviation within groups, sqrt(sum of squares / degrees of freedom). NaN
    is missing; None where no group has two values."""
    rows = [np.asarray(group, float) for group in groups]
    rows = [row[np.isfinite(row)] for row in rows]
    freedom = sum(max(len(row) - 1, 0) for row in rows)
    if not freedom:
        return None
    squares = sum(float(((row - row.mean()) ** 2).sum()) for row in rows if len(row) > 1)
    return float(np.sqrt(squares / freedom))


def student_margin(groups: Sequence[Sequence[float]], repeats: int) -> float:
    """Return half the width of Student's 95 % interval for a difference of two means. Both means
    are over `repeats` values; the standard deviation is pooled over all groups."""
    return 2**0.5 * mean_margin(groups, repeats)


def mean_margin(groups: Sequence[Sequence[float]], repeats: int) -> float:
    """Return half the width of Student's 95 % interval for a mean of `repeats` values, with the
    standard deviation pooled over all groups."""
    from scipy.stats import t

    std = pooled_std(groups)
    if std is None:
        raise ValueError("a margin requires a group of two values")
    freedom = sum(len(group) - 1 for group in groups)
    return float(t.ppf(0.975, freedom) * std / repeats**0.5)


def interval_of_sources(value: float, *samples: Sequence[float] | Values) -> Interval:
    """Return the 95 % interval of an estimate with several independent sources of variance.

    Each source is a sample of N values whose mean enters the estimate, and adds var / N to its
    variance. The degrees of freedom of the sum are Satterthwaite's (Biometrics Bulletin 2, 1946):
    (sum of v)^2 / sum of v^2 / (N - 1), for v = var / N.

    The accuracy of a network that was trained S times and tested on N images has two, which are
    crossed: S accuracies, a seed each, and N shares of the seeds that were right on an image. Of
    y = p + seed + image + rest, the first gives var(seed) / S + var(rest) / SN, the second
    var(image) / N + var(rest) / SN. So the rest is counted twice, and the interval is a little
    wide, never too narrow (A. B. Owen, The pigeonhole bootstrap, 2007). The difference of two
    networks on the same images has three: the seeds of each, and the images, paired.

    Args:
        samples: with two or more values each.
    """
    from scipy.stats import t

    variances = [float(np.var(sample, ddof=1)) / len(sample) for sample in samples]
    total = sum(variances)
    if total == 0.0:
        return Interval(value=value, low=value, high=value)
    parts = zip(variances, samples, strict=True)
    freedom = total**2 / sum(part**2 / (len(sample) - 1) for part, sample in parts)
    margin = float(t.ppf(0.975, freedom)) * total**0.5
    return Interval(value=value, low=value - margin, high=value + margin)


def normal_margin(std: float) -> float:
    """Return half the width of the 95 % interval of a normal distribution."""
    return _NORMAL * std


def wilson(successes: int, count: int, *, z: float = _NORMAL) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a proportion (E. B. Wilson, JASA 22, 1927). `z` is the
    two-sided quantile of the standard normal distribution."""
    share, spread = successes / count, z * z / count
    middle = (share + spread / 2) / (1 + spread)
    half = z / (1 + spread) * (share * (1 - share) / count + spread / count / 4) ** 0.5
    return max(0.0, middle - half), min(1.0, middle + half)


def median_bounds(count: int) -> tuple[int, int]:
    """Return which of `count` ordered values bound their median at 95 %. A value exceeds the
    median with probability 1/2, so their number is binomial."""
    from scipy.stats import binom

    low = max(0, int(binom.ppf(0.025, count, 0.5)) - 1)
    return low, count - 1 - low


# -- the bootstrap -----------------------------------------------------------------------------


def resamples(items: int, *, count: int = RESAMPLES, seed: int = 0) -> Values:
    """Draw `count` samples with replacement: how often each contains each item [count, items]."""
    rng = np.random.default_rng(seed)
    return rng.multinomial(items, np.full(items, 1 / items), size=count).astype(np.float64)


def interval(value: float, sampled: Values) -> Interval | None:
    """Return an estimate's percentile interval (Efron and Tibshirani 1993, chapter 13).

    Samples without a value (all ties) are left out; None where the estimate itself, or more than
    half of the samples, have none.
    """
    known = sampled[np.isfinite(sampled)]
    if not np.isfinite(value) or 2 * len(known) < len(sampled):
        return None
    low, high = np.percentile(known, _PERCENTILES)
    return Interval(value=float(value), low=float(low), high=float(high))


def paired_difference(
    one: Mapping[_Key, float],
    two: Mapping[_Key, float],
    *,
    group: Callable[[_Key], int] | None = None,
    count: int = RESAMPLES,
) -> Interval | None:
    """Return the difference of medians, one - two, over the keys that both have. Keys are drawn
    with replacement, both values of a key together; None below two keys.

    Args:
        group: number of the group that a key is nested in; groups are drawn with replacement
            first, then keys of each group drawn. None for no groups.
        count: number of bootstrap samples.
    """
    keys = sorted(one.keys() & two.keys())
    if len(keys) < 2:
        return None
    pairs = np.array([(one[key], two[key]) for key in keys])
    numbers = np.zeros(len(keys), int) if group is None else np.array([group(k) for k in keys])
    medians = np.nanmedian(_nested_samples(pairs, numbers, count), axis=1)
    value = np.median(pairs, axis=0)
    return interval(value[0] - value[1], medians[:, 0] - medians[:, 1])


def _nested_samples(pairs: Values, numbers: NDArray[np.integer], count: int) -> Values:
    """Draw samples [count, M, 2] of pairs [N, 2]; NaN where a group is smaller than others."""
    members = [np.flatnonzero(numbers == number) for number in np.unique(numbers)]
    sizes = np.array([len(rows) for rows in members])
    table = np.full((len(members), sizes.max()), -1)
    for row, own in zip(table, members, strict=True):
        row[: len(own)] = own
    rng = np.random.default_rng(0)
    groups = rng.integers(len(members), size=(count, len(members)))
    own_size = sizes[groups][..., None]
    places = (rng.random((*groups.shape, sizes.max())) * own_size).astype(int)
    drawn = table[groups[..., None], places]
    unused = np.arange(sizes.max()) >= own_size
    sampled: Values = np.where(unused[..., None], np.nan, pairs[drawn])
    return sampled.reshape(count, -1, 2)


# -- rank agreement ----------------------------------------------------------------------------


def order(values: Values) -> Pairs:
    """Return which of two values [N] is larger: 1, 0 or -1 [N, N]; NaN where one is missing."""
    return np.sign(values[:, None] - values[None, :])


def order_missing_last(values: Values) -> Pairs:
    """Return the order [N, N] in which values that are not finite rank below all others."""
    known = np.where(np.isfinite(values), values, -np.inf)
    return order(np.unique(known, return_inverse=True)[1].ravel().astype(np.float64))


def same(groups: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Return which pairs lie in one group [N, N], for groups by number [N]."""
    mask: NDArray[np.bool_] = groups[:, None] == groups[None, :]
    return mask


def quantile_groups(values: Values, count: int) -> NDArray[np.int64]:
    """Return which of `count` groups of equal size a value [N] lies in, from the smallest up."""
    rank = np.argsort(np.argsort(values, kind="stable"), kind="stable")
    return rank * count // len(values)


def pair_count(one: Pairs, two: Pairs, among: NDArray[np.bool_] | None = None) -> int:
    """Return the number of pairs that both orders know."""
    return int(np.triu(_known(one, two, among), 1).sum())


def kendall_tau(one: Sequence[float] | Values, two: Sequence[float] | Values) -> float:
    """Return Kendall's tau-b of two sequences of values; NaN where one of them is constant."""
    from scipy.stats import kendalltau

    return float(kendalltau(one, two).statistic)


def tau_b(
    one: Pairs,
    two: Pairs,
    *,
    among: NDArray[np.bool_] | None = None,
    weights: Values | None = None,
) -> Values:
    """Return Kendall's tau-b of two orders [N, N]: an array [B] for weights [B, N] of the items.

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


@final
class TauBootstrap:
    """Kendall's tau with intervals, all on the same bootstrap samples of the same items.

    Args:
        items: number of items N.
        count: number of bootstrap samples.
        undefined: value of a tau of only ties.
    """

    def __init__(
        self, items: int, *, count: int = RESAMPLES, undefined: float = float("nan")
    ) -> None:
        self._weights = resamples(items, count=count)
        self._undefined = undefined

    def tau(
        self, pairs: Sequence[tuple[Pairs, Pairs]], among: NDArray[np.bool_] | None = None
    ) -> Interval | None:
        """Return the mean tau of pairs of orders; None where it is undefined."""
        return interval(*self._mean(pairs, among))

    def difference(
        self, pairs: Sequence[tuple[Pairs, Pairs]], others: Sequence[tuple[Pairs, Pairs]]
    ) -> Interval | None:
        """Return the mean tau of pairs of orders minus that of others, sample by sample."""
        (one, ones), (two, twos) = self._mean(pairs, None), self._mean(others, None)
        return interval(one - two, ones - twos)

    def _mean(
        self, pairs: Sequence[tuple[Pairs, Pairs]], among: NDArray[np.bool_] | None
    ) -> tuple[float, Values]:
        if not pairs:
            return np.nan, np.full(len(self._weights), np.nan)
        values = [self._tau(one, two, among, None)[0] for one, two in pairs]
        sampled = [self._tau(one, two, among, self._weights) for one, two in pairs]
        return float(np.mean(values)), np.mean(sampled, axis=0)

    def _tau(
        self, one: Pairs, two: Pairs, among: NDArray[np.bool_] | None, weights: Values | None
    ) -> Values:
        taus = tau_b(one, two, among=among, weights=weights)
        return np.where(np.isnan(taus), self._undefined, taus)


def leave_pair_out(features: Values, values: Values) -> Pairs:
    """Return the order [N, N] that a linear model of features [N, F] predicts for values [N].

    Each pair is predicted by the least-squares fit with intercept to all other items (Airola et
    al. 2011). Pairs from different fits of an ordinary cross-validation cannot be compared: where
    there is nothing to learn, leaving one out gives tau -1. NaN where a value is missing, and
    everywhere if fewer than F + 4 are known.
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
    # The pseudo-inverse, since two features may be collinear (params that grow with MACs).
    weights = np.linalg.pinv(gram, rcond=1e-10, hermitian=True) @ moment[:, :, None]
    differences = ((x[first] - x[second])[:, None, :] @ weights).ravel()
    signs = np.where(np.abs(differences) > 1e-12, np.sign(differences), 0.0)
    ordered[there, there] = 0.0
    ordered[there[first], there[second]] = signs
    ordered[there[second], there[first]] = -signs
    return ordered


def _known(one: Pairs, two: Pairs, among: NDArray[np.bool_] | None) -> NDArray[np.bool_]:
    known = ~(np.isnan(one) | np.isnan(two))
    return known if among is None else known & among
