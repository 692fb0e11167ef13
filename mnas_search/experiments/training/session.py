"""A whole training: the folder, the epochs, the end.

`start` and `resume` are what the command line calls. Everything that can be refused is refused
before a folder is made. A training's folder:

config.json          what was asked for, resolved, with versions
checkpoint-last.pt, checkpoint-best.pt, metrics.jsonl     see `checkpoints`
tensorboard/         the same metrics, where tensorboard is installed
export/              model.py, weights.pt and .safetensors, weights.json
result.json          the result, with the single measurement on the test split
"""

import contextlib
import json
import logging
import re
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import final

from mnas_search.architecture.cost.count import cost
from mnas_search.common import plugins
from mnas_search.common.errors import RunFolderError, WorkFailed
from mnas_search.common.files import read_json, write_atomically
from mnas_search.experiments.experiment import Experiment, ExperimentKind, existing
from mnas_search.experiments.listener import Listener
from mnas_search.experiments.training import checkpoints
from mnas_search.experiments.training.checkpoints import Checkpoint, Epoch
from mnas_search.experiments.training.epochs import FullTraining, evaluate_on_test, train_epochs
from mnas_search.experiments.training.scores import Score
from mnas_search.experiments.training.settings import (
    Setup,
    TrainingConfig,
    from_recorded,
    recorded_settings,
    settings_to_start_from,
)
from mnas_search.experiments.training.tensorboard import TensorBoard
from mnas_search.networks.weights import loading as weights
from mnas_search.networks.weights import remap
from mnas_search.networks.weights.reading import BEST

_LOG = logging.getLogger(__name__)
_LONGEST_NAME = 60


TRAIN = ExperimentKind(
    command="train",
    noun="training",
    parent="trainings",
    journal=".lock",  # the record of a training is its checkpoints
    may_differ=("workers", "gpus_per_worker", "ray_address"),
    may_grow=("epochs",),
)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class TestScore:
    """Accuracy on the test split: fractions, the number of images, and Wilson's 95 % interval of
    top-1; top5 is None where there are no more than five classes."""

    top1: float
    top5: float | None
    n: int
    interval: tuple[float, float]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class TrainingResult:
    """What a training ended with.

    Attributes:
        name: the architecture's name, or its block string.
        epochs: all that were trained.
        best_epoch: whose weights are exported and tested.
        accuracy, top5: on the validation split, by these weights.
        test: on the test split, by these weights.
        params, macs: at the training's resolution and number of classes.
        folder: the training's.
        seconds: of all epochs.
    """

    name: str
    epochs: int
    best_epoch: int
    accuracy: float
    top5: float | None
    test: TestScore
    params: int
    macs: int
    folder: str
    seconds: float


def start(
    config: TrainingConfig, output: Path | None = None, listener: Listener | None = None
) -> TrainingResult:
    """Train in a new folder, or resume the same training in one that holds it.

    Raises:
        UsageError: an option or a combination of options is refused; nothing was written.
        WorkFailed: the training failed; what was done is in the folder.
    """
    experiment = Experiment(TRAIN, output)
    if experiment.resumed:
        return _resume(config, experiment, listener or Listener())
    setup = Setup(config, settings_to_start_from(config))
    fitted = setup.fitted()
    with _workers(setup):
        experiment.make(setup.recorded(), _stem(setup.architecture.label))
        return _run(setup, experiment, fitted, listener or Listener())


def resume(
    folder: Path,
    listener: Listener | None = None,
    *,
    workers: int | None = None,
    ray_address: str | None = None,
) -> TrainingResult:
    """Resume a training with its own configuration, or with other workers."""
    experiment = existing(TRAIN, folder)
    config = from_recorded(folder, experiment.recorded)
    if workers is not None:
        config = replace(config, workers=workers)
    if ray_address is not None:
        config = replace(config, ray_address=ray_address)
    return _resume(config, experiment, listener or Listener())


def _resume(config: TrainingConfig, experiment: Experiment, listener: Listener) -> TrainingResult:
    recorded, folder = experiment.recorded, experiment.folder
    setup = Setup(config, recorded_settings(folder, recorded))
    experiment.make(setup.recorded(), "")
    result = _result(folder)
    if result is not None:
        if setup.config.epochs != recorded["epochs"]:
            raise RunFolderError(
                f"epochs must be {recorded['epochs']} for the training {str(folder)!r}, which has "
                f"been measured on the test split, got {setup.config.epochs}; a new training can "
                f"start from its weights, with --init {folder}"
            )
        _started(listener, folder, result.epochs, result.epochs)
        return result
    begun = any((folder / name).exists() for name in (checkpoints.LAST, BEST))
    # Weights to start from are not needed any more after the first epoch.
    fitted = None if begun else setup.fitted()
    with _workers(setup):
        return _run(setup, experiment, fitted, listener)


def _run(
    setup: Setup,
    experiment: Experiment,
    fitted: weights.FittedWeights | remap.Remapped | None,
    listener: Listener,
) -> TrainingResult:
    folder = experiment.folder
    with experiment.session(setup.recorded()):
        checkpoint, note = checkpoints.recover(folder)
        if checkpoint is None and fitted is None:
            fitted = setup.fitted()
        done = 0 if checkpoint is None else checkpoint.history[-1].epoch
        _started(listener, folder, done, setup.recipe.epochs)
        if note is not None:
            listener.on_note(note)
        if checkpoint is None and fitted is not None:
            for text in (*setup.notes, f"weights of {setup.config.init}: {fitted.text}"):
                listener.on_note(text)
        job = setup.job(fitted)
        try:
            _train(setup, job, folder, done, listener)
        finally:
            listener.on_end()
        return _end(setup, job, folder, listener)


