"""Cost-aware Bayesian optimisation.

FLOPs are known exactly before any training; only the accuracy is unknown. So the accuracy alone is
modelled, by a Gaussian process on the decisions and log FLOPs. A reward is affine in the accuracy
with exactly known slope and offset, so that its posterior is normal too:

    R(m) = s(m) ACC(m) + o(m),    R ~ N(s mu + o, (s sigma)^2)

and the next network is the one within the constraints with the largest expected improvement
(Mockus et al. 1978; Jones et al. 1998, eq. 15) over the best posterior mean so far, found by a
local search over the whole space from many starts, every step of which counts whole batches.
Trials in flight are taken as if they had come out at their posterior mean (Ginsbourger et al.
2010, "kriging believer"), so that parallel asks differ.

The first networks come from no model: each is the one farthest from all earlier ones among random
ones in the upper half, by FLOPs, of what the constraints allow.

With a prior (`Problem.prior`) the model is a learnt multiple of it plus a residual: it is one more
feature of the linear part, and none of the exponential one.
"""

from collections import Counter
from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from scipy.special import log_ndtr

from mnas_search.controllers.random_search import RandomSearch
from mnas_search.nas.controller import Controller
from mnas_search.nas.problem import Problem
from mnas_search.nas.space.choices import Choices, Codes, decode, encode, sample_codes, sizes
from mnas_search.nas.surrogate.features import Features
from mnas_search.nas.surrogate.gaussian_process import HyperPrior, Kernel, Posterior
from mnas_search.nas.trial import Trial

Array = NDArray[np.float64]
Row = tuple[int, ...]

_POOL = 1_024  # random draws that a start is chosen from, or a local search begins at
_STARTS = 12  # local searches
_STEPS = 30  # of each, at most
_MOST_FITTED = 400  # trials in a fit: the best ones and the latest ones


