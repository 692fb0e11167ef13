"""An Optuna study under constraints: what the controllers built on its samplers share.

Optuna's samplers draw from a generator of their own and keep what they know in the study. Here
every draw has a fresh sampler, seeded from the generator that `ask` is given, and every event goes
into the study; so a study rebuilt event by event proposes what the interrupted one would have.

Costs are known exactly before any training. So target and limits are given to Optuna as one
constraint, `Problem.constraint_violation`, and an infeasible proposal is drawn again; after ten in
a row a random feasible network is taken.

Samplers look at all trials several times a draw. So that a decision takes no longer however many
there are, trials are retired, out of the samplers' sight: those that samplers leave out anyway
(failed ones, and generations without a descendant to come), and beyond a window, where a sampler
has one, the oldest that are not among the best. What is retired depends on the told trials alone,
so that a rebuilt study retires the same.
"""

import copy
from collections import defaultdict, deque
from collections.abc import Callable, Collection, Iterable, Sequence
from typing import Literal, final

import numpy as np
import optuna
from optuna.distributions import BaseDistribution, CategoricalDistribution
from optuna.samplers import BaseGASampler, BaseSampler
from optuna.storages import InMemoryStorage
from optuna.trial import FrozenTrial, TrialState

from mnas_search.controllers.random_search import RandomSearch
from mnas_search.nas.problem import Problem
from mnas_search.nas.space.choices import Choices, decode, encode

_DRAWS = 10
_BEST = 0.2  # share of a window that is kept for the best trials, however old


class _Codes(CategoricalDistribution):
    """The codes of a decision. Every draw compares those of all trials, choice by choice in
    Optuna; here they are one object, compared by identity and never copied."""

    def __eq__(self, other: object) -> bool:
        return self is other or CategoricalDistribution.__eq__(self, other)

    __hash__ = CategoricalDistribution.__hash__

    def __deepcopy__(self, memo: dict[int, object]) -> "_Codes":
        """Return itself: Optuna copies trials, and this never changes."""
        return self


class TrialStorage(InMemoryStorage):
    """Optuna's storage in memory, which lists all trials but the retired ones."""

    def __init__(self) -> None:
        InMemoryStorage.__init__(self)
        self._listed: dict[int, None] = {}  # numbers of trials, in order

    def create_new_trial(self, study_id: int, template_trial: FrozenTrial | None = None) -> int:
        """Add a trial, and return its id."""
        added = InMemoryStorage.create_new_trial(self, study_id, template_trial)
        self._listed[self.get_trial_number_from_id(added)] = None
        return added

    def get_all_trials(
        self,
        study_id: int,
        deepcopy: bool = True,
        states: Collection[TrialState] | None = None,
    ) -> list[FrozenTrial]:
        """Return the trials that are not retired, by number."""
        every = InMemoryStorage.get_all_trials(self, study_id, deepcopy=False)
        trials = [every[number] for number in self._listed]
        if states is not None:
            trials = [trial for trial in trials if trial.state in states]
        return copy.deepcopy(trials) if deepcopy else trials

    def retire(self, numbers: Iterable[int]) -> None:
        """Leave trials out of the list; those that are open can still be told."""
        for number in numbers:
            self._listed.pop(number, None)


