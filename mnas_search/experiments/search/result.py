"""What a run has found."""

import contextlib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from mnas_search.architecture.cost.base import Cost
from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.cost.latency.table import Latency
from mnas_search.architecture.cost.metrics import METRICS
from mnas_search.architecture.scaling import PUBLISHED, published_member
from mnas_search.architecture.traced_network import Network, block_string
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import InvalidArchitecture
from mnas_search.experiments.search.config import Setup
from mnas_search.experiments.search.prior.agreement import Agreement, agree
from mnas_search.experiments.search.recommendation import Recommendation
from mnas_search.experiments.search.report import notebook
from mnas_search.experiments.search.stages.baseline_comparison import (
    BaselineComparison,
    Candidate,
)
from mnas_search.experiments.search.stages.finalist_check import Finalist
from mnas_search.experiments.search.stages.held_out import HeldOutTest
from mnas_search.experiments.search.stages.sequence import Stages
from mnas_search.nas.evaluator import caveats_of, is_noisy
from mnas_search.nas.space.choices import decode, encode
from mnas_search.nas.trial import Trial, believed, rank

if TYPE_CHECKING:
    from matplotlib.axes import Axes


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Seconds of a session: until the first evaluation, from the first ask to the last tell, of
    the replicates, and of the stages after the search; `busy` is the share of the search time that
    the workers spent evaluating."""

    startup: float = 0.0
    search: float = 0.0
    replicates: float = 0.0
    busy: float = 0.0
    final: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Figures:
    """A winner's accuracy and reward by what did not choose it among all candidates: the mean of
    fresh seeds, or the second opinion. Only where there is neither, as the search measured it.
    `margin` is half the width of the accuracy's 95 % interval, where it is known."""

    accuracy: float
    reward: float
    margin: float | None = None

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of the accuracy within 0 and 1, where it is known."""
        if self.margin is None:
            return None
        return max(0.0, self.accuracy - self.margin), min(1.0, self.accuracy + self.margin)


class Result:
    """What a run has found.

    `best` is the search's own winner; `recommendation` is the network to use, which may be a
    baseline.
    """

    def __init__(
        self, setup: Setup, folder: Path, stages: Stages, timing: Timing | None = None
    ) -> None:
        self.config, self.objective = setup.config, setup.objective
        self.cost_model = setup.cost_model
        self.space, self.evaluator, self.check = setup.space, setup.evaluator, setup.check
        self.folder, self.timing = folder, timing
        self.readings, self._prior = setup.readings, setup.problem.prior
        self._search = search = stages.search
        self.trials, self.asked = search.trials, search.asked
        self.exhausted, self.stalled = search.exhausted, search.stalled
        self.replicates, self.seed_noise = stages.replicates.pairs, stages.replicates.noise
        self._remeasured = stages.remeasured
        self._ended = search.finished
        self._compared = stages.comparison if search.finished else None
        self._test, self._limit = stages.test, stages.limit
        # The finalists by the check, best first; those that could not be trained; the winner and
        # EfficientNet-B0 with their second opinions.
        self.finalists: tuple[Finalist, ...] = ()
        self.vetoed: tuple[Finalist, ...] = ()
        self.opinion: Finalist | None = None
        self.baseline: Finalist | None = None
        if search.finished and (check := stages.check) is not None:
            self.finalists, self.vetoed = check.finalists, check.vetoed
            self.opinion, self.baseline = check.winner, check.baseline

    @property
    def shortage(self) -> str | None:
        """Why no candidate has ended, where the time was too short."""
        return self._limit.shortage(self.asked)

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
        limits = {
            METRICS[name].count: bound
            for name, bound in self.objective.bounds.items()
            if name != self.objective.metric
        }
        return tuple(
            t for t in self.good if all(t.costs[name] <= most for name, most in limits.items())
        )

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
        if self._compared is not None and self._compared.winner is not None:
            return self._compared.winner.trial
        return self.best_under(self.objective.target)

    @cached_property
    def figures(self) -> Figures | None:
        """The winner's accuracy and reward as they are shown; None without a winner."""
        if (best := self.best) is None:
            return None
        assert best.accuracy is not None and best.reward is not None
        compared = self._compared and self._compared.winner
        if (opinion := self.opinion) is not None:
            return Figures(
                accuracy=opinion.checked.accuracy, reward=opinion.reward, margin=opinion.margin
            )
        if self._compared is not None and compared:
            reward = self.objective.reward_of(compared.mean, best.costs)
            return Figures(accuracy=compared.mean, reward=reward, margin=self._compared.margin)
        return Figures(accuracy=best.accuracy, reward=best.reward)

    @cached_property
    def recommendation(self) -> Recommendation | None:
        """The network to use. None before the end of the search and of the comparison with
        baselines, where there is one and time for it, and without a winner."""
        if not self._ended or self.best is None:
            return None
        compared = self._compared
        chosen = None if compared is None else compared.recommended
        if chosen is None:
            if compared is not None and not (compared.complete or self._limit.left_out):
                return None
            return Recommendation(name=self.name, source="winner", architecture=self.architecture)
        test = None if self._test is None else self._test.of(chosen)
        found = None if test is None else test.accuracy
        winner = chosen.trial is not None
        return Recommendation(
            name=self.name if winner else chosen.label,
            source="winner" if winner else "baseline",
            architecture=self._architecture(chosen),
            validation=chosen.mean,
            test=None if found is None else found.value,
            interval=None if found is None else (found.low, found.high),
            weights=chosen.weights or self.config.init,
        )

    def _architecture(self, chosen: Candidate) -> Architecture | None:
        network = chosen.network
        if chosen.trial is not None:
            return self.architecture
        return network if isinstance(network, Architecture) else None

    @property
    def recommended(self) -> Architecture | None:
        """The recommended network, which the family and the export are made of: the winner until
        there is a recommendation; None where it is no chain of stages."""
        found = self.recommendation
        return self.architecture if found is None else found.architecture

    @property
    def winner(self) -> Network | None:
        """The winner's network."""
        return None if self.best is None else self.networks[self.best.number]

    @cached_property
    def estimates(self) -> Mapping[int, float]:
        """What the controller believes noisy accuracies to be, by number of the trial."""
        return self._search.estimates() if is_noisy(self.evaluator) else {}

    @cached_property
    def comparison(self) -> BaselineComparison | None:
        """The best candidates beside the baselines, where any of them was trained at the end."""
        found = self._compared
        return found if found is not None and found.recommended else None

    @property
    def test(self) -> HeldOutTest | None:
        """The comparison's test, as far as it has come."""
        return None if self.comparison is None else self._test

    def best_under(self, most: float) -> Trial | None:
        """Return the largest reward, by estimates if there are any, of a network within the limits
        whose target cost (multiply-adds, seconds, bytes) is at most `most`, and not vetoed."""
        vetoed, target_cost = [one.trial for one in self.vetoed], self.objective.target_cost
        return max(
            (t for t in self.limited if target_cost(t.costs) <= most and t not in vetoed),
            key=lambda trial: believed(trial, self.estimates, self.objective),
            default=None,
        )

    @cached_property
    def leading(self) -> dict[str, Network]:
        """The winner, the other best candidates and the baselines, by label; each network once."""
        named: list[tuple[str, Network]] = []
        if self.best is not None and self.winner is not None:
            named.append((f"trial {self.best.number}, winner", self.winner))
        if self._compared is not None:
            compared = (*self._compared.candidates, *self._compared.baselines)
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
        return {
            label: (table.predict(network).seconds, measured)
            for label, network in self.leading.items()
            if (measured := self._remeasured.of(network)) is not None
        }

    @property
    def winner_latency(self) -> tuple[float, Latency] | None:
        """The winner's predicted and measured latency, if it was measured."""
        return self.latencies.get(next(iter(self.leading), ""))

    @cached_property
    def agreement(self) -> Agreement | None:
        """How far the prior that was trained agrees with the trainings so far, and counts beside
        it; None for runs without such a prior."""
        readings, prior = self.readings, self._prior
        if readings is None or prior is None:
            return None
        decisions = self.space.decisions
        trained = [trial for trial in self.trials if trial.status == "ok"]
        codes = [encode(decisions, trial.choices) for trial in trained]
        return agree(
            readings.log_likelihoods,
            [self.space.decode(decode(decisions, row)) for row in readings.codes],
            [self.networks[trial.number] for trial in trained],
            [trial.accuracy or 0.0 for trial in trained],
            prior(np.array(codes)) if codes else np.empty(0),
        )

    @property
    def caveats(self) -> tuple[str, ...]:
        """Notes of the evaluator on its accuracies."""
        return () if self.winner is None else caveats_of(self.evaluator, self.winner)

    @cached_property
    def pareto(self) -> tuple[Trial, ...]:
        """Pareto-optimal trials in accuracy and the target metric within the limits, cheapest
        first."""
        front: list[Trial] = []

        def key(trial: Trial) -> tuple[float, float]:
            return self.objective.target_cost(trial.costs), -(trial.accuracy or 0.0)

        for trial in sorted(self.limited, key=key):
            if not front or (trial.accuracy or 0.0) > (front[-1].accuracy or 0.0):
                front.append(trial)
        return tuple(front)

    @property
    def architecture(self) -> Architecture | None:
        """The winner's architecture, named after the run; None where it is no chain of stages."""
        winner = self.winner
        return replace(winner, name=self.name) if isinstance(winner, Architecture) else None

    def to_dataframe(self) -> Any:
        """Return all trials as a pandas data frame, a row a trial, with a column a decision.

            result.to_dataframe().groupby("block3.kernel")["accuracy"].mean()

        Raises:
            UsageError: pandas is not installed.
        """
        return notebook.data_frame(self.trials)

    def plot_front(self, axes: "Axes | None" = None) -> "Axes":
        """Draw accuracy against the target's metric with matplotlib, and return the axes: all
        candidates, the Pareto front, the winner and the target."""
        return notebook.plot_front(axes, self.objective, self.good, self.pareto, self.best)

    def _repr_html_(self) -> str:
        """Show the winner and the Pareto front in a notebook."""
        facts = {"folder": str(self.folder), "trials": str(len(self.trials))}
        title = f"{self.name}: no network within {self.objective.constraint} yet"
        best, winner, shown = self.best, self.winner, self.figures
        if best is not None and winner is not None and shown is not None:
            title = f"{self.name}: trial {best.number} within {self.objective.constraint}"
            margin = "" if shown.margin is None else f" ± {shown.margin:.4f}"
            figures = {"accuracy": f"{shown.accuracy:.4f}{margin}", **notebook.costs(best)}
            if (found := self.recommendation) is not None and found.source == "baseline":
                facts = {"recommended": f"{found.name}, a baseline", **facts}
            facts = {**figures, "network": block_string(winner) or winner.label, **facts}
        return notebook.html(title, facts, self.pareto)

    @cached_property
    def family(self) -> tuple[tuple[Architecture, Cost], ...]:
        """The recommended network scaled by EfficientNet's published coefficients, with each
        member's cost; those whose width, depth or resolution is beyond the valid range are left
        out."""
        if (base := self.recommended) is None:
            return ()
        members = []
        for index, coefficients in enumerate(PUBLISHED):
            with contextlib.suppress(InvalidArchitecture):
                member = published_member(base, coefficients, name=f"{self.name}-b{index}")
                members.append((member, cost(member)))
        return tuple(members)
