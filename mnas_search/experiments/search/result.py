"""What a run has found."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from mnas_search.architecture.cost.base import Cost
from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.cost.latency.table import Latency
from mnas_search.architecture.cost.metrics import METRICS
from mnas_search.architecture.scaling import PUBLISHED, published_member
from mnas_search.architecture.traced_network import Network
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import InvalidArchitecture
from mnas_search.experiments.search.config import Setup
from mnas_search.experiments.search.stages.baseline_comparison import BaselineComparison
from mnas_search.experiments.search.stages.finalist_check import Finalist
from mnas_search.experiments.search.stages.sequence import Stages
from mnas_search.nas.evaluator import caveats_of, is_noisy
from mnas_search.nas.trial import Trial, believed, rank


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Where a session's time went, in seconds.

    Attributes:
        startup: until the first evaluation began.
        search: from the first ask to the last tell.
        replicates: the trainings that measure the noise between seeds.
        busy: share of the search time that the workers spent evaluating.
        final: second opinions, and trainings of the finalists or of the comparison.
    """

    startup: float
    search: float
    replicates: float
    busy: float
    final: float = 0.0


class Result:
    """What a run has found."""

    def __init__(
        self,
        setup: Setup,
        folder: Path,
        stages: Stages,
        timing: Timing | None,
    ) -> None:
        self.config, self.objective = setup.config, setup.objective
        self.cost_model = setup.cost_model
        self.folder, self.timing = folder, timing
        search = stages.search.search
        self.trials = search.trials
        self.asked, self.exhausted = search.asked, search.exhausted
        self.stalled = search.stalled
        self.replicates = stages.replicates.pairs
        self.seed_noise = stages.replicates.noise
        self.space, self.evaluator, self.check = setup.space, setup.evaluator, setup.check
        self._search = search
        self._finalist_check = stages.check if search.finished else None
        self._comparison = stages.comparison if search.finished else None
        self._remeasured = stages.remeasured

    @property
    def name(self) -> str:
        """The run's name: its folder's."""
        return self.folder.resolve().name

    @cached_property
    def networks(self) -> Mapping[int, Network]:
        """The network of every trial, by number."""
        return {trial.number: self._search.network(trial) for trial in self.trials}

    @cached_property
    def good(self) -> tuple[Trial, ...]:
        """Trials with a reward, best first."""
        good = [t for t in self.trials if t.reward is not None]
        return tuple(sorted(good, key=rank))

    @cached_property
    def limited(self) -> tuple[Trial, ...]:
        """Trials with a reward within all limits, whether within the target or not."""

        def kept(trial: Trial) -> bool:
            return all(
                trial.costs[METRICS[name].count] <= bound
                for name, bound in self.objective.bounds.items()
                if name != self.objective.metric
            )

        return tuple(filter(kept, self.good))

    @cached_property
    def stopped(self) -> tuple[Trial, ...]:
        """Trials that were stopped early, by number; they cannot win."""
        return tuple(t for t in self.trials if t.status == "stopped")

    @cached_property
    def best(self) -> Trial | None:
        """The winner within the constraints: the best finalist by the check, or the best candidate
        by further trainings; without either, the largest reward, by the controller's estimates of
        noisy accuracies where it has them."""
        if self.finalists:
            return None if self.opinion is None else self.opinion.trial
        if self._comparison is not None and self._comparison.winner is not None:
            return self._comparison.winner.trial
        return self.best_under(self.objective.target)

    @cached_property
    def estimates(self) -> Mapping[int, float]:
        """What the controller believes noisy accuracies to be, by number of the trial."""
        return self._search.estimates() if is_noisy(self.evaluator) else {}

    @cached_property
    def finalists(self) -> tuple[Finalist, ...]:
        """Candidates with a second opinion, the best by it first."""
        return () if self._finalist_check is None else self._finalist_check.finalists

    @cached_property
    def vetoed(self) -> tuple[Finalist, ...]:
        """Finalists that could not be trained."""
        return () if self._finalist_check is None else self._finalist_check.vetoed

    @cached_property
    def opinion(self) -> Finalist | None:
        """The winner with its second opinion."""
        return None if self._finalist_check is None else self._finalist_check.winner

    @cached_property
    def baseline(self) -> Finalist | None:
        """EfficientNet-B0 with its second opinion."""
        return None if self._finalist_check is None else self._finalist_check.baseline

    @cached_property
    def comparison(self) -> BaselineComparison | None:
        """The best candidates beside the baselines, where both were trained at the end."""
        found = self._comparison
        return found if found is not None and found.improvements else None

    def best_under(self, most: float) -> Trial | None:
        """The largest reward of a network whose target cost (multiply-adds, seconds, bytes) is at
        most `most`, within the limits; by estimates where there are, vetoed finalists left
        out."""
        vetoed = {one.trial.number for one in self.vetoed if one.trial is not None}
        fitting = [
            t
            for t in self.limited
            if self.objective.target_cost(t.costs) <= most and t.number not in vetoed
        ]

        def value(trial: Trial) -> float:
            return believed(trial, self.estimates, self.objective)

        return max(fitting, key=value, default=None)

    @cached_property
    def leading(self) -> dict[str, Network]:
        """The winner, the other best candidates and the baselines, by label; each network once."""
        named: list[tuple[str, Network]] = []
        if self.best is not None:
            winner = f"trial {self.best.number}, winner"
            named.append((winner, self.networks[self.best.number]))
        if self._comparison is not None:
            compared = (*self._comparison.candidates, *self._comparison.baselines)
            named += [(one.label, one.network) for one in compared]
        named += [
            (f"trial {one.trial.number}", one.network) for one in self.finalists if one.trial
        ]
        if self.baseline is not None:
            named.append((self.baseline.network.label, self.baseline.network))
        first: dict[str, tuple[str, Network]] = {}
        for label, network in named:
            first.setdefault(network.fingerprint, (label, network))
        return dict(first.values())

    @cached_property
    def latencies(self) -> dict[str, tuple[float, Latency]]:
        """(Predicted seconds, measured latency) of the leading networks that were measured on the
        device; the winner first, where it is among them."""
        table = self.cost_model.latency_table
        if table is None:
            return {}
        measured = [(label, n, self._remeasured.of(n)) for label, n in self.leading.items()]
        return {
            label: (table.predict(network).seconds, one)
            for label, network, one in measured
            if one is not None
        }

    @property
    def caveats(self) -> tuple[str, ...]:
        """Notes of the evaluator on its accuracies."""
        network = None if self.best is None else self.networks[self.best.number]
        return () if network is None else caveats_of(self.evaluator, network)

    @cached_property
    def pareto(self) -> tuple[Trial, ...]:
        """Pareto-optimal trials in accuracy and the target metric within the limits, cheapest
        first."""
        front: list[Trial] = []
        target_cost = self.objective.target_cost
        for trial in sorted(
            self.limited, key=lambda t: (target_cost(t.costs), -(t.accuracy or 0.0))
        ):
            if not front or (trial.accuracy or 0.0) > (front[-1].accuracy or 0.0):
                front.append(trial)
        return tuple(front)

    @property
    def architecture(self) -> Architecture | None:
        """The winner's architecture, named after the run; None where it is no chain of stages."""
        network = None if self.best is None else self.networks[self.best.number]
        return replace(network, name=self.name) if isinstance(network, Architecture) else None

    @cached_property
    def family(self) -> tuple[tuple[Architecture, Cost], ...]:
        """The winner scaled by EfficientNet's published coefficients, with each member's cost.

        Members that cannot be (a resolution or width beyond all bounds) are left out.
        """
        if self.architecture is None:
            return ()
        members = []
        for index, coefficients in enumerate(PUBLISHED):
            with contextlib.suppress(InvalidArchitecture):  # wider or deeper than can be
                member = published_member(
                    self.architecture, coefficients, name=f"{self.name}-b{index}"
                )
                members.append((member, cost(member)))
        return tuple(members)
