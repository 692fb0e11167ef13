"""The plan of a prior: how many members are trained, how long, and how many networks are read.

Lengths are numbers of steps and networks. They are planned once, from the seconds that a step and
a reading were measured to take, and journalled; a resumed run uses the same, so that it ends with
the same prior. The seconds of a prior are therefore planned, not kept.
"""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self, final

from mnas_search.common.checks import check_integer
from mnas_search.common.errors import UsageError
from mnas_search.common.units import format_duration
from mnas_search.experiments.runners import CONTENTION
from mnas_search.nas.evaluator import PriorTimes

DEFAULT_TIME = 360.0  # seconds of a prior
BUDGET_SHARE = 0.25  # of a run's time, at most, for a prior
MIN_MEMBERS, MAX_MEMBERS = 2, 8  # their agreement needs two; more than eight were not tried
MIN_STEPS = 50
MIN_NETWORKS, MAX_NETWORKS = 100, 300
READING_SHARE = 0.3  # of a prior's time, at most, for more than the fewest readings
STARTUP = 15.0  # seconds until Ray's workers have started and ended
SLACK = 0.05  # of the time, kept for what was not foreseen


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class PriorRecipe:
    """What `--prior-recipe` sets of a plan; None leaves it to the plan.

    Attributes:
        members: that are trained.
        steps: of each one's training.
        networks: that each one reads.
        others: changes to the evaluator's own recipe, as `NAME=N,...`; None for none.
    """

    members: int | None = None
    steps: int | None = None
    networks: int | None = None
    others: str | None = None

    @classmethod
    def parse(cls, text: str | None) -> Self:
        """Read `members=2,steps=500,width=0.5`; names that are not a plan's are the evaluator's.

        Raises:
            UsageError: a number of the plan is no integer of at least 1.
        """
        own: dict[str, int] = {}
        others = []
        for word in filter(None, (part.strip() for part in (text or "").split(","))):
            name, _, value = (part.strip() for part in word.partition("="))
            if name not in _MINIMA:
                others.append(word)
                continue
            if not value.isdecimal():
                raise UsageError(f"{name} of prior_recipe must be a whole number, got {word!r}")
            own[name] = int(value)
            check_integer(f"{name} of prior_recipe", own[name], _MINIMA[name])
        return cls(**own, others=",".join(others) or None)


_MINIMA = {"members": MIN_MEMBERS, "steps": 1, "networks": 1}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class PriorPlan:
    """The lengths of a prior's training.

    Attributes:
        members: that are trained.
        steps: of each one's training.
        codes: of the networks that each one reads.
        seconds: as measured (`step`, `reading`) and planned (`prior`); empty where the recipe
            gives every length.
    """

    members: int
    steps: int
    codes: tuple[tuple[int, ...], ...]
    seconds: Mapping[str, float]

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_dict` has returned, from JSON; other names are left out."""
        return cls(
            members=value["members"],
            steps=value["steps"],
            codes=tuple(tuple(row) for row in value["codes"]),
            seconds=value["seconds"],
        )


def default_time(budget: float | None) -> float:
    """Return the seconds of a prior of a run with this time budget."""
    return DEFAULT_TIME if budget is None else min(DEFAULT_TIME, BUDGET_SHARE * budget)


def fill_in(
    recipe: PriorRecipe,
    times: PriorTimes | None,
    *,
    seconds: float,
    measuring: float,
    workers: int,
) -> PriorRecipe:
    """Return the recipe with every length, so that the prior ends within its seconds.

    Args:
        times: as measured; None where the recipe has steps and networks.
        seconds: of the whole prior.
        measuring: of them, spent already.
        workers: that train and read at a time; 0 for this process.

    Raises:
        UsageError: the time is too short.
    """
    # Members that share a GPU slow each other down as if they were trained in turn.
    gpus = 0 if times is None else times.gpus
    at_once = max(1, min(workers, gpus) if gpus else workers)
    members = recipe.members or min(MAX_MEMBERS, max(MIN_MEMBERS, at_once))
    recipe = replace(recipe, members=members)
    if times is None:
        return recipe
    slower = math.ceil(members / at_once) * (CONTENTION if at_once > 1 else 1.0)
    step, reading = slower * times.step, slower * times.reading
    fixed = measuring + (STARTUP if workers else 0.0)
    left = (1 - SLACK) * seconds - fixed
    least_steps, least_networks = recipe.steps or MIN_STEPS, recipe.networks or MIN_NETWORKS
    needed = (fixed + least_steps * step + least_networks * reading) / (1 - SLACK)
    if needed > seconds:
        raise UsageError(
            f"prior_time must be at least {format_duration(needed)} for {members} members of "
            f"{least_steps} steps that read {least_networks} networks each, got "
            f"{format_duration(seconds)}"
        )
    affordable = int(READING_SHARE * left / reading)
    networks = recipe.networks or min(MAX_NETWORKS, max(MIN_NETWORKS, affordable))
    steps = recipe.steps or min(int((left - networks * reading) / step), times.max_steps)
    return replace(recipe, steps=max(steps, 1), networks=networks)
