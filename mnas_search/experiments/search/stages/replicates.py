"""Further trainings of networks that are known already: how noisy is the evaluator?

Some finished trials, spread evenly over the search (not the best ones: those were picked for
their luck), are evaluated again with another seed. The differences give the noise between seeds,
which is to be held against the spread between networks.
"""

from typing import final

import numpy as np

from mnas_search.common.statistics import pooled_std
from mnas_search.experiments.trainings import Trainings
from mnas_search.nas.core import Search, training_seed
from mnas_search.nas.job import Job
from mnas_search.nas.journal import Events
from mnas_search.nas.trial import Trial


@final
class Replicates:
    """Evaluates `count` finished trials of a search once more.

    Args:
        search: must have finished before `next` is called first.
        count: number of trials to repeat, at most.
        seed: of the run.
        journal: where outcomes go; those it holds already are not repeated.

    Attributes:
        trainings: the work.
    """

    def __init__(
        self,
        search: Search,
        *,
        count: int,
        seed: int,
        journal: Events,
    ) -> None:
        self._search, self._count, self._seed = search, count, seed
        self.trainings = Trainings(
            "repeat", phase="seed noise", works=self._works, journal=journal
        )

    @property
    def pairs(self) -> tuple[tuple[float, float], ...]:
        """(accuracy in the search, accuracy of the repeat), where both are there."""
        first = {trial.number: trial.accuracy for trial in self._search.trials}
        second = {done.trial: done.accuracy for done in self.trainings.done.values()}
        return tuple(
            (one, two)
            for number, one in first.items()
            if one is not None and (two := second.get(number)) is not None
        )

    @property
    def noise(self) -> float | None:
        """Standard deviation between seeds: sqrt(mean((a - b)^2) / 2); None without a pair."""
        return pooled_std(self.pairs)

    def _works(self) -> list[Job]:
        good = [trial for trial in self._search.trials if trial.status == "ok"]
        picks = np.linspace(0, len(good) - 1, min(self._count, len(good))).round()
        works = [self._work(good[int(i)]) for i in picks]
        # Of a search that went on, other trials are picked: no more than `count` in all.
        done = self.trainings.done
        fresh = [work for work in works if work.seed not in done]
        again = [work for work in works if work.seed in done]
        return again + fresh[: max(0, self._count - len(done))]

    def _work(self, trial: Trial) -> Job:
        return Job(
            number=trial.number,
            network=self._search.network(trial),
            seed=training_seed(self._seed, trial.fingerprint, repeat=1),
        )
