"""A full training: the folder, the epochs, the test at the end.

`start` and `resume` are what the command line calls. Everything that can be refused is refused
before a folder is made. A training's folder:

config.json          the options, resolved, with versions
checkpoint-last.pt, checkpoint-best.pt, metrics.jsonl     see `checkpoints`
shortened.jsonl      where a time did not suffice for all epochs; see `deadline`
tensorboard/         the same metrics, if tensorboard is installed
export/              model.py, weights.pt and .safetensors, weights.json; see `export.artefacts`
result.json          the result, with the single measurement on the test split
"""

import contextlib
import logging
import re
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import final

from mnas_search.architecture.cost.count import cost
from mnas_search.common import plugins
from mnas_search.common.errors import DamagedFile, RunFolderError, WorkFailed
from mnas_search.common.files import make_folder, read_json, write_json
from mnas_search.experiments.experiment import Experiment, ExperimentKind, existing
from mnas_search.experiments.listener import Listener
from mnas_search.experiments.training import checkpoints
from mnas_search.experiments.training.checkpoints import Checkpoint, Epoch
from mnas_search.experiments.training.deadline import Deadline, read_length
from mnas_search.experiments.training.epochs import (
    FullTraining,
    Score,
    evaluate_on_test,
    train_epochs,
)
from mnas_search.experiments.training.settings import (
    Setup,
    TrainingConfig,
    from_recorded,
    settings_to_start_from,
)
from mnas_search.experiments.training.tensorboard import TensorBoard
from mnas_search.export.artefacts import write_export
from mnas_search.export.base import Origin
from mnas_search.export.provenance import DESCRIPTION, describe
from mnas_search.networks.weights.reading import BEST

_LOG = logging.getLogger(__name__)
_MAX_NAME = 60


TRAIN = ExperimentKind(
    command="train",
    noun="training",
    parent="trainings",
    journal=".lock",  # the record of a training is its checkpoints
    events={},
    may_differ=("workers", "gpus_per_worker", "ray_address"),
    may_grow=("epochs",),
    of_data=("data",),
)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """The result of a training.

    Attributes:
        name: the architecture's name, or its block string.
        epochs: number of epochs trained.
        best_epoch: the epoch whose weights are exported and tested.
        accuracy, top5: on the validation split, with these weights.
        test: on the test split, with these weights.
        params, macs: at the training's resolution and number of classes.
        folder: the training's.
        seconds: of all epochs.
        shortened: why these are fewer than planned; None where they are not.
    """

    name: str
    epochs: int
    best_epoch: int
    accuracy: float
    top5: float | None
    test: Score
    params: int
    macs: int
    folder: str
    seconds: float
    shortened: str | None = None


def start(
    config: TrainingConfig,
    output: Path | None = None,
    listener: Listener | None = None,
    deadline: Deadline | None = None,
) -> TrainingResult:
    """Train in a new folder, or resume the same training in one that holds it; with fewer epochs
    where these would be late for a deadline.

    Raises:
        UsageError: an option or a combination of options is refused; nothing was written.
        WorkFailed: the training failed; finished epochs are kept in the folder.
    """
    experiment, listener = Experiment(TRAIN, output), listener or Listener()
    if experiment.resumed:
        return _resume(config, experiment, listener, deadline)
    setup = Setup(config, settings_to_start_from(config))
    _ = setup.fitted  # weights that do not fit are refused before a folder is made
    with _workers(setup):
        experiment.make(setup.recorded(), _stem(setup.job.architecture.name or ""))
        return _run(setup, experiment, listener, deadline)


def resume(
    folder: Path,
    listener: Listener | None = None,
    *,
    workers: int | None = None,
    ray_address: str | None = None,
    trust_code: bool = False,
) -> TrainingResult:
    """Resume a training with its own configuration, or with other workers; `trust_code` as in
    `experiments.trust`."""
    experiment = existing(TRAIN, folder, trust_code=trust_code)
    config, _ = from_recorded(folder, experiment.recorded)
    config = replace(
        config,
        workers=config.workers if workers is None else workers,
        ray_address=config.ray_address if ray_address is None else ray_address,
    )
    return _resume(config, experiment, listener or Listener())


def _resume(
    config: TrainingConfig,
    experiment: Experiment,
    listener: Listener,
    deadline: Deadline | None = None,
) -> TrainingResult:
    recorded, folder = experiment.recorded, experiment.folder
    begun, settings = from_recorded(folder, recorded)
    own = begun.resolution if config.resolution is None else config.resolution
    config = replace(config, resolution=own, adapted=begun.adapted)
    setup = Setup(config, settings)
    experiment.make(setup.recorded(), "")
    result = _result(folder)
    if result is None:
        with _workers(setup):
            return _run(setup, experiment, listener, deadline)
    if setup.config.epochs != recorded["epochs"]:
        raise RunFolderError(
            f"epochs must be {recorded['epochs']} for the training {str(folder)!r}, which has "
            f"been measured on the test split, got {setup.config.epochs}; a new training can "
            f"start from its weights, with --init {folder}"
        )
    _report_start(listener, folder, result.epochs, result.epochs)
    return result