@final
class OptunaStudy:
    """A study over a problem's decisions.

    Args:
        problem: the search.
        directions: `maximize` or `minimize`, one a value.
        sampler: makes a sampler from a seed.
        startup: trials drawn at random within the constraints before the sampler is asked.
        window: finished trials that the sampler sees, a fifth of them the best ones and the others
            the latest; None for all of them.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        directions: Sequence[Literal["maximize", "minimize"]],
        sampler: Callable[[int], BaseSampler],
        startup: int,
        window: int | None = None,
    ) -> None:
        self._problem, self._sampler = problem, sampler
        self._startup, self._known = startup, 0
        self._random = RandomSearch(problem)
        self._distributions: dict[str, BaseDistribution] = {
            d.name: _Codes(range(len(d.options))) for d in problem.decisions
        }
        # Told trials are matched to Optuna's by what was asked, first come first served.
        self._open: defaultdict[tuple[int, ...], deque[optuna.Trial]] = defaultdict(deque)
        self._window = window
        self._rank: dict[int, tuple[bool, float]] = {}  # of finished trials, by number, best first
        self._generation = 0
        self._storage = TrialStorage()
        verbosity = optuna.logging.get_verbosity()
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._study = optuna.create_study(
            storage=self._storage, directions=list(directions), sampler=sampler(0)
        )
        optuna.logging.set_verbosity(verbosity)

    def ask(self, rng: np.random.Generator) -> Choices:
        """Return what the sampler suggests, with `rng` as its only randomness."""
        if self._known >= self._startup:
            for _ in range(_DRAWS):
                self._study.sampler = self._sampler(int(rng.integers(2**32)))
                trial = self._study.ask(self._distributions)
                params = trial.params
                codes = [int(params[d.name]) for d in self._problem.decisions]
                if self._excess(codes) <= 0:
                    self._opened(codes, trial)
                    return decode(self._problem.decisions, codes)
                self._close(trial, state=TrialState.FAIL)
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
            shown = self._study.get_trials(deepcopy=False)[-1]  # the newest
            generation = sampler.get_trial_generation(self._study, shown)
            sampler.get_parent_population(self._study, generation)
        self._opened(codes, trial)

    def tell(self, choices: Choices, values: Sequence[float] | None) -> None:
        """Close a trial, taking it first if it was never asked; None: it failed."""
        asked = self._closed(choices)
        if values is None:
            self._close(asked, state=TrialState.FAIL)
        else:
            self._close(asked, list(values))

    def prune(self, choices: Choices, value: float, rung: int) -> None:
        """Close a trial that was stopped early, with its value at that rung. For studies with one
        value: Optuna knows no other pruned trials."""
        asked = self._closed(choices)
        asked.report(value, step=rung)
        self._close(asked, state=TrialState.PRUNED)

    def _close(
        self,
        trial: optuna.Trial,
        values: list[float] | None = None,
        state: TrialState | None = None,
    ) -> None:
        """Tell Optuna, and retire what its samplers need no more."""
        told = self._study.tell(trial, values, state)
        if told.state == TrialState.FAIL:
            self._storage.retire([told.number])  # samplers leave failed trials out
        elif isinstance(sampler := self._study.sampler, BaseGASampler):
            self._retire_generations(sampler, told)
        elif self._window is not None:
            self._retire_oldest(told, self._window)

    def _retire_generations(self, sampler: BaseGASampler, told: FrozenTrial) -> None:
        """Retire the generations before that of a finished trial, but for the trial's possible
        parents: only the latest generation counts, and its children have these for parents."""
        generation = sampler.get_trial_generation(self._study, told)
        if generation < self._generation:
            self._storage.retire([told.number])
        if generation <= self._generation:
            return
        self._generation = generation
        parents = {t.number for t in sampler.get_parent_population(self._study, generation)}
        finished = self._study.get_trials(deepcopy=False, states=(TrialState.COMPLETE,))
        self._storage.retire(
            trial.number
            for trial in finished
            if trial.number not in parents
            and sampler.get_trial_generation(self._study, trial) < generation
        )

    def _retire_oldest(self, told: FrozenTrial, window: int) -> None:
        """Retire the oldest finished trial that is not among the best, if there are too many."""
        assert told.value is not None
        self._rank[told.number] = (told.state != TrialState.COMPLETE, -told.value)
        if len(self._rank) > window:
            best = set(sorted(self._rank, key=self._rank.__getitem__)[: round(_BEST * window)])
            oldest = min(number for number in self._rank if number not in best)
            del self._rank[oldest]
            self._storage.retire([oldest])

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
