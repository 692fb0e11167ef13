"""Cost-aware Bayesian optimisation.

FLOPs are known exactly before any training; only the accuracy is unknown. So the accuracy alone is
modelled, by a Gaussian process of the logarithm of its error on the decisions and log FLOPs
(`network_model`). A reward is affine in the accuracy with exactly known slope and offset, so that
its distribution is known too (`responses`), and the next network is the one within the
constraints with the largest expected improvement (Mockus et al. 1978; Jones et al. 1998, eq. 15)
over the best expected reward of any network told so far. It is found by a local search over the
whole space from many starts, every step of which counts whole batches. Trials in flight are taken
as if they had come out at their posterior mean (Ginsbourger et al. 2010, "kriging believer"), so
that parallel asks differ.

Some networks come from no model: the first four, and every other one until there are twelve, since
a model of few trainings is too sure of itself (SMAC interleaves random ones for the same reason,
Hutter et al. 2011). With a prior (`Problem.prior`) they are the first four.

They presume nothing about where the optimum lies: it may be far below the target with a soft
reward, and near it with a hard one. All that is known of rewards beforehand is the cost, so they
are spread over the costs. Network k of a search, from 0, is one of the quarter of the feasible
ones whose costs are around the share

    u_k = frac(1/2 + k (sqrt(5) - 1) / 2)

of all feasible costs in ascending order, a sequence whose every beginning is spread evenly over
[0, 1], as is that of every other k. Of that quarter it is the one that differs in most decisions
from all earlier networks.

Beyond 250 trials, the model is fitted to the 125 best and the 125 latest ones, so that a decision
takes no longer however many there are.
"""

from collections import Counter
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from mnas_search.controllers.network_model import Model, Points
from mnas_search.controllers.random_search import RandomSearch
from mnas_search.controllers.responses import RESPONSES
from mnas_search.nas.controller import Controller
from mnas_search.nas.problem import Problem
from mnas_search.nas.space.choices import Choices, Codes, decode, encode, sample_codes, sizes
from mnas_search.nas.trial import Trial

Array = NDArray[np.float64]
Row = tuple[int, ...]

_POOL = 1_024  # random draws that a start is chosen from, or a local search begins at
_STARTS = 12  # local searches
_STEPS = 30  # of each, at most
_FIRST = 4  # networks before the first model
_SPREAD = 12  # networks that come from no model, where there is no prior
_STRATA = 4  # of the costs, one of which a first network is taken from
_GOLDEN = (5**0.5 - 1) / 2
_MOST_FITTED = 250  # trials in a fit: the best ones and the latest ones


