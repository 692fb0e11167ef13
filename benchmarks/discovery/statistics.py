"""Figures over seeds."""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mnas_search.common.statistics import RESAMPLES, Interval


def best_so_far(values: NDArray[np.float64]) -> NDArray[np.float64]:
    """Largest of the first n values, for every n."""
    return np.maximum.accumulate(values)


def incumbent(
    told: NDArray[np.float64], reported: NDArray[np.float64], within: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Reported value of the largest told one within the target so far; 0 before there is any."""
    value = np.zeros(len(told))
    best, current = -np.inf, 0.0
    for n in range(len(told)):
        if within[n] and told[n] > best:
            best, current = told[n], float(reported[n])
        value[n] = current
    return value


def evaluations_until(curve: NDArray[np.float64], threshold: float) -> float:
    """First n (from 1) at which the curve lies above the threshold; infinite where never."""
    above = np.flatnonzero(curve > threshold)
    return float(above[0] + 1) if above.size else np.inf


def paired_difference(
    theirs: Mapping[int, float], ours: Mapping[int, float], *, resamples: int = RESAMPLES
) -> Interval | None:
    """Difference of medians (theirs - ours) over the seeds that both have.

    Seeds are drawn with replacement, both values of a seed together: the percentile bootstrap
    (Efron and Tibshirani 1993, chapter 13) of a paired comparison. None below two seeds.
    """
    seeds = sorted(theirs.keys() & ours.keys())
    if len(seeds) < 2:
        return None
    pairs = np.array([(theirs[s], ours[s]) for s in seeds])
    drawn = np.random.default_rng(0).integers(len(pairs), size=(resamples, len(pairs)))
    medians = np.median(pairs[drawn], axis=1)
    low, high = np.percentile(medians[:, 0] - medians[:, 1], [2.5, 97.5])
    value = np.median(pairs, axis=0)
    return Interval(value=float(value[0] - value[1]), low=float(low), high=float(high))


def band(curves: Sequence[NDArray[np.float64]]) -> NDArray[np.float64]:
    """Lower quartile, median and upper quartile [3, n] of curves of one length."""
    return np.percentile(np.array(curves), [25, 50, 75], axis=0)


def median(values: Sequence[float]) -> float:
    """The middle value; infinite values are larger than all others."""
    ordered = sorted(values)
    low, high = ordered[(len(ordered) - 1) // 2], ordered[len(ordered) // 2]
    return low if low == high else (low + high) / 2
