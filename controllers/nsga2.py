"""NSGA-II (Deb et al. 2002), Optuna's: accuracy against cost, a front instead of one network.

A generation's parents are the best of its forerunner and of that one's parents, by
non-dominated sorting, then by crowding distance; a child is the uniform crossover of two parents,
each decision drawn anew with probability 1/D. Networks within the constraints dominate all others,
which the controller does not propose in the first place (`optuna_study`).

The objective's reward is not read: accuracy is maximised and the target metric (multiply-adds,
seconds, bytes) minimised. One run thus serves every target below its own, at the price of spending
trials on small networks that a search for the best reward would skip.

Optuna counts generations by finished trials. Which generation a trial belongs to, and a
generation's parents, are settled when it is opened, by what has finished until then; taking the
events back in their order settles them alike. So older generations are left out of sight, which
changes no proposal.
"""

import numpy as np
from optuna.samplers import NSGAIISampler

from mnas_search.controllers.optuna_study import OptunaStudy
from mnas_search.nas.controller import Controller
from mnas_search.nas.problem import Problem
from mnas_search.nas.space.choices import Choices
from mnas_search.nas.trial import Trial


class NSGA2(Controller):
    """Optuna's NSGA-II sampler under constraints.

    Args:
        problem: the search.
        population: trials of a generation; the first is drawn at random within the constraints.
            Optuna's default of 50 leaves a search of a few hundred trials too few generations.
    """

    def __init__(self, problem: Problem, *, population: int = 20) -> None:
        self._objective = problem.objective
        self._study = OptunaStudy(
            problem,
            directions=["maximize", "minimize"],
            sampler=lambda seed: NSGAIISampler(population_size=population, seed=seed),
            startup=population,
        )

    def ask(self, rng: np.random.Generator) -> Choices:
        """Return what Optuna suggests."""
        return self._study.ask(rng)

    def tell(self, trial: Trial) -> None:
        """Give Optuna accuracy and cost; a trial without a result, one that was stopped
        early among them, is told as failed: it joins no population."""
        values = None
        if trial.status == "ok" and trial.accuracy is not None:
            values = [trial.accuracy, float(self._objective.target_cost(trial.costs))]
        self._study.tell(trial.choices, values)

    def resume_ask(self, choices: Choices) -> None:
        """Open the trial in the study."""
        self._study.take(choices)
