"""Further trainings of networks that are known already: how noisy is the evaluator?

Some finished trials, spread evenly over the search (not the best ones: those were picked for
their luck), are evaluated again with another seed. The differences give the noise between seeds,
which is compared with the spread between networks.
"""

from typing import final

import numpy as np

from mnas_search.common.statistics import pooled_std
from mnas_search.experiments.jobs import JournalledQueue, trial_event
from mnas_search.experiments.search.stages.stage import Stage
from mnas_search.nas.core import Search, training_seed
from mnas_search.nas.evaluator import Evaluator
from mnas_search.nas.job import EvaluationJob
from mnas_search.nas.journal import Events
from mnas_search.nas.trial import Trial


@final
class Replicates(Stage):
    """Evaluates `count` finished trials of a search once more.

    Args:
        search: must have finished before the first job is asked for.
        evaluator: the search's.
        count: number of trials to repeat, at most.
        seed: of the run.
        journal: where results go.
    """

    def __init__(
        self, search: Search, evaluator: Evaluator, *, count: int, seed: int, journal: Events
    ) -> None:
        super().__init__("training some networks again, with other seeds", evaluator)
        self._search, self._count, self._seed = search, count, seed
        self._queue = JournalledQueue(
            "repeat",
            jobs=self._jobs,
            journal=journal,
            describe=trial_event("repeat", "seed noise"),
        )

    @property
    def queue(self) -> JournalledQueue:
        """The further trainings."""
        return self._queue

    @property
    def pairs(self) -> tuple[tuple[float, float], ...]:
        """(accuracy in the search, accuracy of the replicate), where both exist."""
        first = {trial.number: trial.accuracy for trial in self._search.trials}
        second = {result.trial: result.accuracy for result in self._queue.results}
        return tuple(
            (one, two)
            for number, one in first.items()
            if one is not None and (two := second.get(number)) is not None
        )

    @property
    def noise(self) -> float | None:
        """Standard deviation between seeds: sqrt(mean((a - b)^2) / 2); None without a pair."""
        return pooled_std(self.pairs)

    def _jobs(self) -> list[EvaluationJob]:
        good = [trial for trial in self._search.trials if trial.status == "ok"]
        picks = np.linspace(0, len(good) - 1, min(self._count, len(good))).round()
        jobs = [self._job(good[int(i)]) for i in picks]
        # Of a search that was given more trials, others are picked: no more than `count` in all.
        done = [job for job in jobs if self._queue.result(job.network, job.seed) is not None]
        fresh = [job for job in jobs if self._queue.result(job.network, job.seed) is None]
        return done + fresh[: max(0, self._count - len(self._queue.results))]

    def _job(self, trial: Trial) -> EvaluationJob:
        return EvaluationJob(
            number=trial.number,
            network=self._search.network(trial),
            seed=training_seed(self._seed, trial.fingerprint, repeat=1),
        )
