"""Further trainings of networks that are known already: how noisy is the evaluator?

Some finished trials, spread evenly over the search (not the best ones: those were picked for
their luck), are evaluated again with another seed. The differences give the noise between seeds,
which is to be held against the spread between networks.
"""

from typing import final

import numpy as np

from mnas_search.search import Search, training_seed
from mnas_search.trials import Evaluation, Events, Trial
from mnas_search.work import Outcome, Work


@final
class Repeats:
    """Evaluates `count` finished trials of a search once more. A `Source`.

    Args:
        search: must have finished before `next` is called first.
        count: number of trials to repeat, at most.
        seed: of the run.
        journal: where outcomes go; those it holds already are not repeated.
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
        self._journal = journal
        self._done: dict[int, float | None] = {
            event["trial"]: event["accuracy"]
            for event in journal.events
            if event["event"] == "repeat"
        }
        self._todo: list[Trial] | None = None
        self._in_flight = 0

    @property
    def pairs(self) -> tuple[tuple[float, float], ...]:
        """(accuracy in the search, accuracy of the repeat), where both are there."""
        first = {trial.number: trial.accuracy for trial in self._search.trials}
        return tuple(
            (one, two)
            for number, two in sorted(self._done.items())
            if two is not None and (one := first.get(number)) is not None
        )

    @property
    def noise(self) -> float | None:
        """Standard deviation between seeds: sqrt(mean((a - b)^2) / 2); None without a pair."""
        if not self.pairs:
            return None
        one, two = np.array(self.pairs).T
        return float(np.sqrt(np.mean((one - two) ** 2) / 2))

    @property
    def finished(self) -> bool:
        """Whether nothing is in flight and nothing will come."""
        return not self._in_flight and not self._remaining()

    def next(self) -> Work | None:
        """The next trial to repeat."""
        remaining = self._remaining()
        if not remaining:
            return None
        trial = remaining.pop(0)
        self._in_flight += 1
        return Work(
            number=trial.number,
            network=self._search.network(trial),
            seed=training_seed(self._seed, trial.fingerprint, repeat=1),
        )

    def goes_on(self, work: Work, evaluation: Evaluation, seconds: float) -> bool:
        """Always: a repeat is compared with a result."""
        del work, evaluation, seconds
        return True

    def record(self, work: Work, outcome: Outcome, seconds: float) -> None:
        """Journal the outcome."""
        accuracy = outcome.accuracy if isinstance(outcome, Evaluation) else None
        self._journal.append(
            {
                "event": "repeat",
                "trial": work.number,
                "seed": work.seed,
                "accuracy": accuracy,
                "seconds": round(seconds, 3),
                "phase": "seed noise",
            },
            sync=True,
        )
        self._done[work.number] = accuracy
        self._in_flight -= 1

    def _remaining(self) -> list[Trial]:
        if self._todo is None:
            good = [trial for trial in self._search.trials if trial.status == "ok"]
            picks = np.linspace(0, len(good) - 1, min(self._count, len(good))).round()
            fresh = [good[int(i)] for i in picks if good[int(i)].number not in self._done]
            self._todo = fresh[: max(0, self._count - len(self._done))]
        return self._todo
