"""Kendall's tau-b of scores with recorded accuracies, and its bootstrap intervals."""

import functools

import numpy as np

from mnas_search.common.statistics import (
    Interval,
    Pairs,
    TauBootstrap,
    Values,
    order_missing_last,
    tau_b,
)

RESAMPLES = 2_000


def tau(scores: Values, truth: Values) -> float:
    """Return tau-b; scores that are not finite rank last, and a constant has tau 0."""
    return float(np.nan_to_num(tau_b(*_orders(scores, truth))[0]))


def tau_interval(scores: Values, truth: Values) -> Interval:
    """Return tau-b of scores [N] and truth [N] with its interval."""
    return _known(_bootstrap(len(truth)).tau([_orders(scores, truth)]))


def difference(scores: Values, baseline: Values, truth: Values) -> Interval:
    """Return tau of the scores minus tau of the baseline, on the same samples of networks."""
    bootstrap = _bootstrap(len(truth))
    return _known(bootstrap.difference([_orders(scores, truth)], [_orders(baseline, truth)]))


def _orders(scores: Values, truth: Values) -> tuple[Pairs, Pairs]:
    return order_missing_last(scores), order_missing_last(truth)


@functools.lru_cache(maxsize=4)
def _bootstrap(networks: int) -> TauBootstrap:
    return TauBootstrap(networks, count=RESAMPLES, undefined=0.0)


def _known(found: Interval | None) -> Interval:
    assert found is not None  # no tau is undefined
    return found
