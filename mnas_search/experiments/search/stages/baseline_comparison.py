"""Was the search worth it? Compares its best candidates with networks that need no search.

After a search that trained its candidates, the best few of them and fixed baselines, scaled to the
same budget of FLOPs, are trained three times each under the same proxy, with seeds that the search
did not use. Their means on the validation split choose the winner, and what the run recommends:
the winner, or a baseline that is as good (`recommendation.recommend`). The test split is not
touched here; `held_out` reads it after the choice.

The best of three means is in part luck. So where the winner's lead over others is stated, each of
its accuracies is that of the candidate which the *other* seeds choose: no training takes part in
its own choice.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import Any, final

import numpy as np

from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.traced_network import Network
from mnas_search.architecture.value import Architecture
from mnas_search.common.statistics import mean_margin, student_margin
from mnas_search.experiments.jobs import NO_TRIAL, JobResult
from mnas_search.experiments.search.recommendation import recommend
from mnas_search.experiments.search.stages.trainings import SeededTrainings
from mnas_search.nas.core import Search
from mnas_search.nas.journal import Events
from mnas_search.nas.objective import Objective
from mnas_search.nas.trial import Trial, believed, rank

TOP = 3
TRAININGS = 3
FIRST = 2  # repeats 0 and 1 of a network are the search's own and the seed noise's


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """A network that needs no search, with its own pretrained weights, if it has any."""

    network: Architecture
    weights: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """A network with its trainings.

    Attributes:
        trial: of the search, or of the random search; None for a baseline.
        validation: an accuracy per training; empty where one failed or is missing.
        weights: a baseline's.
    """

    label: str
    trial: Trial | None
    network: Network
    macs: int
    params: int
    validation: tuple[float, ...]
    weights: str | None = None

    @property
    def mean(self) -> float:
        """Mean accuracy on the validation split."""
        return fmean(self.validation)


@dataclass(frozen=True, slots=True, kw_only=True)
class Improvement:
    """The winner's mean validation accuracy less that of another network, as a fraction, and half
    the width of the 95 % interval."""

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
        baselines: within the constraints.
        random_baseline: a random search of the same budget.
        has_time: whether another training may begin.
    """

    def __init__(
        self,
        search: Search,
        objective: Objective,
        *,
        baselines: Sequence[Baseline],
        random_baseline: Search | None,
        seed: int,
        journal: Events,
        has_time: Callable[[], bool] = lambda: True,
    ) -> None:
        self._search, self._random_baseline = search, random_baseline
        self._objective, self._baselines = objective, tuple(baselines)
        repeats = range(FIRST, FIRST + TRAININGS)
        self._trainings = SeededTrainings(
            "verdict",
            "verdict",
            self._networks,
            repeats,
            seed=seed,
            journal=journal,
            has_time=has_time,
        )
        self.queue = self._trainings.queue

    @property
    def complete(self) -> bool:
        """Whether every network was trained with every seed, with success or without."""
        trained = [len(self._trainings.results(network)) for _, network in self._networks()]
        return bool(trained) and min(trained) == TRAININGS

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
        return tuple(
            self._candidate(one.network.label, None, one.network, one.weights)
            for one in self._baselines
        )

    @property
    def networks(self) -> tuple[Candidate, ...]:
        """All that are compared: candidates, baselines, and the best of the random search."""
        return (*self.candidates, *self.baselines, *self.random_candidates)

    @property
    def winner(self) -> Candidate | None:
        """The candidate with the largest reward by its mean; None before the last training."""
        trained = (one for one in self.candidates if one.validation)
        return next(trained, None) if self.complete else None

    @property
    def best_baseline(self) -> Candidate | None:
        """The baseline with the largest mean; None before the last training."""
        trained = [one for one in self.baselines if one.validation]
        if not trained or not self.complete:
            return None
        return max(trained, key=lambda one: (one.mean, -one.macs))

    @property
    def recommended(self) -> Candidate | None:
        """What is recommended among winner and baselines; None before the last training."""
        found = [one for one in (self.winner, *self.baselines) if one and one.validation]
        return recommend(found, self.margin) if found and self.complete else None

    @property
    def margin(self) -> float:
        """Half the width of Student's 95 % interval of a mean over seeds. The deviation between
        them is pooled over all networks: three values of one network would say little of it."""
        return mean_margin(self._groups(), TRAININGS)

    @property
    def improvements(self) -> tuple[Improvement, ...]:
        """The winner over each baseline and the random search, where both were trained."""
        mine = self._chosen_by_others(self.candidates)
        if self.winner is None or not mine:
            return ()
        drawn = self.random_candidates
        margin = student_margin(self._groups(), TRAININGS)
        others = [(one, one.validation) for one in self.baselines]
        others += [(one, self._chosen_by_others(drawn)) for one in drawn[:1]]
        return tuple(
            Improvement(over=one, difference=fmean(mine) - fmean(theirs), margin=margin)
            for one, theirs in others
            if theirs
        )

    def old_tests(self, network: Network) -> list[JobResult]:
        """Return trainings that were measured on the test split too, as in older journals."""
        return [one for one in self._trainings.results(network) if one.test is not None]

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
        best = self._best(self._search)
        if not best:
            return  # there is nothing to compare with the baselines
        for trial in best:
            yield trial.number, self._search.network(trial)
        for baseline in self._baselines:
            yield NO_TRIAL, baseline.network
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

    def _candidate(
        self, label: str, trial: Trial | None, network: Network, weights: str | None = None
    ) -> Candidate:
        counted, results = cost(network), self._trainings.results(network)
        validation = tuple(one.accuracy for one in results if one.accuracy is not None)
        return Candidate(
            label=label,
            trial=trial,
            network=network,
            macs=counted.macs,
            params=counted.params,
            validation=validation if len(validation) == TRAININGS else (),
            weights=weights,
        )

    def _groups(self) -> list[tuple[float, ...]]:
        return [one.validation for one in self.networks if one.validation]

    def _ranked(self, search: Search, word: str) -> tuple[Candidate, ...]:
        """Rank the best of a search by the reward of the mean; those that were not trained come
        last."""

        def key(one: Candidate) -> float:
            return self._reward(one.validation, one) if one.validation else float("-inf")

        candidates = [
            self._candidate(f"{word} {trial.number}", trial, search.network(trial))
            for trial in self._best(search)
        ]
        return tuple(sorted(candidates, key=key, reverse=True))

    def _chosen_by_others(self, candidates: Sequence[Candidate]) -> tuple[float, ...]:
        """Return for each seed the accuracy of the candidate that the other seeds choose."""
        trained = [one for one in candidates if one.validation]
        if not trained:
            return ()
        chosen = []
        for seed in range(TRAININGS):
            rewards = [
                self._reward(one.validation[:seed] + one.validation[seed + 1 :], one)
                for one in trained
            ]
            chosen.append(trained[int(np.argmax(rewards))].validation[seed])
        return tuple(chosen)

    def _reward(self, accuracies: Sequence[float], one: Candidate) -> float:
        return self._objective.reward_of(fmean(accuracies), self._search.costs(one.network))