def _started(listener: Listener, folder: Path, done: int, epochs: int) -> None:
    listener.on_start(folder)
    if done:
        listener.on_note(f"{done} of {epochs} epochs were done before")
    if done < epochs:
        listener.on_progress(done, epochs, "the next epoch" if done else "the first epoch")


def _train(setup: Setup, job: FullTraining, folder: Path, done: int, listener: Listener) -> None:
    epochs = setup.recipe.epochs
    if done >= epochs:
        return
    with contextlib.closing(TensorBoard(folder, checkpoints.read_metrics(folder))) as events:
        if not events.written:
            listener.on_note(
                "no TensorBoard logs: tensorboard is not installed (pip install "
                "'mnas-search[tensorboard]')"
            )

        def finished(epoch: Epoch) -> None:
            events.add(epoch)
            text = f"loss {epoch.loss:.4f}, validation top-1 {epoch.top1:.4f}"
            _LOG.info("epoch %d of %d: %s in %.1f s", epoch.epoch, epochs, text, epoch.seconds)
            listener.on_progress(epoch.epoch, epochs, text)

        if not setup.on_ray:
            train_epochs(job, folder, device=setup.device, finished=finished)
            return
        from mnas_search.experiments.training.distributed import train_on_ray

        train_on_ray(
            job,
            folder,
            workers=setup.config.workers,
            gpus_per_worker=setup.gpus,
            finished=finished,
        )


def _end(setup: Setup, job: FullTraining, folder: Path, listener: Listener) -> TrainingResult:
    last = checkpoints.read(folder / checkpoints.LAST)
    best = checkpoints.read(folder / BEST)
    if last is None:
        raise WorkFailed(f"{folder / checkpoints.LAST} cannot be read")
    if best is None:
        listener.on_note(f"{BEST} is torn or not there: the last epoch is taken for it")
    chosen = best or last
    _export(setup, folder, chosen, len(last.history))
    found = evaluate_on_test(job, chosen.weights, device=setup.device)
    counted = cost(setup.architecture)
    result = TrainingResult(
        name=setup.architecture.label,
        epochs=len(last.history),
        best_epoch=chosen.history[-1].epoch,
        accuracy=chosen.history[-1].top1,
        top5=chosen.history[-1].top5,
        test=_test_score(found),
        params=counted.params,
        macs=counted.macs,
        folder=str(folder),
        seconds=round(sum(epoch.seconds for epoch in last.history), 3),
    )
    write_atomically(folder / "result.json", json.dumps(asdict(result), indent=2) + "\n")
    return result


def _test_score(found: Score) -> TestScore:
    return TestScore(top1=found.top1, top5=found.top5, n=found.count, interval=found.interval)


def _export(setup: Setup, folder: Path, chosen: Checkpoint, epochs: int) -> None:
    config, epoch = setup.config, chosen.history[-1]
    path = folder / "export"
    path.mkdir(exist_ok=True)
    plugins.load("exporters", "pytorch")().export(setup.architecture, chosen.weights, path)
    start = "random weights" if config.init is None else config.init
    remapped = ", remapped" if config.remap else ""
    averaged = ", their moving average" if setup.recipe.ema_decay is not None else ""
    provenance = {
        "weights": (
            f"trained on {setup.data.name} by the recipe {config.recipe!r} from "
            f"{start}{remapped}: those after epoch "
            f"{epoch.epoch} of {epochs}{averaged}, the best on the validation split"
        ),
        "architecture": setup.architecture.label,
        "resolution": setup.architecture.resolution,
        "num_classes": setup.data.num_classes,
        "class_names": list(setup.data.class_names),
        "normalisation": asdict(setup.normalisation),  # of images in [0, 1]
        "validation": {"top1": epoch.top1, "top5": epoch.top5},
        "batch_size": config.batch_size,
        "learning_rate": config.learning_rate,
        "seed": config.seed,
    }
    write_atomically(path / "weights.json", json.dumps(provenance, indent=2) + "\n")


def _workers(setup: Setup) -> contextlib.AbstractContextManager[object]:
    if not setup.on_ray:
        return contextlib.nullcontext()
    from mnas_search.experiments.training.distributed import cluster

    return cluster(
        setup.config.ray_address, cpus=setup.config.workers, gpus=setup.gpus, what="a worker"
    )


def _stem(label: str) -> str:
    """Return a folder's name for an architecture; a block string is no name."""
    name = "network" if " " in label else re.sub(r"[^\w.-]+", "-", label).strip("-.")
    return name[:_LONGEST_NAME] or "network"


def _result(folder: Path) -> TrainingResult | None:
    try:
        value = read_json(folder / "result.json")
        test = value["test"]
        known = {f.name: value[f.name] for f in fields(TrainingResult) if f.name != "test"}
        score = TestScore(**{**test, "interval": tuple(test["interval"])})
        return TrainingResult(**known, test=score)
    except (OSError, ValueError, LookupError, TypeError):
        return None
