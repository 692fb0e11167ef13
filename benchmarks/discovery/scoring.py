"""From what was evaluated to what is reported: held-out rewards, regret, B0.

Regret at n is the best held-out reward known on the problem, less the best among the first n
networks within the target, times 100: percentage points of accuracy at the target. The best known
is the best of all evaluated networks and of a long search of the held-out model itself,
without noise. Before the first network within the target the reward is 0.
"""

import functools
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnas_search.benchmarks.discovery.peers.local_search import neighbours
from mnas_search.benchmarks.discovery.problems import DiscoveryProblem, efficientnet_b0
from mnas_search.benchmarks.discovery.searchers import Run
from mnas_search.evaluators.accel_nasbench.evaluator import AccelNasBench
from mnas_search.evaluators.accel_nasbench.evidence import SPACE, load
from mnas_search.evaluators.accel_nasbench.models import BoostedTrees
from mnas_search.nas.space.choices import Codes, sample_codes, sizes
from mnas_search.nas.space.contract import BatchAccuracy

# A refit moves an accuracy by half a point: what lies so far below B0 passes it under none.
_FAR_BELOW = 0.03


@functools.cache
def reporting_model() -> BatchAccuracy:
    """Fit boosted trees on the second half of the recorded networks."""
    halves = AccelNasBench().independent_pair()
    predict = halves[1].predictor(SPACE)
    assert predict is not None
    return predict


@functools.cache
def refit(seed: int) -> BatchAccuracy:
    """Fit the same on a sample of the second half, drawn with replacement. Other halves of all the
    data would share networks with the searched model's."""
    _searched, reported = load().halves()
    rows = np.random.default_rng(seed).integers(len(reported), size=len(reported))
    part = reported.take(rows)
    trees = BoostedTrees.fit(part.codes, part.accuracy, std=0.0)
    return lambda codes: trees.predict(codes)[0]


@functools.cache
def reporting_probe() -> str:
    """Hash of what the model says of some networks."""
    codes = sample_codes(SPACE.decisions, 64, np.random.default_rng(0))
    told = " ".join(f"{value:.5f}" for value in reporting_model()(codes))
    return hashlib.sha256(told.encode()).hexdigest()[:16]


def rewards(problem: DiscoveryProblem, model: BatchAccuracy, codes: Codes) -> NDArray[np.float64]:
    """Return held-out rewards [N], 0 over the target."""
    cost = problem.given.target_cost(codes)
    objective = problem.given.objective
    values = np.zeros(len(codes))
    within = np.flatnonzero(cost <= objective.target)
    if within.size:
        counted = zip(model(codes[within]).tolist(), cost[within].tolist(), strict=True)
        values[within] = [objective.reward(a, c) for a, c in counted]
    return values


@dataclass(frozen=True, slots=True, kw_only=True)
class Scored:
    """A run as it is reported."""

    best: NDArray[np.float64]  # best held-out reward of the first n [n]
    incumbent: NDArray[np.float64]  # held-out reward of the largest told reward so far [n]
    # evaluations until B0's held-out reward is passed, under the model and each refit; empty where
    # B0 is over the target
    passed: tuple[float, ...]
    seconds: float  # mean process time of a decision
    top: NDArray[np.uint8]  # codes of the best [D]


def scored(run: Run, value: NDArray[np.float64], passed: Sequence[float]) -> Scored:
    """Score a run by its held-out rewards [n], or by those of a longer run that it begins."""
    value = value[: len(run)]
    return Scored(
        best=np.maximum.accumulate(value),
        incumbent=incumbent(run.told, value, value > 0),
        passed=tuple(n if n <= len(run) else np.inf for n in passed),
        seconds=float(run.seconds.mean()),
        top=run.codes[value.argmax()],
    )


def incumbent(
    told: NDArray[np.float64], reported: NDArray[np.float64], within: NDArray[np.bool_]
) -> NDArray[np.float64]:
    """Return the reported value of the largest told one within the target so far, 0 before it."""
    value = np.zeros(len(told))
    best, current = -np.inf, 0.0
    for n in range(len(told)):
        if within[n] and told[n] > best:
            best, current = told[n], float(reported[n])
        value[n] = current
    return value


def evaluations_until(curve: NDArray[np.float64], threshold: float) -> float:
    """Return the first n (from 1) at which a curve exceeds the threshold; infinite for never."""
    above = np.flatnonzero(curve > threshold)
    return float(above[0] + 1) if above.size else np.inf


def passes(
    problem: DiscoveryProblem, codes: Codes, value: NDArray[np.float64], refits: int
) -> list[float]:
    """Count evaluations until B0 is passed, under the model (rewards `value`) and each refit."""
    b0 = np.array([efficientnet_b0()], np.uint8)
    threshold = float(rewards(problem, reporting_model(), b0)[0])
    if threshold == 0:
        return []
    passed = [evaluations_until(value, threshold)]
    near = np.flatnonzero(value > threshold - _FAR_BELOW)
    for seed in range(refits):
        moved = np.zeros(len(value))
        moved[near] = rewards(problem, refit(seed), codes[near])
        own = float(rewards(problem, refit(seed), b0)[0])
        passed.append(evaluations_until(moved, own))
    return passed


def best_known(
    problem: DiscoveryProblem,
    model: BatchAccuracy,
    evaluated: Sequence[NDArray[np.uint8]] = (),
    *,
    generations: int,
    population: int = 500,
) -> tuple[NDArray[np.uint8], float]:
    """Find the best network [D] and its held-out reward.

    Evolution on the model itself, (500 + 500) with two decisions mutated on average, and then
    hill climbing from its best and from the best that was evaluated, over all one- and
    two-decision neighbours.
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
    starts = [codes[0]]
    if evaluated:
        tops = np.unique(np.array(evaluated), axis=0)
        starts.append(tops[rewards(problem, model, tops).argmax()])
    return max((_climb(problem, model, row) for row in starts), key=lambda found: found[1])


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
