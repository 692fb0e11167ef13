"""Was the search worth it? Compares its best candidates with networks that need no search.

After a search that trained its candidates, the best few of them and fixed baselines, scaled to the
same budget of FLOPs, are trained three times each under the same proxy. Their means on
the validation split choose the winner; how far it is from a baseline is read on the test split,
which nothing has used before.

The best of three means is in part luck. So each of the winner's test accuracies is that of the
candidate which the *other* seeds' validation accuracies choose: no training takes part in its own
choice.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, final

import numpy as np

from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.traced_network import Network
from mnas_search.architecture.value import Architecture
from mnas_search.common.statistics import student_margin
from mnas_search.experiments.jobs import NO_TRIAL
from mnas_search.experiments.search.stages.trainings import SeededTrainings
from mnas_search.nas.core import Search
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
        trial: of the search, or of the random search; None for a baseline.
        validation, test: an accuracy per training; empty where one failed or is missing.
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
    """The winner's mean test accuracy less that of another network, as a fraction, and half the
    width of the 95 % interval."""

    over: Candidate
    difference: float
    margin: float

    @property
    def shown(self) -> bool:
        """Whether the interval lies above zero."""
        return self.difference > self.margin


@final
class BaselineComparison:
    """Trains the best candidates of a finished search beside baselines, and compares them.

    Args:
        baselines: within the constraints; the first one is what a user would take without a
            search.
        random_baseline: a random search of the same budget.
    """

    def __init__(
        self,
        search: Search,
        objective: Objective,
        *,
        baselines: Sequence[Architecture],
        random_baseline: Search | None,
        seed: int,
        journal: Events,
    ) -> None:
        self._search, self._random_baseline = search, random_baseline
        self._objective, self._baselines = objective, tuple(baselines)
        repeats = range(_FIRST, _FIRST + TRAININGS)
        self._trainings = SeededTrainings(
            "verdict", "verdict", self._networks, repeats, seed=seed, journal=journal
        )
        self.queue = self._trainings.queue

    @property
    def candidates(self) -> tuple[Candidate, ...]:
        """The best of the search, best first."""
        return self._ranked(self._search, "trial")

    @property
    def random_candidates(self) -> tuple[Candidate, ...]:
        """The best of the random search, best first."""
        drawn = self._random_baseline
        return () if drawn is None else self._ranked(drawn, "random")

    @property
    def baselines(self) -> tuple[Candidate, ...]:
        """The baselines, in their order."""
        return tuple(self._candidate(a.label, None, a) for a in self._baselines)

    @property
    def networks(self) -> tuple[Candidate, ...]:
        """All that are compared: candidates, baselines, and the best of the random search."""
        return (*self.candidates, *self.baselines, *self.random_candidates)

    @property
    def winner(self) -> Candidate | None:
        """The candidate with the largest reward by its mean on the validation split."""
        return next((one for one in self.candidates if one.validation), None)

    @property
    def improvements(self) -> tuple[Improvement, ...]:
        """The winner over each baseline and the random search, where both were trained."""
        drawn = self.random_candidates
        mine = self._chosen_by_others(self.candidates)
        if not mine:
            return ()
        margin = student_margin([one.test for one in self.networks if one.test], TRAININGS)
        others = [(one, one.test) for one in self.baselines]
        others += [(one, self._chosen_by_others(drawn)) for one in drawn[:1]]
        return tuple(
            Improvement(over=one, difference=fmean(mine) - fmean(test), margin=margin)
            for one, test in others
            if test
        )

    def summary(self) -> dict[str, Any]:
        """Return the comparison as plain JSON values."""
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
                for one in self.networks
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

    def _networks(self) -> Iterator[tuple[int, Network]]:
        for trial in self._best(self._search):
            yield trial.number, self._search.network(trial)
        for baseline in self._baselines:
            yield NO_TRIAL, baseline
        if (drawn := self._random_baseline) is not None:
            for trial in self._best(drawn):
                yield NO_TRIAL, drawn.network(trial)

    def _best(self, search: Search) -> list[Trial]:
        """Return the best by reward, with the controller's estimates of accuracies, if any."""
        good = [t for t in search.trials if t.reward is not None and t.feasible]
        estimates = search.estimates()
        good.sort(key=rank)  # among equal estimates
        good.sort(key=lambda trial: believed(trial, estimates, self._objective), reverse=True)
        return good[:TOP]

    def _candidate(self, label: str, trial: Trial | None, network: Network) -> Candidate:
        counted, results = cost(network), self._trainings.results(network)
        validation = tuple(one.accuracy for one in results if one.accuracy is not None)
        test = tuple(one.test for one in results if one.test is not None)
        if min(len(validation), len(test)) < TRAININGS:
            validation, test = (), ()
        return Candidate(
            label=label,
            trial=trial,
            network=network,
            macs=counted.macs,
            params=counted.params,
            validation=validation,
            test=test,
        )

    def _ranked(self, search: Search, word: str) -> tuple[Candidate, ...]:
        """Rank the best of a search by the reward of the mean on validation; those that were not
        trained come last."""

        def key(one: Candidate) -> float:
            return self._reward(one.validation, one) if one.validation else float("-inf")

        candidates = [
            self._candidate(f"{word} {trial.number}", trial, search.network(trial))
            for trial in self._best(search)
        ]
        return tuple(sorted(candidates, key=key, reverse=True))

    def _chosen_by_others(self, candidates: Sequence[Candidate]) -> tuple[float, ...]:
        trained = [one for one in candidates if one.validation]
        if not trained:
            return ()
        test = []
        for seed in range(TRAININGS):
            rewards = [
                self._reward(one.validation[:seed] + one.validation[seed + 1 :], one)
                for one in trained
            ]
            test.append(trained[int(np.argmax(rewards))].test[seed])
        return tuple(test)

    def _reward(self, accuracies: Sequence[float], one: Candidate) -> float:
        return self._objective.reward_of(fmean(accuracies), self._search.costs(one.network))
