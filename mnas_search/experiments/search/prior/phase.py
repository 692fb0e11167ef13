"""The phase of a run that trains its prior, before the search.

Several members, such as supernets, are trained on the data, each without a part of it; each reads
some hundred networks on that part; and a Gaussian process fitted to the mean readings predicts any
network. All of it is in the journal before it counts:

    prior plan      the lengths, and the networks that are read
    prior training  of a member
    prior reading   of a network by a member
    prior           the end of the phase: the search's prior is that of the readings before it
"""

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, final

from mnas_search.architecture.traced_network import Network
from mnas_search.common.errors import WorkFailed
from mnas_search.common.files import make_folder
from mnas_search.experiments.jobs import NO_TRIAL, JobResult, JournalledQueue
from mnas_search.experiments.search.prior.plan import PriorPlan
from mnas_search.experiments.search.prior.readings import (
    FINISHED,
    PLANNED,
    READ,
    Readings,
    read_plan,
)
from mnas_search.experiments.search.prior.training import MemberTrainings
from mnas_search.experiments.search.stages.trainings import Stage
from mnas_search.nas.core import training_seed
from mnas_search.nas.evaluator import PriorMember, SupportsPriorTraining
from mnas_search.nas.job import EvaluationJob, EvaluatorPool
from mnas_search.nas.journal import Events
from mnas_search.nas.space.choices import decode
from mnas_search.nas.space.contract import SearchSpace

_FOLDER = "prior"


@final
class PriorPhase:
    """The jobs of a phase that has not finished.

    Args:
        evaluator: whose members are trained.
        plan: gives the lengths, where the journal has none.
        allows: which networks members are trained on.
        seed: of the run.
        folder: of the run.
        on_status: is told how far the phase has come.
    """

    def __init__(
        self,
        evaluator: SupportsPriorTraining,
        plan: Callable[[], PriorPlan],
        *,
        space: SearchSpace,
        allows: Callable[[Network], bool],
        seed: int,
        folder: Path,
        journal: Events,
        on_status: Callable[[str], None],
    ) -> None:
        self._journal, self._space, self._on_status = journal, space, on_status
        found = read_plan(journal)
        if found is None:
            found = plan()
            journal.append({"event": PLANNED, **found.to_dict(), "phase": "prior"}, sync=True)
        self.plan = found
        # Workers may have another working directory.
        place = make_folder(folder.resolve() / _FOLDER)
        checkpoints = tuple(place / f"member-{k}.pt" for k in range(found.members))
        self._members: tuple[PriorMember, ...] = tuple(
            evaluator.prior_member(
                number,
                found.members,
                steps=found.steps,
                seed=training_seed(seed, "prior", number),
                checkpoint=checkpoint,
                allows=allows,
            )
            for number, checkpoint in enumerate(checkpoints)
        )
        self._trainings = MemberTrainings(
            checkpoints, steps=found.steps, journal=journal, on_status=on_status
        )
        self._readings = JournalledQueue(
            READ, jobs=self._jobs, journal=journal, members=self._members_of, on_result=self._show
        )

    @property
    def stages(self) -> tuple[Stage, ...]:
        """The trainings and the readings, in sequence."""
        plan, pool = self.plan, EvaluatorPool(self._members)
        training = f"training {plan.members} members of the prior, {plan.steps:,} steps each"
        reading = f"reading {len(plan.codes)} networks by each of them"
        return Stage(training, pool, self._trainings), Stage(reading, pool, self._readings)

    def finish(self, seconds: float) -> Readings:
        """Journal the end of the phase.

        Args:
            seconds: from the beginning of the run.

        Raises:
            WorkFailed: no member could be trained, or read anything.
        """
        found: dict[tuple[int, int], tuple[float, float]] = {}
        for member in range(self.plan.members):
            for number, network in enumerate(self._networks):
                result = self._readings.result(network, member)
                if result is not None and result.accuracy:
                    found[member, number] = result.accuracy, result.seconds
        seconds = round(seconds, 3)
        readings = Readings.of(self.plan, found, seconds)
        if not len(readings.codes):
            unread = (result.error for result in self._readings.results)
            errors = [*self._trainings.errors, *filter(None, unread)]
            raise WorkFailed(f"the prior cannot be trained; the first reason: {errors[0]}")
        event = {"event": FINISHED, "readings": len(found), "seconds": seconds, "phase": "prior"}
        self._journal.append(event, sync=True)
        return readings

    @cached_property
    def _networks(self) -> tuple[Network, ...]:
        """The networks that are read, as distinct as the plan has them."""
        decisions, decode_network = self._space.decisions, self._space.decode
        return tuple(decode_network(decode(decisions, row)) for row in self.plan.codes)

    @cached_property
    def _numbers(self) -> dict[str, int]:
        return {network.fingerprint: number for number, network in enumerate(self._networks)}

    def _jobs(self) -> list[EvaluationJob]:
        # A member stands in a seed's place: every reading is another network and seed.
        return [
            EvaluationJob(number=NO_TRIAL, network=network, seed=member, evaluator_index=member)
            for member in range(self.plan.members)
            if self._trainings.is_trained(member)
            for network in self._networks
        ]

    def _members_of(self, job: EvaluationJob, result: JobResult) -> Mapping[str, Any]:
        del result
        return {"network": self._numbers[job.network.fingerprint], "phase": "prior"}

    def _show(self, job: EvaluationJob, result: JobResult) -> None:
        del job, result
        total = self.plan.members * len(self.plan.codes)
        self._on_status(f"prior: {len(self._readings.results):,} of {total:,} readings")
