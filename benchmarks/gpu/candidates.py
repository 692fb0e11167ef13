"""Trainings of candidates: ours beside a plain loop, and by several processes on one card.

Ours runs in this process, as a worker of a search does. The plain loop is `benchmarks.proxy`'s,
with processes that load images, in float32 and under autocast to bfloat16; the better of the two
counts. Networks, seeds and epochs are the same, and both take turns.
"""

import multiprocessing
import time
from collections.abc import Iterator
from dataclasses import dataclass
from multiprocessing.connection import Connection
from statistics import fmean, median
from typing import final

from mnas_search.benchmarks.gpu.work import Row, Work, rounded, seconds_of
from mnas_search.benchmarks.proxy.plain import Settings, Trained, train_one
from mnas_search.benchmarks.proxy.workloads import Workload, candidates
from mnas_search.common.machine import cpu_count
from mnas_search.evaluators.proxy_training import ProxyTraining

_QUICK = "epochs=1,width=0.1,batch_size=16,fraction=0.05"
_COUNT = 12  # candidates at most
_LOADERS = 8  # processes at most
_PROCESSES = (1, 2, 4)
_EACH = 2  # candidates of a process


def compare(work: Work) -> Iterator[Row]:
    """Yield a row for each candidate, then one for all; as many as there is time for."""
    workload = Workload(name="photos", data=work.data, proxy=work.choose(_QUICK, None))
    short = Workload(name="photos", data=work.data, proxy="epochs=1,fraction=0.05")
    evaluator, first = workload.evaluator(), short.evaluator()
    networks = candidates(_COUNT)
    loaders = min(_LOADERS, max(1, cpu_count() - 1))
    settings = [
        Settings(threads=1, loaders=loaders, device=work.device, bfloat16=autocast)
        for autocast in ((False, True) if work.device == "cuda" else (False,))
    ]
    if not work.quick:  # what torch loads and chooses once a process
        _ours(first, 0, seed=0)
        for one in settings:
            train_one(short, first, networks[0], 0, one)
    ours: list[Trained] = []
    plain: dict[str, list[Trained]] = {_name(one): [] for one in settings}
    for number, network in enumerate(networks[: work.choose(1, _COUNT)]):
        begun = time.monotonic()
        ours.append(_ours(evaluator, number, seed=1 + number))
        for one in settings:
            trained = train_one(workload, evaluator, network, 1 + number, one)
            plain[_name(one)].append(trained)
        yield {
            "candidate": number,
            "ours, s": rounded(ours[-1].seconds),
            "ours, accuracy": ours[-1].accuracy,
            **{f"plain {name}, s": rounded(found[-1].seconds) for name, found in plain.items()},
            **{f"plain {name}, accuracy": found[-1].accuracy for name, found in plain.items()},
        }
        if work.left < 1.3 * (time.monotonic() - begun):
            break
    yield _summary(evaluator, ours, plain)


def _summary(
    evaluator: ProxyTraining, ours: list[Trained], plain: dict[str, list[Trained]]
) -> Row:
    better = min(plain, key=lambda name: sum(one.seconds for one in plain[name]))
    pairs = list(zip(ours, plain[better], strict=True))
    return {
        "recipe": evaluator.recipe.text,
        "candidates": len(ours),
        "candidates an hour, ours": rounded(3_600 / fmean(one.seconds for one in ours)),
        f"candidates an hour, plain {better}": rounded(
            3_600 / fmean(one.seconds for one in plain[better])
        ),
        "times the better plain, median": rounded(
            median(two.seconds / one.seconds for one, two in pairs)
        ),
        "accuracy less plain's": rounded(fmean(one.accuracy - two.accuracy for one, two in pairs)),
    }


def _name(settings: Settings) -> str:
    return "bfloat16" if settings.bfloat16 else "float32"


def _ours(evaluator: ProxyTraining, number: int, *, seed: int) -> Trained:
    network = candidates(number + 1)[number]
    found: list[float] = []

    def evaluate() -> None:
        *_, evaluation = evaluator.evaluate(network, seed=seed)
        found.append(evaluation.accuracy)

    cpu = time.process_time()
    seconds = seconds_of(evaluate)
    return Trained(seconds=seconds, cpu=time.process_time() - cpu, accuracy=found[0])


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class _Order:
    """What a process trains: candidates `first` to `first + count - 1`."""

    first: int
    count: int


def processes(work: Work) -> Iterator[Row]:
    """Yield candidates an hour of one process, and of several on the same card."""
    numbers = work.choose((1, 2), _PROCESSES)
    each = work.choose(1, _EACH)
    context = multiprocessing.get_context("spawn")
    pipes = [context.Pipe() for _ in range(max(numbers))]
    proxy = work.choose(_QUICK, None)
    workers = [
        context.Process(target=_serve, args=(theirs, work.data, proxy), daemon=True)
        for _, theirs in pipes
    ]
    for worker, (_, theirs) in zip(workers, pipes, strict=True):
        worker.start()
        theirs.close()  # so that a process that dies ends the wait
    ends = [mine for mine, _ in pipes]
    for end in ends:
        end.recv()  # ready
    alone: float | None = None
    for count in numbers:
        start = time.perf_counter()
        for place, end in enumerate(ends[:count]):
            end.send(_Order(first=place * each, count=each))
        accuracies = [accuracy for end in ends[:count] for accuracy in end.recv()]
        rate = 3_600 * count * each / (time.perf_counter() - start)
        alone = alone or rate
        yield {
            "processes": count,
            "candidates an hour": rounded(rate),
            "times one process": rounded(rate / alone),
            "accuracy": rounded(fmean(accuracies)),
        }
    for worker in workers:
        worker.terminate()


def _serve(end: Connection, data: str, proxy: str | None) -> None:
    """Train what is asked for, after a short training for what torch does once a process."""
    *_, _ = ProxyTraining(data=data, proxy="epochs=1,fraction=0.05").evaluate(
        candidates(1)[0], seed=0
    )
    evaluator = ProxyTraining(data=data, proxy=proxy)
    end.send("ready")
    while True:
        order = end.recv()
        numbers = range(order.first, order.first + order.count)
        end.send([_ours(evaluator, n, seed=1 + n).accuracy for n in numbers])
