"""An Optuna study under constraints: what the controllers built on its samplers share.

Optuna's samplers draw from a generator of their own and keep what they know in the study. Here
every draw has a fresh sampler, seeded from the generator that `ask` is given, and every event goes
into the study; so a study rebuilt event by event proposes what the interrupted one would have.

Costs are known exactly before any training. So target and limits are given to Optuna as one
constraint, `Problem.constraint_violation`, and an infeasible proposal is drawn again; after ten in
a row a random feasible network is taken.
"""

from collections import defaultdict, deque
from collections.abc import Callable, Sequence
from typing import Literal, final

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseGASampler, BaseSampler
from optuna.trial import TrialState

from mnas_search.controllers.random_search import RandomSearch
from mnas_search.nas.problem import Problem
from mnas_search.nas.space.choices import Choices, decode, encode

_DRAWS = 10


@final
class OptunaStudy:
    """A study over a problem's decisions.

    Args:
        problem: the search.
        directions: `maximize` or `minimize`, one a value.
        sampler: makes a sampler from a seed.
        startup: trials drawn at random within the constraints before the sampler is asked.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        directions: Sequence[Literal["maximize", "minimize"]],
        sampler: Callable[[int], BaseSampler],
        startup: int,
    ) -> None:
        self._problem, self._sampler = problem, sampler
        self._startup, self._known = startup, 0
        self._random = RandomSearch(problem)
        self._distributions: dict[str, BaseDistribution] = {
            d.name: CategoricalDistribution(range(len(d.options))) for d in problem.decisions
        }
        # Told trials are matched to Optuna's by what was asked, first come first served.
        self._open: defaultdict[tuple[int, ...], deque[optuna.Trial]] = defaultdict(deque)
        verbosity = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(directions=list(directions), sampler=sampler(0))
        optuna.logging.set_verbosity(verbosity)

    def ask(self, rng: np.random.Generator) -> Choices:
        """Return what the sampler suggests, with `rng` as its only randomness."""
        if self._known >= self._startup:
            for _ in range(_DRAWS):
                self._study.sampler = self._sampler(int(rng.integers(2**32)))
                trial = self._study.ask(self._distributions)
                codes = [int(trial.params[d.name]) for d in self._problem.decisions]
                if self._excess(codes) <= 0:
                    self._opened(codes, trial)
                    return decode(self._problem.decisions, codes)
                self._study.tell(trial, state=TrialState.FAIL)  # samplers leave failed ones out
        choices = self._random.ask(rng)
        self.take(choices)
        return choices

    def take(self, choices: Choices) -> None:
        """Open a trial that the sampler did not suggest, or not to this study."""
        codes = encode(self._problem.decisions, choices)
        names = (d.name for d in self._problem.decisions)
        self._study.enqueue_trial(dict(zip(names, codes, strict=True)))
        trial = self._study.ask(self._distributions)
        if isinstance(sampler := self._study.sampler, BaseGASampler):
            # Optuna does not show such a trial to its sampler, and a genetic one would take it
            # for a member of no generation.
            shown = self._study.get_trials(deepcopy=False)[trial.number]
            generation = sampler.get_trial_generation(self._study, shown)
            sampler.get_parent_population(self._study, generation)
        self._opened(codes, trial)

    def tell(self, choices: Choices, values: Sequence[float] | None) -> None:
        """Close a trial, taking it first if it was never asked; None: it failed."""
        asked = self._closed(choices)
        if values is None:
            self._study.tell(asked, state=TrialState.FAIL)
        else:
            self._study.tell(asked, list(values))

    def prune(self, choices: Choices, value: float, rung: int) -> None:
        """Close a trial that was stopped early, with its value at that rung. For studies with one
        value: Optuna knows no other pruned trials."""
        asked = self._closed(choices)
        asked.report(value, step=rung)
        self._study.tell(asked, state=TrialState.PRUNED)

    def _closed(self, choices: Choices) -> optuna.Trial:
        codes = encode(self._problem.decisions, choices)
        if not self._open[codes]:
            self.take(choices)
        return self._open[codes].popleft()

    def _opened(self, codes: Sequence[int], trial: optuna.Trial) -> None:
        trial.set_constraint("cost", self._excess(codes))
        self._open[tuple(codes)].append(trial)
        self._known += 1

    def _excess(self, codes: Sequence[int]) -> float:
        return float(self._problem.constraint_violation(np.array([codes]))[0])
