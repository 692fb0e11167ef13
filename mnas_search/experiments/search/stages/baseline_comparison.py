"""Was the search worth it? Compares its best candidates with networks that need no search.

After a search that trained its candidates, the best few of them and fixed baselines, scaled to the
same budget of FLOPs, are trained three times each under the same proxy. Their means on
the validation split choose the winner; how far it is from a baseline is read on the test split,
which nothing has used before.

The best of three means is in part luck. So each of the winner's test accuracies is that of the
candidate which the *other* seeds' validation accuracies choose: no training takes part in its own
choice.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, final

import numpy as np

from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.traced_network import Network
from mnas_search.architecture.value import Architecture
from mnas_search.common.statistics import student_margin
from mnas_search.experiments.jobs import NO_TRIAL, JournalledQueue, trial_event
from mnas_search.experiments.search.stages.stage import Stage
from mnas_search.nas.core import Search, training_seed
from mnas_search.nas.evaluator import Evaluator
from mnas_search.nas.job import EvaluationJob
from mnas_search.nas.journal import Events
from mnas_search.nas.objective import Objective
from mnas_search.nas.trial import Trial, believed, rank

TOP = 3
TRAININGS = 3
_FIRST = 2  # repeats 0 and 1 of a network are the search's own and the seed noise's


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A network with its trainings.

    Attributes:
        label: what to call it.
        trial: of the search, or of the random search; None for a baseline.
        network: what was trained.
        macs, params: its cost.
        validation, test: accuracies, a training each; empty where one failed or is missing.
    """

    label: str
    trial: Trial | None
    network: Network
    macs: int
    params: int
    validation: tuple[float, ...]
    test: tuple[float, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Improvement:
    """How much better one is than the other on the test split.

    Attributes:
        over: what is compared with.
        difference: of the mean accuracies, as a fraction.
        margin: half the width of the 95 % interval.
    """

    over: Candidate
    difference: float
    margin: float

    @property
    def shown(self) -> bool:
        """Whether the interval lies above zero."""
        return self.difference > self.margin


@final
class BaselineComparison(Stage):
    """Trains the best of a search beside baselines, and compares them.

    Args:
        search: must have finished before anything is asked of this.
        objective: the reward and the constraints.
        baselines: within the constraints; the first one is what a user would take without a
            search.
        random_baseline: a random search of the same budget; None for none.
        evaluator: trains, and measures on the test split.
        seed: of the run.
        journal: where results go.
    """

    def __init__(
        self,
        search: Search,
        objective: Objective,
        *,
        baselines: Sequence[Architecture],
        random_baseline: Search | None,
        evaluator: Evaluator,
        seed: int,
        journal: Events,
    ) -> None:
        super().__init__(
            "training the best candidates and the baselines, with other seeds", evaluator
        )
        self._search, self._random_baseline = search, random_baseline
        self._objective, self._seed = objective, seed
        self._baselines = tuple(baselines)
        self._queue = JournalledQueue(
            "verdict",
            jobs=self._jobs,
            journal=journal,
            describe=trial_event("verdict", "verdict"),
        )

    # -- results ------------------------------------------------------------------------------

    @property
    def queue(self) -> JournalledQueue:
        """The trainings of candidates and baselines."""
        return self._queue

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """The best of the search, best first."""
        return self._ranked(self._candidates_of(self._search, "trial"))

    @property
    def random_candidates(self) -> tuple[Candidate, ...]:
        """The best of the random search, best first."""
        if self._random_baseline is None:
            return ()
        return self._ranked(self._candidates_of(self._random_baseline, "random"))

    @property
    def baselines(self) -> tuple[Candidate, ...]:
        """The baselines, in their order."""
        return tuple(self._candidate(a.label, None, a) for a in self._baselines)

    @property
    def winner(self) -> Candidate | None:
        """The candidate with the largest reward by its mean on the validation split."""
        return next((one for one in self.candidates if one.validation), None)

    @property
    def improvements(self) -> tuple[Improvement, ...]:
        """The winner over each baseline and the random search, where both were trained."""
        candidates, baselines, drawn = self.candidates, self.baselines, self.random_candidates
        mine = self._chosen_by_others(candidates)
        if not mine:
            return ()
        trained = [one.test for one in (*candidates, *baselines, *drawn) if one.test]
        margin = student_margin(trained, TRAININGS)
        others = [(one, one.test) for one in baselines]
        others += [(one, self._chosen_by_others(drawn)) for one in drawn[:1]]
        return tuple(
            Improvement(over=one, difference=fmean(mine) - fmean(test), margin=margin)
            for one, test in others
            if test
        )

    def summary(self) -> dict[str, Any]:
        """All of it, as plain JSON values."""
        return {
            "networks": [
                {
                    "name": one.label,
                    "trial": None if one.trial is None else one.trial.number,
                    "architecture": one.network.label,
                    "macs": one.macs,
                    "params": one.params,
                    "validation": list(one.validation),
                    "test": list(one.test),
                }
                for one in (*self.candidates, *self.baselines, *self.random_candidates)
            ],
            "gains": [
                {
                    "over": gain.over.label,
                    "difference": gain.difference,
                    "margin": gain.margin,
                    "beats": gain.shown,
                }
                for gain in self.improvements
            ],
        }

    # -- inside -------------------------------------------------------------------------------

    def _jobs(self) -> list[EvaluationJob]:
        networks: list[tuple[int, Network]] = [
            (trial.number, self._search.network(trial)) for trial in self._best(self._search)
        ]
        networks += [(NO_TRIAL, a) for a in self._baselines]
        if (drawn := self._random_baseline) is not None:
            networks += [(NO_TRIAL, drawn.network(trial)) for trial in self._best(drawn)]
        # By seed: a network that occurs twice is trained once, as the first.
        jobs: dict[int, EvaluationJob] = {}
        for number, network in networks:
            for seed in self._seeds(network):
                jobs.setdefault(seed, EvaluationJob(number=number, network=network, seed=seed))
        return list(jobs.values())

    def _seeds(self, network: Network) -> list[int]:
        repeats = range(_FIRST, _FIRST + TRAININGS)
        return [training_seed(self._seed, network.fingerprint, repeat=k) for k in repeats]

    def _best(self, search: Search) -> list[Trial]:
        """By reward, with the controller's estimates of accuracies where it has them."""
        estimates = search.estimates()

        def value(trial: Trial) -> float:
            return believed(trial, estimates, self._objective)

        good = [t for t in search.trials if t.reward is not None and t.feasible]
        return sorted(sorted(good, key=rank), key=value, reverse=True)[:TOP]

    def _candidates_of(self, search: Search, word: str) -> list[Candidate]:
        return [
            self._candidate(f"{word} {trial.number}", trial, search.network(trial))
            for trial in self._best(search)
        ]

    def _candidate(self, label: str, trial: Trial | None, network: Network) -> Candidate:
        counted = cost(network)
        done = [self._queue.result(network, seed) for seed in self._seeds(network)]
        whole = [
            (one.accuracy, one.test)
            for one in done
            if one is not None and one.accuracy is not None and one.test is not None
        ]
        if len(whole) < TRAININGS:
            whole = []
        return Candidate(
            label=label,
            trial=trial,
            network=network,
            macs=counted.macs,
            params=counted.params,
            validation=tuple(validation for validation, _ in whole),
            test=tuple(test for _, test in whole),
        )

    def _ranked(self, candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
        """By the reward of the mean on validation; those that were not trained come last."""

        def key(one: Candidate) -> float:
            if not one.validation:
                return float("-inf")
            return self._objective.reward_of(
                fmean(one.validation), self._search.costs(one.network)
            )

        return tuple(sorted(candidates, key=key, reverse=True))

    def _chosen_by_others(self, candidates: Sequence[Candidate]) -> tuple[float, ...]:
        trained = [one for one in candidates if one.validation]
        if not trained:
            return ()
        test = []
        for seed in range(TRAININGS):
            rewards = [
                self._objective.reward_of(
                    fmean(a for other, a in enumerate(one.validation) if other != seed),
                    self._search.costs(one.network),
                )
                for one in trained
            ]
            test.append(trained[int(np.argmax(rewards))].test[seed])
        return tuple(test)
