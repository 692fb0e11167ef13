"""From what was evaluated to what is reported: held-out rewards, regret, B0.

Regret at n is the best held-out reward known on the problem, less the best among the first n
networks within the target, times 100: percentage points of accuracy at the target. The best known
is the best of everything that anybody evaluated and of a long search of the held-out model itself,
without noise. Before the first network within the target the reward is 0.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnas_search.benchmarks.discovery.peers.local_search import neighbours
from mnas_search.benchmarks.discovery.problems import DiscoveryProblem, efficientnet_b0
from mnas_search.benchmarks.discovery.runs import Run
from mnas_search.benchmarks.discovery.statistics import best_so_far, evaluations_until, incumbent
from mnas_search.choices import Codes, sample_codes, sizes
from mnas_search.evaluators.accel_nasbench.evaluator import AccelNasBench
from mnas_search.evaluators.accel_nasbench.evidence import SPACE, load
from mnas_search.evaluators.accel_nasbench.models import BoostedTrees
from mnas_search.interfaces import BatchAccuracy


@dataclass(frozen=True, slots=True, kw_only=True)
class HeldOut:
    """The reporting model, and refits of it that say how far it can be trusted."""

    model: BatchAccuracy
    refits: tuple[BatchAccuracy, ...] = ()


def held_out(*, refits: int) -> HeldOut:
    """Fitted on the second half; the refits on samples of it with replacement.

    Other halves of all the data would share networks with the searched model's.
    """
    searched, model = AccelNasBench().halves()
    del searched
    _first, reported = load().halves()

    def refit(seed: int) -> BatchAccuracy:
        count = len(reported)
        part = reported.take(np.random.default_rng(seed).integers(count, size=count))
        trees = BoostedTrees.fit(part.codes, part.accuracy, std=0.0)
        return lambda codes: trees.predict(codes)[0]

    predict = model.predictor(SPACE)
    assert predict is not None
    return HeldOut(model=predict, refits=tuple(refit(seed) for seed in range(refits)))


def rewards(problem: DiscoveryProblem, model: BatchAccuracy, codes: Codes) -> NDArray[np.float64]:
    """Held-out rewards [N], 0 over the target: what could win."""
    cost, _params = problem.given.cost(codes)
    objective = problem.given.objective
    values = np.zeros(len(codes))
    within = np.flatnonzero(cost <= objective.target)
    if within.size:
        accuracy = model(codes[within])
        counted = zip(accuracy.tolist(), cost[within].tolist(), strict=True)
        values[within] = [objective.reward(a, c) for a, c in counted]
    return values


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A run as it is reported.

    Attributes:
        best: best held-out reward of the first n [n].
        incumbent: held-out reward of the largest told reward so far [n].
        passed: evaluations until B0's held-out reward is passed, under the model and each refit;
            empty where B0 is over the target.
        seconds: mean process time of a decision.
        top: codes of the best [D].
    """

    best: NDArray[np.float64]
    incumbent: NDArray[np.float64]
    passed: tuple[float, ...]
    seconds: float
    top: NDArray[np.uint8]


def score(problem: DiscoveryProblem, models: HeldOut, run: Run) -> Scored:
    """Report a run."""
    value = rewards(problem, models.model, run.codes)
    best = best_so_far(value)
    passed: list[float] = []
    b0 = np.array([efficientnet_b0()], np.uint8)
    if rewards(problem, models.model, b0)[0] > 0:
        for model in (models.model, *models.refits):
            curve = best if model is models.model else rewards(problem, model, run.codes)
            passed.append(evaluations_until(curve, float(rewards(problem, model, b0)[0])))
    return Scored(
        best=best,
        incumbent=incumbent(run.told, value, value > 0),
        passed=tuple(passed),
        seconds=float(run.seconds.mean()),
        top=run.codes[value.argmax()],
    )


def best_known(
    problem: DiscoveryProblem,
    model: BatchAccuracy,
    evaluated: Sequence[NDArray[np.uint8]] = (),
    *,
    generations: int = 100,
    population: int = 500,
) -> tuple[NDArray[np.uint8], float]:
    """The best network [D] and held-out reward that anything has found.

    Evolution on the model itself, (500 + 500) with two decisions mutated on average, and then
    hill climbing from its best and from the best that was evaluated, over all one- and
    two-decision neighbours.
    """
    decisions = problem.given.decisions
    options = np.array(sizes(decisions))
    rng = np.random.default_rng(0)
    codes = sample_codes(decisions, population, rng)
    value = rewards(problem, model, codes)
    for _ in range(generations):
        parents = codes[rng.integers(len(codes), size=population)]
        mutated = rng.random(parents.shape) < 2 / len(options)
        children = np.where(mutated, sample_codes(decisions, population, rng), parents)
        codes = np.unique(np.concatenate([codes, children]), axis=0)
        value = rewards(problem, model, codes)
        codes = codes[np.argsort(-value, kind="stable")[:population]]
    distinct = np.unique(np.array([codes[0], *evaluated], np.uint8), axis=0)
    order = np.argsort(-rewards(problem, model, distinct), kind="stable")
    climbed = [_climb(problem, model, row) for row in distinct[order[:5]]]
    return max(climbed, key=lambda found: found[1])


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
