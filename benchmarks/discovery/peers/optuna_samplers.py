"""Optuna's samplers with their defaults, every decision a categorical one.

They know constraints: a trial is told its plain reward and the violation log(cost / target), as
Optuna's documentation has it for `Trial.set_constraint`.
"""

from typing import final

import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseSampler, GPSampler, TPESampler

from mnas_search.benchmarks.discovery.problems import Row, Told
from mnas_search.benchmarks.discovery.searchers import Searcher
from mnas_search.nas.problem import Problem


@final
class OptunaPeer(Searcher):
    """A study with one of Optuna's samplers."""

    def __init__(self, problem: Problem, sampler: BaseSampler) -> None:
        self._names = [d.name for d in problem.decisions]
        self._distributions: dict[str, BaseDistribution] = {
            d.name: CategoricalDistribution(range(len(d.options))) for d in problem.decisions
        }
        verbosity = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(direction="maximize", sampler=sampler)
        optuna.logging.set_verbosity(verbosity)
        self._open: tuple[Row, optuna.Trial] | None = None

    def ask(self) -> Row:
        trial = self._study.ask(self._distributions)
        row = tuple(int(trial.params[name]) for name in self._names)
        self._open = (row, trial)
        return row

    def tell(self, row: Row, told: Told) -> None:
        if self._open is None or self._open[0] != row:
            self._study.enqueue_trial(dict(zip(self._names, row, strict=True)))
            assert self.ask() == row
        assert self._open is not None
        trial = self._open[1]
        self._open = None
        trial.set_constraint("cost", told.constraint_violation)
        self._study.tell(trial, told.reward)


def optuna_tpe(problem: Problem, seed: int) -> Searcher:
    """Make Optuna's tree-structured Parzen estimator."""
    return OptunaPeer(problem, TPESampler(seed=seed))


def optuna_gp(problem: Problem, seed: int) -> Searcher:
    """Make Optuna's Gaussian process with log constrained expected improvement."""
    return OptunaPeer(problem, GPSampler(seed=seed))
