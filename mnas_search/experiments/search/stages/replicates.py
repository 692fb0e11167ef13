"""Repeats some evaluations of a search with another seed: how noisy is the evaluator?

The trials are spread evenly over the search (the best were picked for their luck). The differences
give the noise between seeds, which is compared with the spread between networks.
"""

from collections.abc import Callable
from typing import final

import numpy as np

from mnas_search.architecture.traced_network import Network
from mnas_search.common.statistics import pooled_std
from mnas_search.experiments.search.stages.trainings import SeededTrainings
from mnas_search.nas.core import Search
from mnas_search.nas.journal import Events


@final
class Replicates:
    """Evaluates at most `count()` trials of a finished search once more."""

    def __init__(
        self,
        search: Search,
        *,
        count: Callable[[], int],
        seed: int,
        journal: Events,
        has_time: Callable[[], bool] = lambda: True,
    ) -> None:
        self._search, self._count = search, count
        self._trainings = SeededTrainings(
            "repeat",
            "seed noise",
            self._networks,
            (1,),
            seed=seed,
            journal=journal,
            has_time=has_time,
        )
        self.queue = self._trainings.queue

    @property
    def pairs(self) -> tuple[tuple[float, float], ...]:
        """(accuracy in the search, accuracy of the replicate), where both exist."""
        first = {trial.number: trial.accuracy for trial in self._search.trials}
        second = {result.trial: result.accuracy for result in self.queue.results}
        return tuple(
            (one, two)
            for number, one in first.items()
            if one is not None and (two := second.get(number)) is not None
        )

    @property
    def noise(self) -> float | None:
        """Standard deviation between seeds: sqrt(mean((a - b)^2) / 2); None without a pair."""
        return pooled_std(self.pairs)

    def _networks(self) -> list[tuple[int, Network]]:
        good = [trial for trial in self._search.trials if trial.status == "ok"]
        count = self._count()
        picks = np.linspace(0, len(good) - 1, min(count, len(good))).round()
        chosen = [good[int(i)] for i in picks]
        networks = [(trial.number, self._search.network(trial)) for trial in chosen]
        # A search that was given more trials picks others: no more than `count` in all.
        done = [one for one in networks if self._trainings.results(one[1])]
        fresh = [one for one in networks if not self._trainings.results(one[1])]
        return done + fresh[: max(0, count - len(self.queue.results))]
