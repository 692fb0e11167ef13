"""The trainings of a plan, and what came of them."""

from collections.abc import Callable, Mapping
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from mnas_search.experiments.fidelity.plan import ComparedRecipe, Plan
from mnas_search.experiments.jobs import JobResult, JournalledQueue
from mnas_search.nas.job import EvaluationJob, EvaluatorPool
from mnas_search.nas.journal import Events


@final
class Trainings:
    """Every network by every recipe, network by network: whenever the work is interrupted, the
    networks that are done are done by all recipes.

    Args:
        plan: what to train.
        journal: where results go.
        deadline: `time.monotonic()` after which nothing more is trained.
        on_result: called with every finished training, and its recipe.

    Attributes:
        queue: the jobs.
        total: number of them, done or not.
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
                number=number,
                network=network,
                seed=seed,
                evaluator_index=index,
                recipe=recipe.key,
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
            describe=_event,
            deadline=deadline,
            on_result=lambda job, result: on_result(plan.recipes[job.evaluator_index], result),
        )

    @property
    def evaluators(self) -> EvaluatorPool:
        """The recipes' evaluators."""
        return EvaluatorPool(tuple(recipe.evaluator for recipe in self._plan.recipes))

    @property
    def remaining(self) -> int:
        """Number of trainings that are not finished."""
        return self.queue.remaining

    @property
    def done(self) -> int:
        """Number of trainings that are finished."""
        return self.total - self.remaining

    def of(self, recipe: ComparedRecipe) -> list[list[JobResult | None]]:
        """Return a recipe's results by network and seed; None where still to do."""
        return [
            [
                self.queue.result(network, seed, recipe.key)
                for seed in recipe.seeds(self._seed, network.fingerprint)
            ]
            for network in self._plan.networks
        ]

    def accuracies(self, recipe: ComparedRecipe) -> NDArray[np.float64]:
        """Return a recipe's accuracies by network and seed [N, S]; NaN where failed or missing."""
        return np.array(
            [
                [np.nan if t is None or t.accuracy is None else t.accuracy for t in row]
                for row in self.of(recipe)
            ]
        )


def _event(job: EvaluationJob, result: JobResult) -> Mapping[str, Any]:
    return {
        "event": "training",
        "recipe": job.recipe,
        "fingerprint": job.network.fingerprint,
        "seed": job.seed,
        "status": "ok" if result.error is None else "failed",
        "accuracy": result.accuracy,
        "seconds": round(result.seconds, 4),
        "error": result.error,
    }
