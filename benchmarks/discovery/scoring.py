"""From what was evaluated to what is reported: held-out rewards of three networks, regret, B0.

After n evaluations of a search,

    recommended   the network within the target that a model, fitted to what was told, expects the
                  largest reward of; the model is `bayesian`'s, the same for every controller
    largest told  the network within the target with the largest told reward
    oracle        the network with the largest held-out reward, which no search could name

Of the installed controllers only `bayesian` recommends by a model of its own, which is that one;
to all others "largest told" is what they would recommend themselves. Recommendations are made
after every fifth evaluation, up to the hundredth.

Regret is the best held-out reward known in a world, less that of the network, times 100:
percentage points of accuracy at the target. The best known comes from a long search of the
held-out model itself, without noise, and not from the networks that were evaluated, so that it
does not depend on who takes part; a regret below 0 would be a find that it missed. Before the
first network within the target the reward is 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnas_search.benchmarks.discovery.peers.local_search import neighbours
from mnas_search.benchmarks.discovery.problems import DiscoveryProblem, Told
from mnas_search.benchmarks.discovery.searchers import Ours, Run
from mnas_search.benchmarks.discovery.worlds import canonical
from mnas_search.common import plugins
from mnas_search.nas.space.choices import Codes, sample_codes, sizes
from mnas_search.nas.space.contract import BatchAccuracy

Curve = NDArray[np.float64]

STEP, LAST = 5, 100  # evaluations from one recommendation to the next, and until the last
MODEL = "bayesian"  # whose model recommends
_CLIMBED_FROM = 20  # generations for each of the networks that are climbed from


def rewards(problem: DiscoveryProblem, model: BatchAccuracy, codes: Codes) -> Curve:
    """Return rewards [N] by a model of the accuracy, 0 over the target."""
    cost = problem.given.target_cost(codes)
    objective = problem.given.objective
    values = np.zeros(len(codes))
    within = np.flatnonzero(cost <= objective.target)
    if within.size:
        slope, offset = objective.affine_in_accuracy(cost[within].astype(float))
        values[within] = slope * model(codes[within]) + offset
    return values


# -- a run ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class Best:
    """The best of a problem in a world."""

    codes: NDArray[np.uint8]  # of the best known network [D]
    reward: float  # its held-out reward
    perfect: float  # held-out reward of the optimum of what is told, without noise
    b0: float  # EfficientNet-B0's held-out reward; 0 where it is no network within the target
    distance: int  # decisions in which the best known differs from the nearest recorded network


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A run as it is reported; rewards are held-out ones."""

    best: Best  # of the run's world
    recommended: Curve  # reward of the network recommended last [n]; NaN before and after them
    told: Curve  # reward of the one with the largest told reward so far [n]
    oracle: Curve  # largest reward so far [n]
    seconds: float  # mean process time of a decision

    @property
    def passed(self) -> float | None:
        """Evaluations until some evaluated network is better than B0; None without a B0."""
        return evaluations_until(self.oracle, self.best.b0) if self.best.b0 else None

    @property
    def stays(self) -> float | None:
        """Evaluations from which on the recommended network is better than B0, every time until
        the end; infinite for never, None without a B0."""
        return stays_above(self.recommended, self.best.b0) if self.best.b0 else None

    def regret(self, curve: Curve) -> Curve:
        """Return the points [n] that rewards [n] are below the best known."""
        return 100 * (self.best.reward - curve)


def scored(run: Run, recommended: Sequence[int], value: Curve, best: Best) -> Scored:
    """Score a run by held-out rewards [n], and the index of each recommended network."""
    value = value[: len(run)]
    marks = np.full(len(run), np.nan)
    for number, index in enumerate(recommended, start=1):
        first = number * STEP - 1
        marks[first : min(first + STEP, LAST)] = value[index] if index >= 0 else 0.0
    return Scored(
        best=best,
        recommended=marks,
        told=incumbent(run.told, value, value > 0),
        oracle=np.maximum.accumulate(value),
        seconds=float(run.seconds.mean()),
    )


