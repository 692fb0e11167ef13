"""Accuracies of scaled networks, measured with several seeds and journalled in a folder."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import numpy as np
from threadpoolctl import threadpool_limits

from mnas_search.architecture.value import Architecture
from mnas_search.common import folders, plugins
from mnas_search.common.errors import RunFolderError, UsageError, WorkFailed
from mnas_search.common.machine import cpu_count, versions
from mnas_search.data import loading
from mnas_search.evaluators.defaults import DEFAULT_DATA, TRAINING
from mnas_search.evaluators.function import as_evaluator
from mnas_search.experiments.runners import drive
from mnas_search.experiments.trainings import NO_TRIAL, Trainings
from mnas_search.nas.core import training_seed
from mnas_search.nas.evaluator import (
    Evaluator,
    SupportsBaseResolution,
    SupportsTraining,
    caveats_of,
)
from mnas_search.nas.job import Job, JobQueue, Outcome
from mnas_search.nas.journal import Journal
from mnas_search.nas.trial import Failure

MEASUREMENTS = "measurements.jsonl"


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
                raise UsageError(f"{name} is {value!r}; allowed: a whole number from {low}")
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
        """What decides the accuracies, as config.json holds it; `evaluator` is what was `made`."""
        names = ("evaluator", "data", "proxy", "seeds", "seed")
        recorded = {name: getattr(self, name) for name in names}
        for name in ("evaluator", "data"):
            value = recorded[name]
            if value is not None and plugins.is_file_reference(value):
                recorded[f"{name}_sha256"] = plugins.content_hash(value)
        outside = self.data is not None and loading.is_outside(self.data)
        if outside and isinstance(evaluator, SupportsTraining):
            recorded["data_sha256"] = evaluator.data_sha256
        return recorded


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """Accuracies of several networks.

    Attributes:
        by_fingerprint: one accuracy a seed, a fraction; none where all trainings failed.
        notes: what belongs beside them.
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
        several = [one for one in self.by_fingerprint.values() if len(one) > 1]
        if not several:
            return None
        squares = sum(float(np.var(one, ddof=1)) * (len(one) - 1) for one in several)
        return float((squares / sum(len(one) - 1 for one in several)) ** 0.5)

    def error(self, network: Architecture) -> float | None:
        """Standard error of a network's mean: `std` over the root of its seeds."""
        count = len(self.of(network))
        return None if self.std is None or not count else self.std / count**0.5


class Listener:
    """Hears how it goes; override what is of interest."""

    def opened(self, folder: Path, networks: int, trainings: int, done: int) -> None:
        """The folder is there; so many trainings are to be done, and so many are."""

    def trained(self, done: int, total: int, outcome: Outcome) -> None:
        """A training has finished."""

    def closed(self) -> None:
        """No more trainings, however they ended."""


def open_folder(
    output: Path | None, command: str, base: Architecture, asked: Mapping[str, Any]
) -> Path:
    """The folder of a study, made where it is not there; a new `<command>/<name>-<n>` for None.

    Raises:
        RunFolderError: it holds something else, or the same asked for otherwise.
    """
    recorded = {
        "command": command,
        "base": base.block_string,
        "base_fingerprint": base.fingerprint,
        **asked,
    }
    if output is None:
        name = "".join(c if c.isalnum() else "-" for c in base.name or "network")
        folder = folders.new_folder(Path(command), name[:100])
    elif folders.is_run(output):
        folder, old = output, folders.read_config(output)
        if old.get("command") != command:
            raise RunFolderError(
                f"{str(folder)!r} holds something else than `{command}`; allowed: a new folder, "
                "or one of its own"
            )
        folders.check_same_run(folder, old, recorded)
    else:
        folders.check_free(output, f"folder of `{command}`")
        folder = output
        folder.mkdir(parents=True, exist_ok=True)
    folders.write_config(folder, recorded, versions())
    return folder


def measure(
    networks: Sequence[Architecture],
    base: Architecture,
    measuring: Measuring,
    evaluator: Evaluator,
    folder: Path,
    listener: Listener | None = None,
) -> Scores:
    """Measure networks with every seed; what the folder's journal holds is not done again.

    Args:
        networks: distinct ones are measured once.
        base: what they were scaled from.
        measuring, evaluator: how; the evaluator is what `measuring.made(base)` gave.
        folder: of `open_folder`.

    Raises:
        WorkFailed: every training failed.
    """
    heard = listener or Listener()
    distinct = {network.fingerprint: network for network in networks}

    def works() -> list[Job]:
        # Seed by seed, so that whatever ends it early, all networks are as far.
        return [
            Job(number=NO_TRIAL, network=network, seed=_seed(measuring, network, repeat))
            for repeat in range(measuring.seeds)
            for network in distinct.values()
        ]

    with Journal(folder / MEASUREMENTS) as journal:
        trainings = Trainings("training", phase="scaling", works=works, journal=journal)
        total = len(distinct) * measuring.seeds
        reported = _Reported(trainings, total, heard)
        heard.opened(folder, len(distinct), total, reported.done)
        try:
            if not trainings.finished:
                with threadpool_limits(1):
                    drive(
                        reported,
                        evaluator,
                        workers=(cpu_count() if measuring.workers is None else measuring.workers),
                        gpus_per_trial=measuring.gpus_per_trial,
                        address=measuring.ray_address,
                    )
        finally:
            heard.closed()
    accuracies = {
        fingerprint: tuple(
            accuracy
            for repeat in range(measuring.seeds)
            if (trained := trainings.done.get(_seed(measuring, network, repeat))) is not None
            and (accuracy := trained.accuracy) is not None
        )
        for fingerprint, network in distinct.items()
    }
    if not any(accuracies.values()):
        raise WorkFailed(f"every training failed; the first: {reported.failures[0]}")
    return Scores(by_fingerprint=accuracies, notes=caveats_of(evaluator, base))


def _seed(measuring: Measuring, network: Architecture, repeat: int) -> int:
    return training_seed(measuring.seed, network.fingerprint, repeat=repeat)


@final
class _Reported(JobQueue):
    """Trainings with somebody who hears of each."""

    def __init__(self, trainings: Trainings, total: int, listener: Listener) -> None:
        self._trainings, self._total, self._listener = trainings, total, listener
        self.failures: list[str] = []

    @property
    def done(self) -> int:
        """Those that have an accuracy."""
        return sum(one.accuracy is not None for one in self._trainings.done.values())

    def next(self) -> Job | None:
        """The next training."""
        return self._trainings.next()

    def record(self, work: Job, outcome: Outcome, seconds: float) -> None:
        """Journal and report an outcome."""
        self._trainings.record(work, outcome, seconds)
        if isinstance(outcome, Failure):
            self.failures.append(outcome.reason)
        self._listener.trained(len(self._trainings.done), self._total, outcome)

    @property
    def finished(self) -> bool:
        """Whether nothing is in flight and nothing will come."""
        return self._trainings.finished
