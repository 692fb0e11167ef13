"""Kendall's tau-b with bootstrap intervals over networks."""

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

RESAMPLES = 2_000
_SEED = 0

Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """An estimate with its 95 % interval."""

    value: float
    low: float
    high: float

    @property
    def above_zero(self) -> bool:
        """Whether all of the interval is."""
        return self.low > 0


def last(values: Values) -> Values:
    """What is no number ranks last."""
    return np.where(np.isfinite(values), values, -np.inf)


def tau(one: Values, two: Values) -> float:
    """Kendall's tau-b; 0 where either does not vary."""
    return float(_taus(last(one), two, np.ones((1, len(one))))[0])


def tau_interval(scores: Values, truth: Values) -> Interval:
    """tau-b of scores [N] and truth [N] with its percentile bootstrap interval."""
    taus = _taus(last(scores), truth, _multiplicities(len(truth)))
    return _interval(tau(scores, truth), taus)


def difference(scores: Values, baseline: Values, truth: Values) -> Interval:
    """tau of the scores less tau of the baseline: networks are drawn with replacement, both
    values of a network together (Efron and Tibshirani 1993, chapter 13)."""
    drawn = _multiplicities(len(truth))
    taus = _taus(last(scores), truth, drawn) - _taus(last(baseline), truth, drawn)
    return _interval(tau(scores, truth) - tau(baseline, truth), taus)


def _interval(value: float, resampled: Values) -> Interval:
    low, high = np.percentile(resampled, [2.5, 97.5])
    return Interval(value=value, low=float(low), high=float(high))


@functools.lru_cache(maxsize=4)
def _multiplicities(count: int) -> Values:
    """How often each of N networks is drawn in each resample [B, N]."""
    rng = np.random.default_rng(_SEED)
    return rng.multinomial(count, np.full(count, 1 / count), size=RESAMPLES).astype(np.float64)


def _taus(one: Values, two: Values, weights: Values) -> Values:
    """tau-b of resamples that hold each network so many times, weights [B, N] -> [B].

    Concordant less discordant pairs over the root of the product of pairs untied in either: with
    multiplicities w these are quadratic forms in w, since copies of one network are ties.
    """
    first, second = (np.sign(v[:, None] - v[None, :]) for v in (_ranks(one), _ranks(two)))
    agreement, *untied = (
        ((weights @ m) * weights).sum(1) for m in (first * second, first**2, second**2)
    )
    scale = np.sqrt(untied[0] * untied[1])
    taus: Values = np.divide(agreement, scale, out=np.zeros_like(agreement), where=scale > 0)
    return taus


def _ranks(values: Values) -> Values:
    """Dense ranks: infinite values have no difference."""
    return np.unique(values, return_inverse=True)[1].ravel().astype(np.float64)
