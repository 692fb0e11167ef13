"""The recorded networks that trials are ranked over: two disjoint draws.

Uniform over the recorded networks (each distinct one once), by one permutation with a fixed seed.
That is no uniform draw from the space: 35 % of the recorded networks have squeeze-and-excitation
in no stage, because of how they were collected. `fair` marks the others.
"""

import functools
from dataclasses import dataclass, fields, replace

import numpy as np
from numpy.typing import NDArray

from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import UsageError
from mnas_search.evaluators.accel_nasbench.evidence import SPACE, load
from mnas_search.nas.space.choices import decode
from mnas_search.nas.space.cost import space_cost

SEED = 0
MAX_NETWORKS = 300  # networks in each of the two draws
DRAWS = ("selection", "confirmation")


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample:
    """Networks of one draw."""

    rows: NDArray[np.int64]  # into the evidence [N]
    accuracy: NDArray[np.float64]  # recorded ImageNet top-1 as a fraction [N]
    # macs, params: exact, at 224 pixels [N]
    macs: NDArray[np.int64]
    params: NDArray[np.int64]
    # accuracy predicted by a linear function of log macs and log params, fitted on the recorded
    # networks that are in neither draw [N]
    linear: NDArray[np.float64]
    fair: NDArray[np.bool_]  # whether any stage has squeeze-and-excitation [N]

    def part(self, where: NDArray[np.bool_]) -> "Sample":
        """Return the networks for which `where` [N] is true."""
        return Sample(**{f.name: getattr(self, f.name)[where] for f in fields(self)})


def sample(draw: str, count: int) -> Sample:
    """Return the first `count` networks of a draw."""
    if draw not in DRAWS:
        raise UsageError(f"draw must be one of {', '.join(DRAWS)}, got {draw!r}")
    if not 2 <= count <= MAX_NETWORKS:
        raise UsageError(f"--networks must be from 2 to {MAX_NETWORKS}, got {count}")
    data = load()
    order = _order()
    start = DRAWS.index(draw) * MAX_NETWORKS
    rows = order[start : start + count]
    costs = space_cost(SPACE)(data.codes)
    macs, params = (costs[name].astype(np.int64) for name in ("macs", "params"))
    logs = np.stack([np.log(macs), np.log(params), np.ones(len(macs))], axis=1)
    rest = others(len(order))
    weights, *_ = np.linalg.lstsq(logs[rest], data.accuracy[rest], rcond=None)
    se = [i for i, d in enumerate(SPACE.decisions) if d.name.endswith("se_ratio")]
    return Sample(
        rows=rows,
        accuracy=data.accuracy[rows],
        macs=macs[rows],
        params=params[rows],
        linear=(logs @ weights)[rows],
        fair=np.any(data.codes[rows][:, se] > 0, axis=1),
    )


def network(row: int) -> Architecture:
    """Decode a recorded network with the ReLU that it was trained with (gates are sigmoids)."""
    architecture = SPACE.decode(decode(SPACE.decisions, load().codes[row]))
    stages = tuple(replace(stage, activation="relu") for stage in architecture.stages)
    return replace(
        architecture,
        stages=stages,
        activation="relu",
        dropout_rate=0.0,
        stochastic_depth_rate=0.0,
        bn_momentum=0.1,
    )


def others(count: int) -> NDArray[np.int64]:
    """Rows of recorded networks that are in neither draw: fits are made on these [count]."""
    return _order()[len(DRAWS) * MAX_NETWORKS :][:count]


@functools.cache
def _order() -> NDArray[np.int64]:
    """Return the distinct networks (the first of equal ones) in a random order [M]."""
    _codes, first = np.unique(load().codes, axis=0, return_index=True)
    return np.random.default_rng(SEED).permutation(np.sort(first))
