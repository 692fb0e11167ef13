"""What the trained members of a prior have read, as the journal has it."""

from collections.abc import Mapping
from dataclasses import dataclass
from statistics import median
from typing import Self, final

import numpy as np

from mnas_search.common.errors import RunFolderError, describe_exception
from mnas_search.common.statistics import Values
from mnas_search.common.units import format_duration
from mnas_search.experiments.search.prior.plan import PriorPlan
from mnas_search.nas.journal import Events
from mnas_search.nas.space.choices import Codes

PLANNED, READ, FINISHED = "prior plan", "prior reading", "prior"  # events


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Readings:
    """What the members have read.

    Attributes:
        codes: of the networks that all members have read [N, D].
        log_likelihoods: minus the cross-entropies, a row a member [K, N].
        steps: of each member's training.
        each: seconds of a reading, the median.
        seconds: from the beginning of the run to the end of the phase.
    """

    codes: Codes
    log_likelihoods: Values
    steps: int
    each: float
    seconds: float

    @classmethod
    def of(
        cls,
        plan: PriorPlan,
        results: Mapping[tuple[int, int], tuple[float, float]],
        seconds: float,
    ) -> Self:
        """Make a table of accuracies and seconds by (member, network); members without any are
        left out, then networks that one of the others has not read."""
        found = np.full((plan.members, len(plan.codes)), np.nan)
        for place, (accuracy, _) in results.items():
            found[place] = np.log(accuracy)
        found = found[np.isfinite(found).any(axis=1)]
        known = np.isfinite(found).all(axis=0) & bool(len(found))
        return cls(
            codes=np.array(plan.codes)[known],
            log_likelihoods=found[:, known],
            steps=plan.steps,
            each=median(took for _, took in results.values()) if results else 0.0,
            seconds=seconds,
        )

    @property
    def mean(self) -> Values:
        """Mean over the members [N]."""
        means: Values = self.log_likelihoods.mean(axis=0)
        return means


def read_readings(journal: Events) -> Readings | None:
    """Return the readings of a journal whose prior is finished; None before."""
    events = journal.events
    ends = [number for number, event in enumerate(events) if event["event"] == FINISHED]
    if not ends:
        return None
    try:
        plan = read_plan(journal)
        assert plan is not None
        results = {
            (event["seed"], event["network"]): (event["accuracy"], event["seconds"])
            for event in events[: ends[0]]
            if event["event"] == READ and event["accuracy"]
        }
        return Readings.of(plan, results, events[ends[0]]["seconds"])
    except (AssertionError, LookupError, TypeError) as error:
        raise RunFolderError(
            f"the journal's prior does not fit together: {describe_exception(error)}"
        ) from error


def read_plan(journal: Events) -> PriorPlan | None:
    """Return the plan of a journal; None without one."""
    found = (event for event in journal.events if event["event"] == PLANNED)
    event = next(found, None)
    return None if event is None else PriorPlan.from_dict(event)


def prior_text(readings: Readings) -> str:
    """Return a sentence on how a prior was trained."""
    members, networks = readings.log_likelihoods.shape
    return (
        f"prior: {members} members, trained for {readings.steps:,} steps each, have read "
        f"{networks} networks each, in {readings.each:.2g} s a network; finished "
        f"{format_duration(readings.seconds)} after the run's beginning"
    )
