"""Accuracies of scaled networks, measured with several seeds and journalled in a folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, final

import numpy as np

from mnas_search.architecture.value import Architecture
from mnas_search.common import plugins
from mnas_search.common.checks import check_integer
from mnas_search.common.errors import UsageError, WorkFailed
from mnas_search.common.statistics import pooled_std
from mnas_search.data import loading
from mnas_search.evaluators.defaults import DEFAULT_DATA, TRAINING
from mnas_search.evaluators.function import as_evaluator
from mnas_search.experiments.experiment import Experiment, ExperimentKind, content_hashes
from mnas_search.experiments.jobs import NO_TRIAL, JobResult, JournalledQueue, trial_members
from mnas_search.experiments.listener import Listener
from mnas_search.experiments.runners import check_travels, drive_study
from mnas_search.nas.core import training_seed
from mnas_search.nas.evaluator import (
    Evaluator,
    SupportsBaseResolution,
    caveats_of,
    with_test_split,
)
from mnas_search.nas.event_kinds import TRAINING as TRAINING_EVENT
from mnas_search.nas.job import EvaluationJob

_ENLARGEMENT = "enlargement"
_JOURNAL, _EVENTS = "measurements.jsonl", {"training": TRAINING_EVENT}
GRID_SEARCH = ExperimentKind(
    command="grid-search",
    noun="grid search",
    parent="grid-search",
    journal=_JOURNAL,
    events=_EVENTS,
)
COMPARE = ExperimentKind(
    command="compare", noun="comparison", parent="compare", journal=_JOURNAL, events=_EVENTS
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measuring:
    """How networks are measured."""

    evaluator: str = TRAINING  # a name, or `file.py:Name`
    # data, proxy, gpus_per_trial, ray_address: as in a run
    data: str | None = None
    proxy: str | None = None
    seeds: int = 3  # trainings of each network
    seed: int = 0
    # trainings at a time, over Ray; 0 for this process, None for one per CPU
    workers: int | None = None
    gpus_per_trial: float | None = None
    ray_address: str | None = None
    tested: bool = False  # whether to measure on the test split too
    # largest resolution over the base's; None for that of the networks to measure
    enlargement: float | None = None

    def __post_init__(self) -> None:
        check_integer("seeds", self.seeds, 2)
        check_integer("seed", self.seed, 0)
        if self.workers is not None:
            check_integer("workers", self.workers, 0)
        if self.data is not None:
            object.__setattr__(self, "data", loading.absolute(self.data))
        object.__setattr__(self, "evaluator", plugins.absolute(self.evaluator))

    def make_evaluator(self, base: Architecture, enlargement: float) -> Evaluator:
        """Return the evaluator, which keeps the ratios of resolutions to the base's, the largest
        of which is `enlargement`."""
        target = plugins.load("evaluators", self.evaluator)
        evaluator = as_evaluator(
            target,
            data=self.data,
            proxy=self.proxy,
            deployment=None if loading.is_embedded(self.data) else base.resolution,
            enlargement=enlargement,
        )
        if isinstance(evaluator, SupportsBaseResolution):
            evaluator = evaluator.at_base_resolution(base.resolution)
        if not self.tested:
            return evaluator
        if (tested := with_test_split(evaluator)) is None:
            raise UsageError(f"a test requires a test split, got evaluator {self.evaluator!r}")
        return tested

    @property
    def embedded(self) -> bool:
        """Whether the networks see the embedded digits, as a demonstration."""
        return self.evaluator == TRAINING and self.data in (None, DEFAULT_DATA)

    def recorded(self, evaluator: Evaluator) -> dict[str, Any]:
        """Return the options that decide the accuracies, as config.json holds them."""
        names = ("evaluator", "data", "proxy", "seeds", "seed")
        options = {name: getattr(self, name) for name in names}
        return options | content_hashes(options, ("evaluator", "data"), evaluator)

    def seeds_of(self, network: Architecture) -> list[int]:
        """Return the seeds of a network's trainings."""
        return [training_seed(self.seed, network.fingerprint, repeat=k) for k in range(self.seeds)]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredAccuracies:
    """Accuracies of several networks."""

    # an accuracy per seed, a fraction; empty where all trainings failed
    by_fingerprint: Mapping[str, tuple[float, ...]]
    notes: tuple[str, ...] = ()  # sentences to print beside them
    # all results of a network's trainings, by fingerprint
    results: Mapping[str, tuple[JobResult, ...]] = field(default_factory=dict)

    def of(self, network: Architecture) -> tuple[float, ...]:
        """Return a network's accuracies."""
        return self.by_fingerprint.get(network.fingerprint, ())

    def mean(self, network: Architecture) -> float | None:
        """Return a network's mean accuracy; None where all trainings failed."""
        accuracies = self.of(network)
        return float(np.mean(accuracies)) if accuracies else None

    @property
    def std(self) -> float | None:
        """Standard deviation between seeds, pooled over networks; None where none has two."""
        return pooled_std(self.by_fingerprint.values())

    def error(self, network: Architecture) -> float | None:
        """Return the standard error of a network's mean: `std` over the root of its seeds."""
        count = len(self.of(network))
        return None if self.std is None or not count else self.std / count**0.5


