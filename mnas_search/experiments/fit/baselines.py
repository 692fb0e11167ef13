"""The phase before a search: baselines trained as proxies, at each resolution of the plan.

With a search, EfficientNet-B0 within the target decides at which resolution it takes place.
Without one, the best of the baselines at all resolutions is what the last training trains.
"""

import itertools
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from statistics import fmean
from typing import final

from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import WorkFailed
from mnas_search.experiments.fit.measuring import Prospect
from mnas_search.experiments.jobs import NO_TRIAL, JobResult, JournalledQueue
from mnas_search.experiments.listener import Listener
from mnas_search.experiments.runners import drive_study
from mnas_search.nas.core import training_seed
from mnas_search.nas.job import EvaluationJob, EvaluatorPool
from mnas_search.nas.journal import Events

EVENT = "baseline"
CHOSEN = "chosen"  # the event after the last of them


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """A baseline at a resolution, with the validation accuracies of its proxies; empty where it
    was not trained."""

    prospect: Prospect
    network: Architecture
    validation: tuple[float, ...]

    @property
    def mean(self) -> float:
        """Mean accuracy."""
        return fmean(self.validation)


def choose_baseline(
    prospects: Sequence[Prospect],
    *,
    count: int,
    seeds: int,
    seed: int,
    deadline: float,
    journal: Events,
    listener: Listener,
) -> tuple[Entry, float]:
    """Train what the journal does not hold yet; return the best baseline, and the mean seconds of
    a training at its resolution, 0 without one. Once chosen, nothing is trained again: what
    follows is the chosen one's.

    Args:
        count: of baselines at each resolution.
        seeds: of each; with 0, the first baseline at the first resolution is taken.
        deadline: `time.monotonic()` after which no training begins.

    Raises:
        WorkFailed: none could be trained.
    """
    networks = {str(one.resolution): one.baselines[:count] for one in prospects}
    jobs = [
        EvaluationJob(
            number=NO_TRIAL,
            network=network,
            seed=training_seed(seed, network.fingerprint, repeat=repeat),
            evaluator_index=index,
            recipe=str(one.resolution),
        )
        for repeat in range(seeds)
        for index, one in enumerate(prospects)
        for network in networks[str(one.resolution)]
    ]

    def on_result(job: EvaluationJob, result: JobResult) -> None:
        text = result.error or f"{job.network.label} {result.accuracy:.4f}"
        listener.on_progress(len(jobs) - queue.remaining, len(jobs), text)

    queue = JournalledQueue(
        EVENT,
        jobs=lambda: jobs,
        journal=journal,
        members=lambda job, result: {"recipe": job.recipe, "network": job.network.label},
        has_time=lambda: time.monotonic() <= deadline,
        on_result=on_result,
    )
    chosen = any(event["event"] == CHOSEN for event in journal.events)
    if not chosen:
        _train(queue, prospects, listener)
    best, seconds = _best(queue, jobs, prospects, networks)
    if jobs and not chosen:
        event = {"event": CHOSEN, "network": best.network.label}
        journal.append({**event, "resolution": best.prospect.resolution}, sync=True)
    return best, seconds


def _best(
    queue: JournalledQueue,
    jobs: Sequence[EvaluationJob],
    prospects: Sequence[Prospect],
    networks: Mapping[str, Sequence[Architecture]],
) -> tuple[Entry, float]:
    """Return the best baseline, and the mean seconds of a training at its resolution."""
    if not queue.results:  # none was wanted, or the workers' start took all the time
        first = prospects[0]
        return Entry(prospect=first, network=first.baselines[0], validation=()), 0.0
    entries = []
    for one in prospects:
        for network in networks[str(one.resolution)]:
            mine = [job for job in jobs if job.network == network]
            results = [queue.result(network, job.seed, job.recipe) for job in mine]
            good = tuple(r for r in results if r and r.accuracy is not None)
            found = tuple(r.accuracy for r in good if r.accuracy is not None)
            entry = Entry(prospect=one, network=network, validation=found)
            entries.append((entry, [r.seconds for r in good]))
    trained = [(entry, seconds) for entry, seconds in entries if entry.validation]
    if not trained:
        raise WorkFailed(f"no baseline can be trained; the first: {queue.results[0].error}")
    best = max((entry for entry, _ in trained), key=_goodness)
    # Seconds of another resolution say nothing of what follows.
    same = [seconds for entry, seconds in trained if entry.prospect is best.prospect]
    return best, fmean(itertools.chain.from_iterable(same))


def _goodness(entry: Entry) -> tuple[float, int]:
    return entry.mean, -cost(entry.network).macs


def _train(queue: JournalledQueue, prospects: Sequence[Prospect], listener: Listener) -> None:
    config = prospects[0].setup.config
    drive_study(
        queue,
        EvaluatorPool(tuple(one.setup.evaluator for one in prospects)),
        listener,
        workers=config.workers,
        gpus_per_trial=config.gpus_per_trial,
        address=config.ray_address,
    )
