"""What workers cost: the runner's share of a candidate's time, and a worker's memory."""

import time
from functools import partial
from pathlib import Path
from typing import Any

from mnas_search.architecture.traced_network import Network
from mnas_search.benchmarks.proxy.comparison import WORKERS, Gauged, over_ray
from mnas_search.benchmarks.proxy.workloads import candidates
from mnas_search.evaluators.function import FunctionEvaluator
from mnas_search.evaluators.proxy_training import ProxyTraining
from mnas_search.nas.job import EvaluationJob

_SECONDS = 2.0  # of a candidate that is long enough to keep workers busy
_LOOKED_AT = (20, 100, 200)  # candidates after which memory is looked at


def watch(*, quick: bool) -> list[dict[str, Any]]:
    """Measure three sessions of Ray: no work, two seconds of it, and 200 real trainings."""
    short, long = (10, 2) if quick else (100, 8)
    timed, _ = over_ray(_sleeping(0.0), _work(short), workers=WORKERS)
    overhead = timed.elapsed * WORKERS / short
    start = time.monotonic()
    timed, _ = over_ray(_sleeping(_SECONDS), _work(long), workers=WORKERS)
    assert timed.first is not None
    busy = timed.busy / (WORKERS * timed.elapsed)
    rows = [
        (f"overhead a candidate, s ({short} of no work)", overhead, "at most 0.15"),
        (f"workers busy ({long} of {_SECONDS:g} s)", busy, "at least 0.90"),
        ("start-up of Ray and workers, s", timed.first - start, "-"),
    ]
    looked_at = (2, 4) if quick else _LOOKED_AT
    watched = Gauged(ProxyTraining(proxy="epochs=1,fraction=0.1"), resident)
    _, evaluated = over_ray(watched, _work(looked_at[-1]), workers=1)
    memory = [(found.info or {})["after"] / 2**20 for found, _ in evaluated]
    rows += [
        (f"a worker's memory after {n} trainings, MiB", memory[n - 1], "flat") for n in looked_at
    ]
    return [{"measure": name, "value": round(v, 3), "wanted": wanted} for name, v, wanted in rows]


def _work(count: int) -> list[EvaluationJob]:
    networks = candidates(min(count, 50))
    return [
        EvaluationJob(number=n, network=networks[n % len(networks)], seed=n) for n in range(count)
    ]


def _sleeping(seconds: float) -> FunctionEvaluator:
    """Return an evaluator that takes a fixed time."""
    return FunctionEvaluator(partial(_sleep, seconds))


def _sleep(seconds: float, network: Network) -> float:
    time.sleep(seconds)
    return 0.5


def resident() -> float:
    """Return the bytes of this process in memory (Linux; 0 elsewhere)."""
    statm = Path("/proc/self/statm")
    return float(statm.read_text().split()[1]) * 4096 if statm.exists() else 0.0
