"""The trainings of a plan, and their results."""

import time
from collections.abc import Callable, Mapping
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from mnas_search.experiments.fidelity.plan import ComparedRecipe, Plan
from mnas_search.experiments.jobs import JobResult, JournalledQueue
from mnas_search.nas.job import EvaluationJob
from mnas_search.nas.journal import Events


@final
class Trainings:
    """Every network by every recipe, in the order of networks: after an interruption, the
    networks that are finished are finished by all recipes.

    Args:
        deadline: `time.monotonic()` after which no training begins.
        on_result: called with the recipe and result of every finished training.

    Attributes:
        queue: the jobs.
        total: number of trainings, finished or not.
    """

    def __init__(
        self,
        plan: Plan,
        journal: Events,
        *,
        deadline: float = float("inf"),
        on_result: Callable[[ComparedRecipe, JobResult], None] = lambda recipe, result: None,
    ) -> None:
        assert plan.config.seed is not None
        self._plan, self._seed = plan, plan.config.seed
        jobs = [
            EvaluationJob(
                number=number, network=network, seed=seed, evaluator_index=index, recipe=recipe.key
            )
            for number, network in enumerate(plan.networks)
            for index, recipe in enumerate(plan.recipes)
            for seed in recipe.seeds(self._seed, network.fingerprint)
        ]
        self.total = len(jobs)
        self.queue = JournalledQueue(
            "training",
            jobs=lambda: jobs,
            journal=journal,
            members=_members,
            has_time=lambda: time.monotonic() <= deadline,
            on_result=lambda job, result: on_result(plan.recipes[job.evaluator_index], result),
        )

    @property
    def remaining(self) -> int:
        """Number of trainings that are not finished."""
        return self.queue.remaining

    @property
    def done(self) -> int:
        """Number of trainings that are finished."""
        return self.total - self.remaining

    @property
    def errors(self) -> list[str]:
        """The reasons of failed trainings, recipe by recipe."""
        rows = (row for recipe in self._plan.recipes for row in self.of(recipe))
        return [result.error for row in rows for result in row if result and result.error]

    def of(self, recipe: ComparedRecipe) -> list[list[JobResult | None]]:
        """Return a recipe's results by network and seed; None where unfinished."""
        return [
            [
                self.queue.result(network, seed, recipe.key)
                for seed in recipe.seeds(self._seed, network.fingerprint)
            ]
            for network in self._plan.networks
        ]

    def accuracies(self, recipe: ComparedRecipe) -> NDArray[np.float64]:
        """Return a recipe's accuracies by network and seed [N, S]; NaN where failed or missing."""
        rows = [[t and t.accuracy for t in row] for row in self.of(recipe)]
        return np.array(rows, np.float64)  # None becomes NaN


def _members(job: EvaluationJob, result: JobResult) -> Mapping[str, Any]:
    return {
        "recipe": job.recipe,
        "status": "ok" if result.error is None else "failed",
        "seconds": round(result.seconds, 4),
    }
