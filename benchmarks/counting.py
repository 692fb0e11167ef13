"""Architectures counted a second: params and MACs together, one thread.

Codes are random and given as int64 [N, D]; process time, so that other load on the machine counts
as little as it can; the median of several repeats.
"""

import statistics
import time
from typing import Any

import numpy as np
from threadpoolctl import threadpool_limits

from mnas_search.benchmarks.results import conditions
from mnas_search.common import plugins
from mnas_search.nas.space.choices import Codes, sample_codes
from mnas_search.nas.space.contract import SearchSpace
from mnas_search.nas.space.cost import PerNetworkCost, space_cost

_REPEATS = 7
_TABLES, _WALKED = 1_000_000, 2_000


def run() -> list[dict[str, Any]]:
    """Return a row for each space: rates from tables, and network by network."""
    with threadpool_limits(1):
        return _rows()


def _rows() -> list[dict[str, Any]]:
    rows = []
    for name in ("efficientnet", "mnasnet"):
        space: SearchSpace = plugins.load("search_spaces", name)()
        codes = sample_codes(space.decisions, _TABLES, np.random.default_rng(0))

        def walk(part: Codes, space: SearchSpace = space) -> object:
            return PerNetworkCost(space)(part)  # a new one remembers no earlier codes

        rows.append(
            {
                "space": name,
                "tables, networks/s": round(_rate(space_cost(space), codes)),
                "walking, networks/s": round(_rate(walk, codes[:_WALKED])),
                "repeats": _REPEATS,
                **conditions("numpy"),
            }
        )
    return rows


def _rate(count: Any, codes: Codes) -> float:
    count(codes)  # fills caches
    rates = []
    for _ in range(_REPEATS):
        start = time.process_time()
        count(codes)
        rates.append(len(codes) / (time.process_time() - start))
    return statistics.median(rates)
