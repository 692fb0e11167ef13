"""Accuracies of scaled networks, measured with several seeds and journalled in a folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from threadpoolctl import threadpool_limits

from mnas_search.architecture.value import Architecture
from mnas_search.common import plugins
from mnas_search.common.errors import UsageError, WorkFailed
from mnas_search.common.machine import cpu_count
from mnas_search.common.statistics import pooled_std
from mnas_search.data import loading
from mnas_search.evaluators.defaults import DEFAULT_DATA, TRAINING
from mnas_search.evaluators.function import as_evaluator
from mnas_search.experiments.experiment import Experiment, ExperimentKind, content_hashes
from mnas_search.experiments.jobs import NO_TRIAL, JobResult, JournalledQueue, trial_event
from mnas_search.experiments.listener import Listener
from mnas_search.experiments.runners import drive
from mnas_search.nas.core import training_seed
from mnas_search.nas.evaluator import (
    Evaluator,
    SupportsBaseResolution,
    caveats_of,
)
from mnas_search.nas.job import EvaluationJob

GRID_SEARCH = ExperimentKind(
    command="grid-search", noun="grid search", parent="grid-search", journal="measurements.jsonl"
)
COMPARE = ExperimentKind(
    command="compare", noun="comparison", parent="compare", journal="measurements.jsonl"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Measuring:
    """How networks are measured.

    Attributes:
        evaluator: a name, or `file.py:Name`.
        data, proxy: as in a run.
        seeds: trainings of each network.
        seed: of everything random.
        workers: trainings at a time, over Ray; 0: in this process; None: one a CPU.
        gpus_per_trial, ray_address: as in a run.
    """

    evaluator: str = TRAINING
    data: str | None = None
    proxy: str | None = None
    seeds: int = 3
    seed: int = 0
    workers: int | None = None
    gpus_per_trial: float | None = None
    ray_address: str | None = None

    def __post_init__(self) -> None:
        for name, low in {"seeds": 2, "seed": 0, "workers": 0}.items():
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < low):
                raise UsageError(f"{name} must be a whole number from {low}, got {value!r}")
        if self.data is not None:
            object.__setattr__(self, "data", loading.absolute(self.data))
        object.__setattr__(self, "evaluator", plugins.absolute(self.evaluator))

    def made(self, base: Architecture) -> Evaluator:
        """The evaluator, which keeps the ratios of resolutions to the base's."""
        target = plugins.load("evaluators", self.evaluator)
        evaluator = as_evaluator(target, data=self.data, proxy=self.proxy)
        if isinstance(evaluator, SupportsBaseResolution):
            return evaluator.at_base_resolution(base.resolution)
        return evaluator

    @property
    def embedded(self) -> bool:
        """Whether the networks see the embedded digits, and so a demonstration."""
        return self.evaluator == TRAINING and self.data in (None, DEFAULT_DATA)

    def recorded(self, evaluator: Evaluator) -> dict[str, Any]:
        """Return what decides the accuracies, as config.json holds it; `evaluator` is what `made`
        gave."""
        names = ("evaluator", "data", "proxy", "seeds", "seed")
        options = {name: getattr(self, name) for name in names}
        return options | content_hashes(options, ("evaluator", "data"), evaluator)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ScalingStudy:
    """The folder of a grid search or a comparison, and its options."""

    experiment: Experiment
    options: Mapping[str, Any]
    folder: Path


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredAccuracies:
    """Accuracies of several networks.

    Attributes:
        by_fingerprint: one accuracy a seed, a fraction; empty where all trainings failed.
        notes: to be shown with them.
    """

    by_fingerprint: Mapping[str, tuple[float, ...]]
    notes: tuple[str, ...] = ()

    def of(self, network: Architecture) -> tuple[float, ...]:
        """A network's accuracies."""
        return self.by_fingerprint.get(network.fingerprint, ())

    def mean(self, network: Architecture) -> float | None:
        """A network's mean accuracy; None where all trainings failed."""
        accuracies = self.of(network)
        return float(np.mean(accuracies)) if accuracies else None

    @property
    def std(self) -> float | None:
        """Standard deviation between the seeds of one network, pooled over all; None where no
        network has two accuracies."""
        return pooled_std(self.by_fingerprint.values())

    def error(self, network: Architecture) -> float | None:
        """Standard error of a network's mean: `std` over the root of its seeds."""
        count = len(self.of(network))
        return None if self.std is None or not count else self.std / count**0.5


def open_study(
    kind: ExperimentKind, base: Architecture, options: Mapping[str, Any], output: Path | None
) -> ScalingStudy:
    """Open the folder of a scaling study, new or resumed; None makes `<kind>/<name>-<n>`.

    Raises:
        RunFolderError: it holds something else, or the same study with other options.
    """
    recorded = {"base": base.block_string, "base_fingerprint": base.fingerprint, **options}
    experiment = Experiment(kind, output)
    name = "".join(c if c.isalnum() else "-" for c in base.name or "network")
    folder = experiment.make(recorded, name[:100])
    return ScalingStudy(experiment=experiment, options=recorded, folder=folder)


def measure(
    networks: Sequence[Architecture],
    base: Architecture,
    measuring: Measuring,
    evaluator: Evaluator,
    study: ScalingStudy,
    listener: Listener | None = None,
) -> MeasuredAccuracies:
    """Measure networks with every seed; what the study's journal holds is not done again.

    Args:
        networks: distinct ones are measured once.
        base: what they were scaled from.
        measuring, evaluator: how; the evaluator is what `measuring.made(base)` gave.
        study: where results go.
        listener: follows the trainings.

    Raises:
        WorkFailed: every training failed.
    """
    listener = listener or Listener()
    distinct = {network.fingerprint: network for network in networks}
    # Seed by seed, so that whenever the work is interrupted, all networks are equally far.
    jobs = [
        EvaluationJob(number=NO_TRIAL, network=network, seed=_seed(measuring, network, repeat))
        for repeat in range(measuring.seeds)
        for network in distinct.values()
    ]

    def on_result(job: EvaluationJob, result: JobResult) -> None:
        text = "failed" if result.accuracy is None else f"{result.accuracy:.4f}"
        listener.on_progress(len(jobs) - queue.remaining, len(jobs), text)

    with study.experiment.session(study.options) as journal:
        queue = JournalledQueue(
            "training",
            jobs=lambda: jobs,
            journal=journal,
            describe=trial_event("training", "scaling"),
            on_result=on_result,
        )
        done = len(jobs) - queue.remaining
        listener.on_start(study.folder)
        listener.on_note(f"{len(distinct)} networks, {len(jobs)} trainings, {done} there already")
        try:
            if not queue.finished:
                with threadpool_limits(1):
                    drive(
                        queue,
                        evaluator,
                        workers=(cpu_count() if measuring.workers is None else measuring.workers),
                        gpus_per_trial=measuring.gpus_per_trial,
                        address=measuring.ray_address,
                    )
        finally:
            listener.on_end()
    accuracies = {
        fingerprint: tuple(
            result.accuracy
            for repeat in range(measuring.seeds)
            if (result := queue.result(network, _seed(measuring, network, repeat))) is not None
            and result.accuracy is not None
        )
        for fingerprint, network in distinct.items()
    }
    if not any(accuracies.values()):
        first = next(result.error for result in queue.results if result.error is not None)
        raise WorkFailed(f"every training failed; the first: {first}")
    return MeasuredAccuracies(by_fingerprint=accuracies, notes=caveats_of(evaluator, base))


def _seed(measuring: Measuring, network: Architecture, repeat: int) -> int:
    return training_seed(measuring.seed, network.fingerprint, repeat=repeat)