def recommendations(problem: DiscoveryProblem, run: Run, seed: int) -> list[int]:
    """Return the index of the network that is recommended after every fifth evaluation, up to the
    hundredth; -1 without one within the target."""
    model = plugins.load("controllers", MODEL)(problem.given)
    learner = Ours(model, problem.given, seed)
    found = []
    within = problem.given.is_feasible(run.codes)
    slope, offset = problem.given.objective.affine_in_accuracy(
        problem.given.target_cost(run.codes).astype(float)
    )
    for n, row in enumerate(run.codes[:LAST], start=1):
        told: Told = problem.evaluate(tuple(row.tolist()), seed)
        learner.tell(tuple(row.tolist()), told)
        if n % STEP == 0:
            accuracies = model.estimate(run.codes[:n])
            if accuracies is None or not within[:n].any():
                found.append(-1)
                continue
            expected = np.where(within[:n], slope[:n] * accuracies + offset[:n], -np.inf)
            found.append(int(expected.argmax()))
    return found


def incumbent(told: Curve, reported: Curve, within: NDArray[np.bool_]) -> Curve:
    """Return the reported value of the largest told one within the target so far, 0 before it."""
    value = np.zeros(len(told))
    best, current = -np.inf, 0.0
    for n in range(len(told)):
        if within[n] and told[n] > best:
            best, current = told[n], float(reported[n])
        value[n] = current
    return value


def evaluations_until(curve: Curve, threshold: float) -> float:
    """Return the first n (from 1) at which a curve exceeds the threshold; infinite for never."""
    above = np.flatnonzero(curve > threshold)
    return float(above[0] + 1) if above.size else np.inf


def stays_above(curve: Curve, threshold: float) -> float:
    """Return the first n (from 1) from which on a curve exceeds the threshold wherever it has a
    value; infinite for never."""
    known = np.flatnonzero(np.isfinite(curve))
    below = np.flatnonzero(~(curve[known] > threshold))
    first = below[-1] + 1 if below.size else 0
    return float(known[first] + 1) if first < len(known) else np.inf


# -- the best known -------------------------------------------------------------------------------


def find_best(problem: DiscoveryProblem, *, generations: int) -> Best:
    """Search both models of the problem's world at length."""
    codes, reward = best_known(problem, problem.reported, generations=generations)
    told, _ = best_known(problem, problem.searched, generations=generations)
    b0 = 0.0
    if problem.b0 is not None:
        b0 = float(rewards(problem, problem.reported, np.array([problem.b0], np.uint8))[0])
    own = canonical(problem.definition.space, codes[None])
    return Best(
        codes=codes,
        reward=reward,
        perfect=float(rewards(problem, problem.reported, told[None])[0]),
        b0=b0,
        distance=int((problem.recorded != own).sum(axis=1).min()),
    )


def best_known(
    problem: DiscoveryProblem, model: BatchAccuracy, *, generations: int, population: int = 500
) -> tuple[NDArray[np.uint8], float]:
    """Find the best network [D] by a model, and its reward.

    Evolution on the model itself, (500 + 500) with two decisions mutated on average, and then
    hill climbing over all one- and two-decision neighbours, from its five best after 100
    generations and from fewer after less.
    """
    decisions = problem.given.decisions
    rng = np.random.default_rng(0)
    codes = sample_codes(decisions, population, rng).astype(np.uint8)
    value = rewards(problem, model, codes)
    for _ in range(generations):
        parents = codes[rng.integers(len(codes), size=population)]
        mutated = rng.random(parents.shape) < 2 / parents.shape[1]
        drawn = sample_codes(decisions, population, rng).astype(np.uint8)
        codes = np.concatenate([codes, np.where(mutated, drawn, parents)])
        value = np.concatenate([value, rewards(problem, model, codes[len(value) :])])
        codes, first = np.unique(codes, axis=0, return_index=True)
        kept = np.argsort(-value[first], kind="stable")[:population]
        codes, value = codes[kept], value[first][kept]
    climbed = max(1, generations // _CLIMBED_FROM)
    found = [_climb(problem, model, row) for row in codes[:climbed]]
    return max(found, key=lambda one: one[1])


def _climb(
    problem: DiscoveryProblem, model: BatchAccuracy, row: NDArray[np.uint8]
) -> tuple[NDArray[np.uint8], float]:
    options = sizes(problem.given.decisions)
    value = float(rewards(problem, model, row[None])[0])
    while True:
        near = neighbours(options, tuple(row.tolist()))
        around = {other for one in near for other in (one, *neighbours(options, one))}
        codes = np.array(sorted(around), np.uint8)
        found = rewards(problem, model, codes)
        if found.max() <= value:
            return row, value
        row, value = codes[found.argmax()], float(found.max())