def measure(
    kind: ExperimentKind,
    base: Architecture,
    networks: Sequence[Architecture],
    measuring: Measuring,
    options: Mapping[str, Any],
    *,
    output: Path | None = None,
    listener: Listener,
    report_only: bool = False,
) -> tuple[Path, MeasuredAccuracies]:
    """Measure networks with every seed, in a new folder or one to resume; return it too.

    Args:
        base: the network that the others were scaled from.
        networks: equal ones are measured once.
        options: recorded in the folder besides the base and `measuring`.
        output: None for a new folder `<kind>/<name>-<n>`.
        report_only: take the results that are there, and train nothing.

    Raises:
        RunFolderError: the folder holds something else, or the same study with other options.
        WorkFailed: every training failed.
    """
    experiment = Experiment(kind, output)
    recorded = {"base": base.block_string, "base_fingerprint": base.fingerprint, **options}
    largest = max(network.resolution for network in networks) / base.resolution
    enlargement = measuring.enlargement or largest
    if experiment.resumed and _ENLARGEMENT not in experiment.recorded:
        enlargement = 1.0  # an older folder, whose images were read for the base
    else:
        recorded[_ENLARGEMENT] = enlargement
    evaluator = measuring.make_evaluator(base, enlargement)
    check_travels(measuring.evaluator, evaluator, evaluator.resources, measuring.workers)
    recorded |= measuring.recorded(evaluator)
    stem = "".join(c if c.isalnum() else "-" for c in base.name or "network")
    folder = experiment.make(recorded, stem[:100])
    distinct = {network.fingerprint: network for network in networks}
    # Seed by seed, so that an interruption finds all networks equally far.
    jobs = [
        EvaluationJob(number=NO_TRIAL, network=network, seed=measuring.seeds_of(network)[repeat])
        for repeat in range(measuring.seeds)
        for network in distinct.values()
    ]

    def on_result(job: EvaluationJob, result: JobResult) -> None:
        text = "failed" if result.accuracy is None else f"{result.accuracy:.4f}"
        listener.on_progress(len(jobs) - queue.remaining, len(jobs), text)

    with experiment.session(recorded) as journal:
        queue = JournalledQueue(
            "training",
            jobs=lambda: jobs,
            journal=journal,
            members=trial_members("scaling"),
            on_result=on_result,
        )
        done = len(jobs) - queue.remaining
        listener.on_start(folder)
        listener.on_note(f"{len(distinct)} networks, {len(jobs)} trainings, {done} there already")
        if not report_only:
            drive_study(
                queue,
                evaluator,
                listener,
                workers=measuring.workers,
                gpus_per_trial=measuring.gpus_per_trial,
                address=measuring.ray_address,
            )
    results = {
        fingerprint: tuple(
            result
            for seed in measuring.seeds_of(network)
            if (result := queue.result(network, seed)) is not None
        )
        for fingerprint, network in distinct.items()
    }
    accuracies = {
        fingerprint: tuple(one.accuracy for one in found if one.accuracy is not None)
        for fingerprint, found in results.items()
    }
    if queue.results and not any(accuracies.values()):
        first = next(result.error for result in queue.results if result.error is not None)
        raise WorkFailed(f"every training failed; the first: {first}")
    notes = caveats_of(evaluator, base)
    return folder, MeasuredAccuracies(by_fingerprint=accuracies, notes=notes, results=results)
