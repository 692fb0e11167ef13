"""The networks that a prior is read on: spread over what the constraints allow."""

import numpy as np

from mnas_search.common.errors import UsageError
from mnas_search.nas.problem import Problem
from mnas_search.nas.space.choices import Codes, decode, sample_codes, sizes
from mnas_search.nas.space.contract import SearchSpace

_BATCH = 4_096  # networks that are counted together
_BATCHES = 32  # at most
_DRAWS = 16  # feasible networks for each one that is chosen


def spread_out(problem: Problem, space: SearchSpace, count: int, seed: int) -> Codes:
    """Return codes [N, D] of at most `count` distinct feasible networks, by multiply-adds.

    Feasible networks are divided into `count` groups by their quantiles of multiply-adds; each
    group gives one network. There are fewer where no more were found.

    Raises:
        UsageError: no feasible network was found.
    """
    rng = np.random.default_rng(seed)
    feasible = _feasible(problem, _DRAWS * count, rng)
    if not len(feasible):
        raise UsageError(
            f"a prior requires networks within {problem.objective.constraint}, of which "
            f"{_BATCHES * _BATCH:,} draws have none"
        )
    order = np.lexsort((rng.random(len(feasible)), problem.costs(feasible)["macs"]))
    groups = np.array_split(feasible[order], min(count, len(feasible)))
    return _distinct(space, [group[rng.integers(len(group))] for group in groups])


def _feasible(problem: Problem, count: int, rng: np.random.Generator) -> Codes:
    """Return distinct codes of feasible networks, about `count`: uniform draws, and where these
    are rare, changes in one decision of those that exceed the constraints least."""
    found: list[Codes] = []
    codes = sample_codes(problem.decisions, _BATCH, rng)
    for _ in range(_BATCHES):
        violation = problem.constraint_violation(codes)
        found.append(codes[violation <= 0])
        if sum(map(len, found)) >= count:
            break
        nearest = codes[np.argsort(violation, kind="stable")[: _BATCH // 4]]
        fresh = sample_codes(problem.decisions, _BATCH // 2, rng)
        codes = np.concatenate([nearest, _mutated(nearest, problem, rng), fresh])
    return np.unique(np.concatenate(found), axis=0)


def _mutated(codes: Codes, problem: Problem, rng: np.random.Generator) -> Codes:
    """Return the codes, each with a new option in one decision."""
    changed, column = codes.copy(), rng.integers(codes.shape[1], size=len(codes))
    changed[np.arange(len(codes)), column] = rng.integers(
        np.array(sizes(problem.decisions))[column]
    )
    return changed


def _distinct(space: SearchSpace, rows: list[Codes]) -> Codes:
    """Return the codes of the first network of each fingerprint."""
    first: dict[str, Codes] = {}
    for row in rows:
        first.setdefault(space.decode(decode(space.decisions, row)).fingerprint, row)
    return np.array(list(first.values()))
