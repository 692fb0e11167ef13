"""Accuracies of the arms, and what is recommended minus each of them, with intervals."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from mnas_search.benchmarks.fitting.fits import RECOMMENDED, Fitted, Right, is_baseline
from mnas_search.benchmarks.results import Record
from mnas_search.common.folders import csv_text
from mnas_search.common.statistics import Interval, interval_of_sources, wilson
from mnas_search.common.units import format_size

_POINTS = 100


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A fit, or an arm's mean over seeds (`seed` is None).

    Attributes:
        best_baseline: whether the arm is the baseline with the largest mean accuracy.
        difference: the accuracy of what is recommended minus this one, paired; None where there
            is no pair.
    """

    arm: str
    seed: int | None
    best_baseline: bool
    figures: Record
    accuracy: Interval
    difference: Interval | None

    @property
    def record(self) -> Record:
        """The figures, and values and bounds of the intervals."""
        one, apart = self.accuracy, self.difference
        return {
            "arm": self.arm,
            "seed": self.seed,
            "best_baseline": self.best_baseline,
            **self.figures,
            "test": one.value,
            "test_low": one.low,
            "test_high": one.high,
            "recommended_minus": None if apart is None else apart.value,
            "recommended_minus_low": None if apart is None else apart.low,
            "recommended_minus_high": None if apart is None else apart.high,
        }

    @property
    def text(self) -> dict[str, str]:
        """The cells of the table."""
        one, apart = self.figures, self.difference
        return {
            "seed": "mean" if self.seed is None else str(self.seed),
            "arm": self.arm + " (best baseline)" * self.best_baseline,
            "network": one.get("network", ""),
            "FLOPs": format_size(one["macs"]) if "macs" in one else "",
            "candidates": str(one.get("candidates", "")),
            "epochs": str(one.get("epochs", "")),
            "seconds": f"{one['seconds']:,.0f}",
            "test accuracy": self.accuracy.text(".4f"),
            "recommended minus it, points": "" if apart is None else _points(apart).text("+.2f"),
        }


def rows(found: Mapping[tuple[str, int], Fitted]) -> Iterator[Row]:
    """Yield a row for each fit, by arm and seed, and then one for each arm.

    An arm's difference is over the seeds that it shares with what is recommended.
    """
    by_arm: dict[str, dict[int, Fitted]] = {}
    for (arm, seed), fitted in found.items():
        by_arm.setdefault(arm, {})[seed] = fitted
    best, recommended = _best_baseline(by_arm), by_arm.get(RECOMMENDED, {})

    def row(arm: str, fits: Mapping[int, Fitted], seed: int | None, figures: Record) -> Row:
        pairs = [
            (recommended[seed].right, one.right)
            for seed, one in fits.items()
            if seed in recommended and arm != RECOMMENDED
        ]
        return Row(
            arm=arm,
            seed=seed,
            best_baseline=arm == best,
            figures=figures,
            accuracy=accuracy([one.right for one in fits.values()]),
            difference=difference(pairs) if pairs else None,
        )

    for (arm, seed), fitted in found.items():
        yield row(arm, {seed: fitted}, seed, fitted.figures)
    for arm, fits in by_arm.items():
        seconds = float(np.mean([one.figures["seconds"] for one in fits.values()]))
        yield row(arm, fits, None, {"seconds": round(seconds, 1)})


def _best_baseline(by_arm: Mapping[str, Mapping[int, Fitted]]) -> str | None:
    means = {
        arm: float(np.mean([one.right.mean() for one in fits.values()]))
        for arm, fits in by_arm.items()
        if is_baseline(arm)
    }
    return max(means, key=lambda arm: means[arm], default=None)


def accuracy(rights: Sequence[Right]) -> Interval:
    """Return the mean accuracy of trainings, one a seed, with its 95 % interval over seeds and
    images: Wilson's for one training."""
    if len(rights) > 1:
        return _mean(rights)
    (right,) = rights
    low, high = wilson(int(right.sum()), len(right))
    return Interval(value=float(right.mean()), low=low, high=high)


def difference(pairs: Sequence[tuple[Right, Right]]) -> Interval:
    """Return the mean of the first accuracy of each pair minus the second, with its 95 % interval.

    The two of a pair have one seed and the same images. The interval counts seeds, by the
    differences of the pairs, and images, by the mean difference on each
    (`mnas_search.common.statistics.interval_of_sources`); of one pair, images alone.
    """
    return _mean([one.astype(float) - two.astype(float) for one, two in pairs])


def to_csv(records: Sequence[Record]) -> str:
    """Return records as CSV, with the columns of all of them."""
    columns = list(dict.fromkeys(name for record in records for name in record))
    return csv_text(columns, records)


def _mean(rows: Sequence[NDArray[Any]]) -> Interval:
    """Return the mean of values [S, N] of seeds and images, with its interval over both."""
    values = np.array(rows, float)
    sources = [values.mean(axis=0)]
    if len(values) > 1:
        sources.append(values.mean(axis=1))
    return interval_of_sources(float(values.mean()), *sources)


def _points(apart: Interval) -> Interval:
    value, low, high = (_POINTS * bound for bound in (apart.value, apart.low, apart.high))
    return Interval(value=value, low=low, high=high)