def _run(
    setup: Setup, experiment: Experiment, listener: Listener, deadline: Deadline | None
) -> TrainingResult:
    folder, job = experiment.folder, setup.job
    with experiment.session(setup.recorded()):
        checkpoint, note = checkpoints.recover(folder)
        # Weights to start from are read only if no epoch has been trained: they may be gone.
        fitted = setup.fitted if checkpoint is None else None
        done = 0 if checkpoint is None else checkpoint.history[-1].epoch
        length, _ = read_length(folder, job.length)
        _report_start(listener, folder, done, length.epochs)
        if note is not None:
            listener.on_note(note)
        if setup.adaptation is not None and checkpoint is None:
            listener.on_note(setup.adaptation)
        if fitted is not None:
            job = replace(job, start=fitted.weights)
            for text in (*setup.notes, f"weights of {setup.config.init}: {fitted.text}"):
                listener.on_note(text)
        try:
            if done < length.epochs:
                _train(setup, job, folder, done, listener, deadline)
        finally:
            listener.on_end()
        return _finish(setup, folder, listener)


def _report_start(listener: Listener, folder: Path, done: int, epochs: int) -> None:
    listener.on_start(folder)
    if done:
        listener.on_note(f"{done} of {epochs} epochs were done before")
    if done < epochs:
        listener.on_progress(done, epochs, "the next epoch" if done else "the first epoch")


def _train(
    setup: Setup,
    job: FullTraining,
    folder: Path,
    done: int,
    listener: Listener,
    deadline: Deadline | None,
) -> None:
    _, why = read_length(folder, job.length)  # shortened in an earlier session
    with contextlib.closing(TensorBoard(folder, done)) as events:
        if not events.available:
            listener.on_note(
                "no TensorBoard logs: tensorboard is not installed (pip install "
                "'mnas-search[tensorboard]')"
            )

        def finished(epoch: Epoch) -> None:
            nonlocal why
            events.add(epoch)
            before, (length, why) = why, read_length(folder, job.length)
            if why is not None and why != before:
                listener.on_note(why)
            epochs = length.epochs
            text = f"loss {epoch.loss:.4f}, validation top-1 {epoch.top1:.4f}"
            _LOG.info("epoch %d of %d: %s in %.1f s", epoch.epoch, epochs, text, epoch.seconds)
            listener.on_progress(epoch.epoch, epochs, text)

        if not setup.on_ray:
            train_epochs(job, folder, device=setup.device, finished=finished, deadline=deadline)
            return
        from mnas_search.experiments.training.distributed import train_on_ray

        workers, gpus = setup.config.workers, setup.gpus
        train_on_ray(
            job,
            folder,
            workers=workers,
            gpus_per_worker=gpus,
            finished=finished,
            deadline=deadline,
        )


def _finish(setup: Setup, folder: Path, listener: Listener) -> TrainingResult:
    """Export the best weights, and measure them on the test split."""
    last = checkpoints.read(folder / checkpoints.LAST)
    best = checkpoints.read(folder / BEST)
    if last is None:
        raise WorkFailed(f"{folder / checkpoints.LAST} cannot be read")
    if best is None:
        listener.on_note(f"{BEST} is torn or not there: the last epoch is taken for it")
        best = last
    _export(setup, folder / "export", best, len(last.history))
    architecture, epoch = setup.job.architecture, best.history[-1]
    counted = cost(architecture)
    result = TrainingResult(
        name=architecture.label,
        epochs=len(last.history),
        best_epoch=epoch.epoch,
        accuracy=epoch.top1,
        top5=epoch.top5,
        test=evaluate_on_test(setup.job, best.weights, device=setup.device),
        params=counted.params,
        macs=counted.macs,
        folder=str(folder),
        seconds=round(sum(one.seconds for one in last.history), 3),
        shortened=read_length(folder, setup.job.length)[1],
    )
    write_json(folder / "result.json", asdict(result))
    return result


def _export(setup: Setup, path: Path, best: Checkpoint, epochs: int) -> None:
    config, job, epoch = setup.config, setup.job, best.history[-1]
    make_folder(path)
    start = "random weights" if config.init is None else config.init
    remapped = ", remapped" if config.remap else ""
    averaged = ", their moving average" if job.recipe.ema_decay is not None else ""
    origin = Origin(
        weights=(
            f"trained on {job.data.name} by the recipe {config.recipe!r} from "
            f"{start}{remapped}: those after epoch "
            f"{epoch.epoch} of {epochs}{averaged}, the best on the validation split"
        ),
        class_names=job.data.class_names,
        preprocessing=job.preprocessing,
    )
    exporter = plugins.load("exporters", "pytorch")()
    write_export(exporter, job.architecture, best.weights, origin, path)
    provenance = {
        "weights": origin.weights,
        "architecture": job.architecture.label,
        "num_classes": job.data.num_classes,
        **describe(origin),
        "validation": {"top1": epoch.top1, "top5": epoch.top5},
        "batch_size": config.batch_size,
        "learning_rate": config.learning_rate,
        "seed": config.seed,
    }
    write_json(path / DESCRIPTION, provenance)


def _workers(setup: Setup) -> contextlib.AbstractContextManager[object]:
    if not setup.on_ray:
        return contextlib.nullcontext()
    from mnas_search.experiments.training.distributed import cluster

    address, workers = setup.config.ray_address, setup.config.workers
    return cluster(address, cpus=workers, gpus=setup.gpus, what="a worker")


def _stem(name: str) -> str:
    """Return a folder's name for an architecture of this name, which may be empty."""
    return re.sub(r"[^\w.-]+", "-", name).strip("-.")[:_MAX_NAME] or "network"


def _result(folder: Path) -> TrainingResult | None:
    try:
        value = read_json(folder / "result.json")
        test = value["test"]
        score = Score(**{**test, "interval": tuple(test["interval"])})
        return TrainingResult(**{**value, "test": score})
    except (DamagedFile, OSError, ValueError, LookupError, TypeError):
        return None
