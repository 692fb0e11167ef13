"""The end of a search by predictions: a second opinion, and a check that the finalists train.

A search exploits the errors of its evaluator: the best of many predictions is too optimistic. So
the candidates with the largest rewards, the finalists, are scored again by a predictor of another
kind that was fitted to other networks, and the reward by that one decides. Then the finalists and
a baseline are trained for a short time on a small data set. That says nothing about their rank;
it is a sanity check, which can disqualify a finalist but never promotes one.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import final

from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.traced_network import Network
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import MnasSearchError
from mnas_search.common.statistics import normal_margin
from mnas_search.experiments.jobs import NO_TRIAL
from mnas_search.experiments.search.stages.trainings import SeededTrainings
from mnas_search.nas.core import Search
from mnas_search.nas.evaluator import Evaluator
from mnas_search.nas.job import EvaluationJob, measure
from mnas_search.nas.journal import Events, MemoryJournal
from mnas_search.nas.objective import Objective
from mnas_search.nas.trial import Evaluation, Trial, rank

FINALISTS = 5
TRAININGS = 2
_EVENT = "opinion"
VETO = 0.5  # of the baseline's accuracy: below it, a network counts as one that does not train


@dataclass(frozen=True, slots=True, kw_only=True)
class Finalist:
    """A network with both opinions.

    Attributes:
        trial: of the search; None for the baseline.
        searched, checked: by the search's predictor and by the other one.
        reward: by the other one.
        trainings: accuracies of the finished trainings; None where one failed.
    """

    trial: Trial | None
    network: Network
    macs: int
    params: int
    searched: Evaluation
    checked: Evaluation
    reward: float
    trainings: tuple[float | None, ...]

    @property
    def margin(self) -> float | None:
        """Half the width of the other one's 95 % interval, where it knows its deviation."""
        return None if self.checked.std is None else normal_margin(self.checked.std)

    @property
    def trained(self) -> float | None:
        """Mean accuracy of the trainings; None where there is none or one failed."""
        good = [accuracy for accuracy in self.trainings if accuracy is not None]
        return fmean(good) if good and len(good) == len(self.trainings) else None


@final
class FinalistCheck:
    """Scores and trains the finalists of a finished search, and a baseline.

    Args:
        searched, check: the two predictors.
        answers: the journal of second opinions; None keeps none.
    """

    def __init__(
        self,
        search: Search,
        objective: Objective,
        *,
        searched: Evaluator,
        check: Evaluator,
        baseline: Architecture | None,
        seed: int,
        journal: Events,
        answers: Events | None = None,
    ) -> None:
        self._search, self._objective = search, objective
        self._predictors, self._baseline = (searched, check), baseline
        self._answers = answers = answers or MemoryJournal()
        self._opinions: dict[str, tuple[Evaluation, Evaluation] | None] = {
            event["fingerprint"]: (_read(event["searched"]), _read(event["checked"]))
            for event in answers.events
            if event["event"] == _EVENT
        }
        self._kept = set(self._opinions)  # in the journal
        self._trainings = SeededTrainings(
            "final", "finals", self._networks, range(TRAININGS), seed=seed, journal=journal
        )
        self.queue = self._trainings.queue

    @property
    def baseline(self) -> Finalist | None:
        """The baseline, with both opinions."""
        return None if self._baseline is None else self._score(None, self._baseline)

    @property
    def finalists(self) -> tuple[Finalist, ...]:
        """The largest rewards of the search within the constraints, best by the check first; those
        that the check could not score are left out."""
        good = [t for t in self._search.trials if t.reward is not None and t.feasible]
        best = sorted(good, key=rank)[:FINALISTS]
        scored = [self._score(trial, self._search.network(trial)) for trial in best]
        return tuple(sorted(filter(None, scored), key=lambda one: -one.reward))

    @property
    def vetoed(self) -> tuple[Finalist, ...]:
        """Finalists that did not train."""
        return tuple(one for one in self.finalists if not self._trains(one))

    @property
    def winner(self) -> Finalist | None:
        """The best finalist by the check that is not vetoed; None where there is none."""
        return next((one for one in self.finalists if self._trains(one)), None)

    def keep_opinions(self) -> None:
        """Journal the opinions that are new: a report then needs no predictor."""
        for one in (*self.finalists, *filter(None, [self.baseline])):
            fingerprint = one.network.fingerprint
            if fingerprint not in self._kept:
                opinions = {"searched": _written(one.searched), "checked": _written(one.checked)}
                event = {"event": _EVENT, "fingerprint": fingerprint, **opinions}
                self._answers.append({**event, "phase": "finals"}, sync=True)
                self._kept.add(fingerprint)

    def _score(self, trial: Trial | None, network: Network) -> Finalist | None:
        opinion = self._opinion(network)
        if opinion is None:
            return None
        searched, checked = opinion
        counted = cost(network)
        return Finalist(
            trial=trial,
            network=network,
            macs=counted.macs,
            params=counted.params,
            searched=searched,
            checked=checked,
            reward=self._objective.reward_of(checked.accuracy, self._search.costs(network)),
            trainings=tuple(result.accuracy for result in self._trainings.results(network)),
        )

    def _opinion(self, network: Network) -> tuple[Evaluation, Evaluation] | None:
        key = network.fingerprint
        if key not in self._opinions:
            job = EvaluationJob(number=0, network=network, seed=0)
            try:
                outcomes = [measure(predictor, job)[0] for predictor in self._predictors]
            except MnasSearchError:  # a baseline of another space or size is refused
                outcomes = []
            good = [outcome for outcome in outcomes if isinstance(outcome, Evaluation)]
            self._opinions[key] = (good[0], good[1]) if len(good) == 2 else None
        return self._opinions[key]

    def _trains(self, one: Finalist) -> bool:
        """Return whether no training failed or fell far behind the baseline's.

        Where the baseline's failed too, that says nothing about the finalists.
        """
        baseline = self.baseline
        if not one.trainings or (baseline and baseline.trainings and baseline.trained is None):
            return True
        if one.trained is None:
            return False
        return one.trained >= VETO * ((baseline and baseline.trained) or 0.0)

    def _networks(self) -> Iterator[tuple[int, Network]]:
        baseline = self.baseline
        # A finalist that is the baseline itself is trained, and journalled, as the baseline.
        same = None if baseline is None else baseline.network.fingerprint
        for one in (*self.finalists, baseline):
            if one is not None:
                number = NO_TRIAL if one.trial is None else one.trial.number
                yield NO_TRIAL if one.network.fingerprint == same else number, one.network


def _written(evaluation: Evaluation) -> dict[str, float | None]:
    return {"accuracy": evaluation.accuracy, "std": evaluation.std}


def _read(written: Mapping[str, float]) -> Evaluation:
    return Evaluation(accuracy=written["accuracy"], std=written.get("std"))
