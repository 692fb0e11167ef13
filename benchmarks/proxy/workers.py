"""What workers cost: the runner's share of a candidate's time, and a worker's memory."""

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, final

from mnas_search.architecture.traced_network import Network
from mnas_search.benchmarks.proxy.comparison import WORKERS, over_ray
from mnas_search.benchmarks.proxy.workloads import candidates
from mnas_search.evaluators.proxy_training import ProxyTraining
from mnas_search.nas.evaluator import Evaluator, Resources
from mnas_search.nas.job import EvaluationJob
from mnas_search.nas.trial import Evaluation

_SECONDS = 2.0  # of a candidate that is long enough to keep workers busy
_LOOKED_AT = (20, 100, 200)  # candidates after which memory is looked at


def watch(*, quick: bool) -> list[dict[str, Any]]:
    """Measure three sessions of Ray: no work, two seconds of it, and 200 real trainings."""
    short, long = (10, 2) if quick else (100, 8)
    timed, _, _ = over_ray(_Sleep(0.0), _work(short), workers=WORKERS)
    overhead = timed.elapsed * WORKERS / short
    start = time.monotonic()
    timed, _, _ = over_ray(_Sleep(_SECONDS), _work(long), workers=WORKERS)
    assert timed.first is not None
    rows = [
        _row(f"overhead a candidate, s ({short} of no work)", overhead, "at most 0.15"),
        _row(
            f"workers busy ({long} of {_SECONDS:g} s)",
            _busy(timed.busy, timed.elapsed),
            "at least 0.90",
        ),
        _row("start-up of Ray and workers, s", timed.first - start, "-"),
    ]
    looked_at = (2, 4) if quick else _LOOKED_AT
    _, evaluations, _ = over_ray(_Watched(), _work(looked_at[-1]), workers=1)
    memory = [(e.info or {})["memory"] / 2**20 for e in evaluations]
    return rows + [
        _row(f"a worker's memory after {n} trainings, MiB", memory[n - 1], "flat")
        for n in looked_at
    ]


def _row(measure: str, value: float, target: str) -> dict[str, Any]:
    return {"measure": measure, "value": round(value, 3), "wanted": target}


def _busy(busy: float, elapsed: float) -> float:
    return busy / (WORKERS * elapsed)


def _work(count: int) -> list[EvaluationJob]:
    networks = candidates(min(count, 50))
    return [
        EvaluationJob(number=n, network=networks[n % len(networks)], seed=n) for n in range(count)
    ]


@final
class _Sleep(Evaluator):
    """Takes a fixed time."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds

    @property
    def resources(self) -> Resources:
        """One CPU."""
        return Resources()

    def evaluate(self, network: Network, *, seed: int) -> Iterator[Evaluation]:
        """Sleep."""
        time.sleep(self._seconds)
        yield Evaluation(accuracy=0.5)


@final
class _Watched(Evaluator):
    """Short trainings, with the process's memory after each."""

    def __init__(self) -> None:
        self._training = ProxyTraining(proxy="epochs=1,fraction=0.1")

    @property
    def resources(self) -> Resources:
        """One CPU."""
        return Resources()

    def evaluate(self, network: Network, *, seed: int) -> Iterator[Evaluation]:
        """One training."""
        for evaluation in self._training.evaluate(network, seed=seed):
            yield Evaluation(accuracy=evaluation.accuracy, info={"memory": resident()})


def resident() -> float:
    """Return the bytes of this process in memory (Linux; 0 elsewhere)."""
    statm = Path("/proc/self/statm")
    return float(statm.read_text().split()[1]) * 4096 if statm.exists() else 0.0
