"""Candidates an hour: ours over two workers, and a plain loop in its better setting; what workers
cost: the runner's share of a candidate's time, and a worker's memory."""

import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, final

from threadpoolctl import threadpool_limits

from mnas_search.architecture.traced_network import Network
from mnas_search.benchmarks.proxy.plain import Settings, Trained, train_plainly
from mnas_search.benchmarks.proxy.workloads import Workload, candidates
from mnas_search.common.errors import WorkFailed
from mnas_search.evaluators.function import FunctionEvaluator
from mnas_search.evaluators.proxy_training import ProxyTraining
from mnas_search.nas.evaluator import Evaluator, Resources
from mnas_search.nas.job import EvaluationJob, JobQueue, Outcome, TimedQueue
from mnas_search.nas.trial import Evaluation

WORKERS = 2
_TRIED = 3  # candidates that the plain loop's settings are compared on
_PLAIN = tuple(Settings(threads=t, loaders=p) for t in (1, 2) for p in (0, 2))


def compare(
    workloads: Iterable[Workload],
    *,
    count: int,
    repeats: int,
    quick: bool,
    note: Callable[[str], None],
) -> list[dict[str, Any]]:
    """Return a row for each workload and loop, ours first.

    Every repeat trains `count` candidates with ours and then with the plain loop, both with the
    same seeds. The plain loop's better setting is found beforehand, on the first candidates.
    """
    return [row for workload in workloads for row in _rows(workload, count, repeats, quick, note)]


@final
class WorkList(JobQueue[EvaluationJob]):
    """Hands out a list of jobs in its order."""

    def __init__(self, jobs: Sequence[EvaluationJob]) -> None:
        self._jobs, self._left = list(jobs), list(reversed(jobs))
        self._found: dict[EvaluationJob, tuple[Outcome, float]] = {}

    def next(self) -> EvaluationJob | None:
        return self._left.pop() if self._left else None

    def record(self, job: EvaluationJob, outcome: Outcome, seconds: float) -> None:
        self._found[job] = outcome, seconds

    @property
    def finished(self) -> bool:
        """Whether every job has its outcome."""
        return len(self._found) == len(self._jobs)

    @property
    def outcomes(self) -> list[tuple[Outcome, float]]:
        """Outcome and seconds of each job, in order of the list."""
        return [self._found[job] for job in self._jobs]


def over_ray(
    evaluator: Evaluator, jobs: Sequence[EvaluationJob], *, workers: int
) -> tuple[TimedQueue[EvaluationJob], list[tuple[Evaluation, float]]]:
    """Evaluate as a run does; a stopwatch, and evaluation and seconds of each job, in order."""
    from mnas_search.experiments.runners.ray_tune import run_on_ray  # loads Ray

    queue = WorkList(jobs)
    timed = TimedQueue(queue)
    with threadpool_limits(1):  # as a run does
        run_on_ray(timed, evaluator, workers=workers)
    evaluated = []
    for outcome, seconds in queue.outcomes:
        if not isinstance(outcome, Evaluation):
            raise WorkFailed(f"a candidate of the benchmark failed: {outcome.reason}")
        evaluated.append((outcome, seconds))
    return timed, evaluated


@final
class Gauged(Evaluator):
    """Another evaluator, with what `gauge` reads in its process before and after."""

    def __init__(self, evaluator: Evaluator, gauge: Callable[[], float]) -> None:
        self._evaluator, self._gauge = evaluator, gauge

    @property
    def resources(self) -> Resources | None:
        """The other's."""
        return self._evaluator.resources

    def evaluate(self, network: Network, *, seed: int) -> Iterator[Evaluation]:
        """Evaluate likewise, and add the gauge's values."""
        before = self._gauge()
        for evaluation in self._evaluator.evaluate(network, seed=seed):
            yield replace(evaluation, info={"before": before, "after": self._gauge()})


