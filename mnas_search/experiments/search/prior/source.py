"""What a prior that is trained comes from: the evaluator that `--prior` names, and the plan."""

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import final

import numpy as np

from mnas_search.architecture.traced_network import Network
from mnas_search.common import plugins
from mnas_search.common.errors import UsageError
from mnas_search.evaluators.function import as_evaluator
from mnas_search.experiments.search.options import RunConfig
from mnas_search.experiments.search.prior.networks import spread_out
from mnas_search.experiments.search.prior.plan import (
    PriorPlan,
    PriorRecipe,
    default_time,
    fill_in,
)
from mnas_search.nas.evaluator import SupportsPriorTraining, for_space
from mnas_search.nas.objective import Objective
from mnas_search.nas.problem import Problem
from mnas_search.nas.space.contract import SearchSpace
from mnas_search.nas.space.cost_model import CostModel

_NEAR = math.log(1.25)  # of cost over bound


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class NearTarget:
    """Tells which networks exceed the constraints by a quarter at most: weights that are shared
    with far larger networks are not trained for those that can win."""

    objective: Objective
    cost_model: CostModel

    def __call__(self, network: Network) -> bool:
        """Return whether a network is near enough."""
        costs = {name: np.array([n]) for name, n in self.cost_model.costs(network).items()}
        return float(self.objective.constraint_violation(costs)[0]) <= _NEAR


def is_trained(name: str) -> bool:
    """Return whether the prior of a name is trained on the run's data."""
    return isinstance(plugins.load("evaluators", name), SupportsPriorTraining)


@final
class PriorSource:
    """A prior that is trained before a search.

    Attributes:
        evaluator: whose members are trained.

    Raises:
        UsageError: there is no data, or the evaluator refuses the space.
    """

    def __init__(self, config: RunConfig, space: SearchSpace, deployment: int | None) -> None:
        assert config.prior is not None
        if config.data is None:
            raise UsageError(f"prior {config.prior!r} requires --data, on which it is trained")
        self._space = space
        self._recipe = PriorRecipe.parse(config.prior_recipe)
        self._plan: PriorPlan | None = None
        evaluator = as_evaluator(
            plugins.load("evaluators", config.prior),
            data=config.data,
            proxy=self._recipe.others,
            deployment=deployment,
        )
        evaluator = for_space(evaluator, space)
        assert isinstance(evaluator, SupportsPriorTraining)
        self.evaluator: SupportsPriorTraining = evaluator

    @property
    def will_measure(self) -> bool:
        """Whether `plan` measures, which takes seconds."""
        return self._plan is None and None in (self._recipe.steps, self._recipe.networks)

    def plan(
        self, config: RunConfig, problem: Problem, allows: Callable[[Network], bool]
    ) -> PriorPlan:
        """Measure, where the recipe leaves a length open, and plan; once.

        Args:
            config: with nothing left open.
            allows: which networks members are trained on.

        Raises:
            UsageError: the time is too short, or no network is feasible.
        """
        if self._plan is None:
            self._plan = self._planned(config, problem, allows)
        return self._plan

    def _planned(
        self, config: RunConfig, problem: Problem, allows: Callable[[Network], bool]
    ) -> PriorPlan:
        recipe, begun = self._recipe, time.monotonic()
        times = self.evaluator.measure_prior(allows) if self.will_measure else None
        seconds = config.prior_time or default_time(config.time_budget)
        recipe = fill_in(
            recipe,
            times,
            seconds=seconds,
            measuring=time.monotonic() - begun,
            workers=config.workers or 0,
        )
        assert recipe.members and recipe.steps and recipe.networks
        codes = spread_out(problem, self._space, recipe.networks, config.seed)
        measured = {} if times is None else {"step": times.step, "reading": times.reading}
        return PriorPlan(
            members=recipe.members,
            steps=recipe.steps,
            codes=tuple(tuple(row) for row in codes.tolist()),
            seconds={"prior": seconds, **measured} if measured else {},
        )
