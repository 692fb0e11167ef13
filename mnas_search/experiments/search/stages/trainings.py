"""Trainings that follow a search: some of its networks, each with several seeds of its own."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, final

from mnas_search.architecture.traced_network import Network
from mnas_search.experiments.jobs import JobResult, JournalledQueue, trial_members
from mnas_search.nas.core import training_seed
from mnas_search.nas.evaluator import Evaluator
from mnas_search.nas.job import EvaluationJob, EvaluatorPool, JobQueue
from mnas_search.nas.journal import Events


@final
@dataclass(frozen=True, slots=True)
class Stage:
    """A part of a run: a title for listeners, empty for none, and jobs for one evaluator or for
    several; a stage whose evaluator is None is skipped."""

    title: str
    evaluator: Evaluator | EvaluatorPool | None
    queue: JobQueue[Any]


@final
class SeededTrainings:
    """Trainings whose results are kept in the journal as events `event`.

    Args:
        networks: gives (trial or NO_TRIAL, network) of all, when the first job is asked for.
        repeats: which repeats of a network these are: a seed each, derived from the run's `seed`.
        has_time: whether another one may begin.
    """

    def __init__(
        self,
        event: str,
        phase: str,
        networks: Callable[[], Iterable[tuple[int, Network]]],
        repeats: Sequence[int],
        *,
        seed: int,
        journal: Events,
        has_time: Callable[[], bool] = lambda: True,
    ) -> None:
        self._networks, self._repeats, self._seed = networks, repeats, seed
        self.queue = JournalledQueue(
            event,
            jobs=self._jobs,
            journal=journal,
            members=trial_members(phase),
            has_time=has_time,
        )

    def results(self, network: Network) -> list[JobResult]:
        """Return the results of a network, by seed; those that are still to come are left out."""
        results = (self.queue.result(network, seed) for seed in self._seeds(network))
        return [result for result in results if result is not None]

    def _seeds(self, network: Network) -> list[int]:
        return [training_seed(self._seed, network.fingerprint, repeat=k) for k in self._repeats]

    def _jobs(self) -> list[EvaluationJob]:
        # By seed: a network that occurs twice is trained once, as the first.
        jobs: dict[int, EvaluationJob] = {}
        for number, network in self._networks():
            for seed in self._seeds(network):
                jobs.setdefault(seed, EvaluationJob(number=number, network=network, seed=seed))
        return list(jobs.values())