class Bayesian(Controller):
    """Expected improvement of the reward, with accuracy modelled and cost known.

    Args:
        problem: the search.
        first: networks proposed before the first model.
        start: whether these are spread over the costs; else they are random within the target.
        modelled: `log error` or `accuracy`; or `reward`, as one black box.
        log_macs: whether log FLOPs are a feature beside the decisions.
        blocks: whether the number of blocks is a prior.
    """

    uses_prior = True

    def __init__(
        self,
        problem: Problem,
        *,
        first: int = _FIRST,
        start: bool = True,
        modelled: str = "log error",
        log_macs: bool = True,
        blocks: bool = True,
    ) -> None:
        self._problem = problem
        self._first = first
        self._spread = _SPREAD if problem.prior is None else first
        self._start = start
        self._response = RESPONSES[modelled](problem)
        self._points = Points(problem, log_macs=log_macs, blocks=blocks)
        self._sizes = np.array(sizes(problem.decisions))
        self._known: dict[Row, None] = {}  # asked or told, in order
        self._flying: Counter[Row] = Counter()
        self._rows: list[Row] = []  # told with an accuracy
        self._told: set[Row] = set()
        self._accuracies: list[float] = []

    # -- events -------------------------------------------------------------------------------

    def ask(self, rng: np.random.Generator) -> Choices:
        """Return the network of largest expected improvement, or one of the initial design."""
        pool = self._unseen(self._within(sample_codes(self._problem.decisions, _POOL, rng)))
        if self._is_spread(len(self._known)) or len(self._rows) < 2:
            row = self._spread_out(pool)
        else:
            row = self._most_promising(pool)
        if row is None:
            choices = RandomSearch(self._problem).ask(rng)
        else:
            choices = decode(self._problem.decisions, row)
        self.resume_ask(choices)
        return choices

    def tell(self, trial: Trial) -> None:
        """Learn an accuracy; a trial without one is only not proposed again."""
        row = encode(self._problem.decisions, trial.choices)
        self._known[row] = None
        self._flying -= Counter([row])
        if trial.status == "ok" and trial.duplicate_of is None:
            assert trial.accuracy is not None
            self._rows.append(row)
            self._told.add(row)
            self._accuracies.append(trial.accuracy)

    def estimate(self, codes: Codes) -> Array | None:
        """Return posterior means of the accuracies [N] of codes [N, D]."""
        if len(self._rows) < 2:
            return None
        return self._response.expected_accuracies(*self._model(*self._relevant())(codes))

    def resume_ask(self, choices: Choices) -> None:
        """Remember the network and that it is in flight."""
        row = encode(self._problem.decisions, choices)
        self._known[row] = None
        self._flying[row] += 1

    # -- the first ones -----------------------------------------------------------------------

    def _is_spread(self, number: int) -> bool:
        """Return whether network `number`, from 0, comes from no model."""
        alternating = range(self._first, 2 * self._spread - self._first, 2)
        return number < self._first or number in alternating

    def _spread_out(self, pool: Codes) -> Row | None:
        """Return the network of the next share of the costs; None without a feasible one."""
        if not len(pool):
            return None
        if not self._start:
            return _row(pool[0])
        number = len(self._known)
        ranks = np.argsort(np.argsort(self._problem.target_cost(pool), kind="stable"))
        away = np.abs((ranks + 0.5) / len(pool) - (0.5 + number * _GOLDEN) % 1)
        pool = pool[away.argsort(kind="stable")[: max(1, len(pool) // _STRATA)]]
        if not number:
            return _row(pool[0])
        distance = (pool[:, None] != np.array(list(self._known))).sum(axis=2).min(axis=1)
        return _row(pool[distance.argmax()])

    # -- the others ---------------------------------------------------------------------------

    def _most_promising(self, pool: Codes) -> Row | None:
        rows, accuracies = self._relevant()
        model = self._model(rows, accuracies)
        flying = np.array([row for row in self._flying if row not in self._told])
        if len(flying):
            model.believe(flying)
            rows = np.concatenate([rows, flying])
        seen = self._within(rows)
        if not len(seen):
            return None
        rewards = self._response.expected_rewards(seen, *model(seen))
        best = rewards.max()

        def promise(codes: Codes) -> Array:
            return self._response.log_improvement(codes, *model(codes), best)

        top = seen[np.argsort(-rewards, kind="stable")[:_STARTS]]
        starts = self._unseen(np.concatenate([pool, self._within(neighbours(top, self._sizes))]))
        return self._climb(starts, promise) if len(starts) else None

    def _climb(self, starts: Codes, promise: Callable[[Codes], Array]) -> Row:
        """Local search from the most promising starts, each to its best neighbour in turn."""
        values = promise(starts)
        order = np.argsort(-values, kind="stable")[:_STARTS]
        here, value = starts[order], values[order]
        for _ in range(_STEPS):
            around = self._unseen(self._within(neighbours(here, self._sizes)))
            both = np.concatenate([here, around])
            values = np.concatenate([value, promise(around)])
            order = np.argsort(-values, kind="stable")[:_STARTS]
            if order.max() < len(here):
                break
            here, value = both[order], values[order]
        return _row(here[0])

    def _model(self, rows: Codes, accuracies: Array) -> Model:
        values = self._response.values(rows, accuracies)
        return Model(self._points, self._points.start, rows, values)

    def _relevant(self) -> tuple[Codes, Array]:
        """Told networks, codes [N, D], and their accuracies [N]: all of them, or the best and the
        latest, so that a decision takes no longer however many there are."""
        rows, accuracies = np.array(self._rows), np.array(self._accuracies)
        if len(rows) > _MOST_FITTED:
            slope, offset = self._response.line(rows)
            rewards = slope * accuracies + offset
            latest = np.arange(len(rows)) >= len(rows) - _MOST_FITTED // 2
            order = np.lexsort((-rewards, latest))
            chosen = np.sort(np.concatenate([order[: _MOST_FITTED // 2], np.flatnonzero(latest)]))
            rows, accuracies = rows[chosen], accuracies[chosen]
        return rows, accuracies

    def _within(self, codes: Codes) -> Codes:
        return codes[self._problem.is_feasible(codes)]

    def _unseen(self, codes: Codes) -> Codes:
        return codes[[_row(row) not in self._known for row in codes]]


def neighbours(codes: Codes, sizes: NDArray[np.integer]) -> Codes:
    """Return all networks [N * K, D] that differ from one of `codes` [N, D] in one decision."""
    columns = np.repeat(np.arange(len(sizes)), sizes - 1)
    shifts = np.concatenate([np.arange(1, size) for size in sizes])
    changed = np.repeat(codes[:, None], len(columns), axis=1)
    places = np.arange(len(columns))
    changed[:, places, columns] = (changed[:, places, columns] + shifts) % sizes[columns]
    return changed.reshape(-1, len(sizes))


def _row(codes: Codes) -> Row:
    return tuple(codes.tolist())