class Bayesian(Controller):
    """Expected improvement of the reward, with accuracy modelled and cost known.

    Args:
        problem: the search.
        first: networks proposed before the first model.
        start: whether these are spread out near the target; else they are random within it.
        exact_cost: whether the accuracy is modelled; else the reward, as one black box.
        log_macs: whether log FLOPs are a feature beside the decisions.
    """

    uses_prior = True

    def __init__(
        self,
        problem: Problem,
        *,
        first: int = 12,
        start: bool = True,
        exact_cost: bool = True,
        log_macs: bool = True,
    ) -> None:
        self._problem = problem
        self._first, self._start = first, start
        self._exact_cost, self._log_macs = exact_cost, log_macs
        self._features = Features(problem.decisions, shared=True)
        self._count = self._features.count + log_macs  # without the prior
        self._sizes = np.array(sizes(problem.decisions))
        self._prior_scale = self._scale_of_prior()
        self._known: dict[Row, None] = {}  # asked or told, in order
        self._flying: Counter[Row] = Counter()
        self._rows: list[Row] = []  # told with an accuracy
        self._told: set[Row] = set()
        self._accuracies: list[float] = []

    # -- events -------------------------------------------------------------------------------

    def ask(self, rng: np.random.Generator) -> Choices:
        """Return the network of largest expected improvement, or one of the initial design."""
        pool = self._unseen(self._within(sample_codes(self._problem.decisions, _POOL, rng)))
        if len(self._known) < self._first or len(self._rows) < 2:
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
        if len(self._rows) < 2 or not self._exact_cost:
            return None
        return _Model(self._start_kernel(), self._points, *self._relevant())(codes)[0]

    def resume_ask(self, choices: Choices) -> None:
        """Remember the network and that it is in flight."""
        row = encode(self._problem.decisions, choices)
        self._known[row] = None
        self._flying[row] += 1

    # -- the first ones -----------------------------------------------------------------------

    def _spread_out(self, pool: Codes) -> Row | None:
        if not len(pool):
            return None
        if not self._start:
            return _row(pool[0])
        target_cost = self._problem.target_cost(pool)
        pool = pool[target_cost >= np.median(target_cost)]
        if not self._known:
            return _row(pool[0])
        distance = (pool[:, None] != np.array(list(self._known))).sum(axis=2).min(axis=1)
        return _row(pool[distance.argmax()])

    # -- the others ---------------------------------------------------------------------------

    def _most_promising(self, pool: Codes) -> Row | None:
        rows, targets = self._relevant()
        model = _Model(self._start_kernel(), self._points, rows, targets)
        flying = np.array([row for row in self._flying if row not in self._told])
        if len(flying):
            model.believe(flying)
            rows = np.concatenate([rows, flying])
        seen = self._within(rows)
        if not len(seen):
            return None
        rewards = self._rewards(model, seen)[0]
        best = rewards.max()

        def promise(codes: Codes) -> Array:
            mean, std = self._rewards(model, codes)
            return log_expected_improvement(mean - best, std)

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

    def _points(self, codes: Codes) -> Array:
        """Features [N, F]: the decisions', the log of what is targeted, the prior."""
        columns = [self._features(codes)]
        if self._log_macs:
            ratio = self._problem.target_cost(codes) / self._problem.objective.target
            columns.append(np.log(ratio)[:, None])
        if self._problem.prior is not None:
            mean, scale = self._prior_scale
            values = (self._problem.prior(codes) - mean) / scale
            # In the linear part, as much variance as all other features have together.
            columns.append(np.sqrt(self._count) * values[:, None])
        return np.concatenate(columns, axis=1)

    def _scale_of_prior(self) -> tuple[float, float]:
        """Mean and standard deviation of the prior over the space."""
        if self._problem.prior is None:
            return 0.0, 1.0
        draws = sample_codes(self._problem.decisions, _POOL, np.random.default_rng(0))
        values = self._problem.prior(draws)
        return float(values.mean()), float(max(values.std(), 1e-12))

    def _start_kernel(self) -> Kernel:
        """Where the fit of the kernel begins, for values of variance one."""
        weights = np.full(self._count, 1 / np.sqrt(self._count))
        if self._problem.prior is not None:
            weights = np.append(weights, 1e-4)  # no part in the exponential
        return Kernel(weights=weights, rbf=0.5, linear=2 / self._count, constant=0.1, noise=0.05)

    def _relevant(self) -> tuple[Codes, Array]:
        """Told networks, codes [N, D], and what is modelled of them [N]: all of them, or the best
        and the latest, so that a decision takes no longer however many there are."""
        rows, accuracies = np.array(self._rows), np.array(self._accuracies)
        slope, offset = self._line(rows)
        rewards = slope * accuracies + offset
        targets = accuracies if self._exact_cost else rewards
        if len(rows) > _MOST_FITTED:
            latest = np.arange(len(rows)) >= len(rows) - _MOST_FITTED // 2
            order = np.lexsort((-rewards, latest))
            chosen = np.sort(np.concatenate([order[: _MOST_FITTED // 2], np.flatnonzero(latest)]))
            rows, targets = rows[chosen], targets[chosen]
        return rows, targets

    def _rewards(self, model: "_Model", codes: Codes) -> tuple[Array, Array]:
        """Posterior mean [N] and standard deviation [N] of the rewards."""
        mean, std = model(codes)
        if not self._exact_cost:
            return mean, std
        slope, offset = self._line(codes)
        return slope * mean + offset, slope * std

    def _line(self, codes: Codes) -> tuple[Array, Array]:
        return self._problem.objective.affine_in_accuracy(self._problem.target_cost(codes))

    def _within(self, codes: Codes) -> Codes:
        return codes[self._problem.is_feasible(codes)]

    def _unseen(self, codes: Codes) -> Codes:
        return codes[[_row(row) not in self._known for row in codes]]


class _Model:
    """Accuracies (or rewards) as a Gaussian process over points."""

    def __init__(
        self, start: Kernel, points: Callable[[Codes], Array], codes: Codes, values: Array
    ) -> None:
        self._points_of = points
        self._points = points(codes)
        self._mean, self._scale = values.mean(), max(values.std(), 1e-6)
        self._values = (values - self._mean) / self._scale
        # Priors so narrow that a few dozen trials can afford a length scale a feature.
        prior = HyperPrior(kernel=start, spread=0.5)
        self._kernel = prior.fit(self._points, self._values, iterations=30)
        self._posterior = Posterior.of(self._kernel, self._points, self._values)

    def believe(self, codes: Codes) -> None:
        """Continue as if the networks `codes` [N, D] had come out at their means."""
        points = self._points_of(codes)
        values = np.concatenate([self._values, self._posterior(points)[0]])
        points = np.concatenate([self._points, points])
        self._posterior = Posterior.of(self._kernel, points, values)

    def __call__(self, codes: Codes) -> tuple[Array, Array]:
        """Return mean [N] and standard deviation [N] without noise."""
        mean, std = self._posterior(self._points_of(codes))
        return self._mean + self._scale * mean, self._scale * std


def log_expected_improvement(gain: Array, std: Array) -> Array:
    """Return log E[max(0, N(gain, std^2))] [N] (Jones et al. 1998, eq. 15) without underflow.

    E = std (phi(z) + z Phi(z)) with z = gain / std; far below zero that is std phi(z) / z^2, far
    above the gain itself.
    """
    std = np.maximum(std, 1e-12)
    z = gain / std
    log_phi = -0.5 * z**2 - 0.5 * np.log(2 * np.pi)
    near = np.clip(z, -8.0, 8.0)
    ratio = np.log1p(near * np.exp(log_ndtr(near) + 0.5 * near**2 + 0.5 * np.log(2 * np.pi)))
    far = -2 * np.log(np.maximum(-z, 8.0))
    below = np.log(std) + log_phi + np.where(z > -8.0, ratio, far)
    return np.where(z > 8.0, np.log(np.maximum(gain, std)), below)


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