def _rows(
    workload: Workload, count: int, repeats: int, quick: bool, note: Callable[[str], None]
) -> list[dict[str, Any]]:
    evaluator, networks = Gauged(workload.evaluator(), time.process_time), candidates(count)
    tried = _tried(workload, 1 if quick else _TRIED, note)
    better = min(tried, key=lambda settings: sum(one.seconds for one in tried[settings]))
    rates: tuple[list[float], list[float]] = ([], [])  # candidates a second, a repeat each
    ours: list[Trained] = []
    plain: list[Trained] = []
    for repeat in range(repeats):
        jobs = [(number, 1 + repeat * count + number) for number in range(count)]
        work = [EvaluationJob(number=n, network=networks[n], seed=seed) for n, seed in jobs]
        timed, evaluated = over_ray(evaluator, work, workers=WORKERS)
        rates[0].append(count / timed.elapsed)
        for found, seconds in evaluated:
            read = found.info or {}
            cpu = read["after"] - read["before"]
            ours.append(Trained(seconds=seconds, cpu=cpu, accuracy=found.accuracy))
        results = train_plainly(workload, jobs, better)
        rates[1].append(count / sum(one.seconds for one in results))
        plain.extend(results)
        note(
            f"{workload.name}, repeat {repeat + 1} of {repeats}: {3600 * rates[0][-1]:.0f} "
            f"candidates an hour, plain {3600 * rates[1][-1]:.0f}: "
            f"{rates[0][-1] / rates[1][-1]:.2f} times"
        )
    ratios = [one / two for one, two in zip(*rates, strict=True)]
    gains = [one.accuracy - two.accuracy for one, two in zip(ours, plain, strict=True)]
    return [
        {
            "workload": workload.name,
            "loop": f"ours, {WORKERS} workers",
            "times the better plain": _spread(ratios, 2),
            "a CPU second": _spread(_quotients(plain, ours, "cpu"), 2),
            **_figures(ours, rates[0]),
            "less plain's": _mean(gains),
        },
        {
            "workload": workload.name,
            "loop": f"plain, {_label(better)}",
            "times the better plain": "1",
            "a CPU second": "1",
            **_figures(plain, rates[1]),
            "less plain's": None,
        },
        *(
            {
                "workload": workload.name,
                "loop": f"plain, {_label(settings)} ({len(some)} tried)",
                "times the better plain": _spread(_quotients(tried[better], some, "seconds"), 2),
                "a CPU second": _spread(_quotients(tried[better], some, "cpu"), 2),
                **_figures(some, [len(some) / sum(one.seconds for one in some)]),
                "less plain's": None,
            }
            for settings, some in tried.items()
            if settings != better
        ),
    ]


def _tried(
    workload: Workload, count: int, note: Callable[[str], None]
) -> dict[Settings, list[Trained]]:
    """Train the first candidates with every setting of the plain loop, the settings in turn."""
    tried: dict[Settings, list[Trained]] = {settings: [] for settings in _PLAIN}
    for number in range(count):
        for settings, trained in tried.items():
            trained += train_plainly(workload, [(number, 0)], settings)
            note(
                f"{workload.name}, {_label(settings)}: {trained[-1].seconds:.1f} s, "
                f"candidate {number + 1} of {count}"
            )
    return tried


def _quotients(over: Sequence[Trained], under: Sequence[Trained], name: str) -> list[float]:
    return [getattr(one, name) / getattr(two, name) for one, two in zip(over, under, strict=True)]


def _figures(trained: Sequence[Trained], rates: Sequence[float]) -> dict[str, str]:
    return {
        "candidates/h": _spread([3600 * rate for rate in rates], 0),
        "s a candidate": _spread([one.seconds for one in trained], 2),
        "CPU s": _spread([one.cpu for one in trained], 2),
        "accuracy": _mean([one.accuracy for one in trained]),
    }


def _label(settings: Settings) -> str:
    threads = f"{settings.threads} thread{'s' * (settings.threads > 1)}"
    return f"{threads}, {settings.loaders} loader processes"


def _spread(values: Iterable[float], digits: int) -> str:
    """Format the median, and the range of several values."""
    ordered = sorted(values)
    middle = f"{statistics.median(ordered):.{digits}f}"
    if len(ordered) == 1:
        return middle
    return f"{middle} ({ordered[0]:.{digits}f} to {ordered[-1]:.{digits}f})"


def _mean(values: Sequence[float]) -> str:
    """Format the mean, with its standard error for several values."""
    mean = f"{statistics.fmean(values):.4f}"
    if len(values) == 1:
        return mean
    return f"{mean} ± {statistics.stdev(values) / len(values) ** 0.5:.4f}"


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
    after = (2, 4) if quick else _LOOKED_AT
    watched = Gauged(ProxyTraining(proxy="epochs=1,fraction=0.1"), resident)
    _, evaluated = over_ray(watched, _work(after[-1]), workers=1)
    memory = [(found.info or {})["after"] / 2**20 for found, _ in evaluated]
    rows += [(f"a worker's memory after {n} trainings, MiB", memory[n - 1], "flat") for n in after]
    return [{"measure": name, "value": round(v, 3), "wanted": wanted} for name, v, wanted in rows]


def _work(count: int) -> list[EvaluationJob]:
    drawn = candidates(min(count, 50))
    return [EvaluationJob(number=n, network=drawn[n % len(drawn)], seed=n) for n in range(count)]


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
