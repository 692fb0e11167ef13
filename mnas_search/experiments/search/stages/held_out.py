"""The test split, read once: for the recommended network and the best baseline.

Both were chosen by validation accuracies of some seeds, and part of why they were chosen is the
luck of those seeds, which shows on any split. So they are trained anew, with seeds that nothing
has used, and these trainings are measured on the test split; no other network is. What they give
has no part in any choice.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, final

import numpy as np

from mnas_search.architecture.traced_network import Network
from mnas_search.common.statistics import Interval, Values, interval_of_sources, wilson
from mnas_search.experiments.jobs import NO_TRIAL, JobResult
from mnas_search.experiments.search.stages.baseline_comparison import (
    FIRST,
    TRAININGS,
    BaselineComparison,
    Candidate,
)
from mnas_search.experiments.search.stages.trainings import SeededTrainings
from mnas_search.nas.journal import Events


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Tested:
    """A network on the test split.

    Attributes:
        accuracies: one of each seed.
        by_image: share of the seeds that were right, for each image; None where the evaluator, or
            an older journal, does not give it.
    """

    accuracies: tuple[float, ...]
    by_image: Values | None

    @staticmethod
    def of(results: Sequence[JobResult]) -> "Tested":
        """Return the test of a network by its trainings, a seed each, that were all tested."""
        accuracies = tuple(one.test for one in results if one.test is not None)
        return Tested(accuracies=accuracies, by_image=_by_image(results))

    @property
    def accuracy(self) -> Interval:
        """The mean accuracy, with its interval over seeds and images: Wilson's, of one training,
        where neither seeds nor images differ."""
        images = [] if self.by_image is None else [self.by_image]
        found = interval_of_sources(fmean(self.accuracies), self.accuracies, *images)
        low, high = max(0.0, found.low), min(1.0, found.high)
        if self.by_image is not None and found.margin == 0.0:  # all images right, or all wrong
            count = len(self.by_image)
            low, high = wilson(round(found.value * count), count)
        return Interval(value=found.value, low=low, high=high)

    def minus(self, other: "Tested") -> Interval:
        """Return the difference of two mean accuracies; images are paired, seeds are not."""
        images = []
        if self.by_image is not None and other.by_image is not None:
            images = [self.by_image - other.by_image]
        value = fmean(self.accuracies) - fmean(other.accuracies)
        return interval_of_sources(value, self.accuracies, other.accuracies, *images)


@final
class HeldOutTest:
    """Trains what the comparison recommends, and its best baseline, and tests them."""

    def __init__(
        self,
        comparison: BaselineComparison,
        *,
        seed: int,
        journal: Events,
        has_time: Callable[[], bool] = lambda: True,
    ) -> None:
        self._comparison = comparison
        repeats = range(FIRST + TRAININGS, FIRST + 2 * TRAININGS)
        self._trainings = SeededTrainings(
            "test",
            "test",
            self._networks,
            repeats,
            seed=seed,
            journal=journal,
            has_time=has_time,
        )
        self.queue = self._trainings.queue

    def of(self, candidate: Candidate | None) -> Tested | None:
        """Return a network's test; None where it has none, or a training failed."""
        if candidate is None or candidate not in self._chosen():
            return None
        results = self._trainings.results(candidate.network)
        found = [one for one in results if one.test is not None]
        if not results:
            found = self._comparison.old_tests(candidate.network)
        if len(found) < TRAININGS:
            return None
        return Tested.of(found)

    @property
    def difference(self) -> Interval | None:
        """The recommended network's test accuracy less the best baseline's; None where they are
        one network, or one of them has no test."""
        one, two = self._comparison.recommended, self._comparison.best_baseline
        mine, theirs = self.of(one), self.of(two)
        return None if one == two or not (mine and theirs) else mine.minus(theirs)

    def summary(self) -> dict[str, Any]:
        """Return the tests of both and their difference as plain JSON values; None for what there
        is not."""
        one, two = self._comparison.recommended, self._comparison.best_baseline
        difference = self.difference
        return {
            "recommended": self._summary(one),
            "best_baseline": self._summary(two),
            "difference": None if difference is None else _plain(difference),
        }

    def _summary(self, one: Candidate | None) -> dict[str, Any] | None:
        if one is None or (test := self.of(one)) is None:
            return None
        return {"name": one.label, "accuracies": test.accuracies, **_plain(test.accuracy)}

    def _chosen(self) -> list[Candidate]:
        found = [self._comparison.recommended, self._comparison.best_baseline]
        return [one for number, one in enumerate(found) if one and one not in found[:number]]

    def _networks(self) -> Iterator[tuple[int, Network]]:
        for one in self._chosen():
            if len(self._comparison.old_tests(one.network)) < TRAININGS:
                yield NO_TRIAL if one.trial is None else one.trial.number, one.network


def _by_image(results: Sequence[JobResult]) -> Values | None:
    rows = [one.correct for one in results if one.correct is not None]
    if len(rows) < len(results) or len({len(row) for row in rows}) != 1 or len(rows[0]) < 2:
        return None
    shares: Values = np.array(rows, float).mean(axis=0)
    return shares


def _plain(found: Interval) -> dict[str, Any]:
    return {"mean": found.value, "interval": (found.low, found.high)}
