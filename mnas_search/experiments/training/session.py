"""A whole training: the folder, the epochs, the end.

`start` and `resume` are what the command line calls. Everything that can be refused is refused
before a folder is made. A training's folder:

config.json          what was asked for, resolved, with versions
checkpoint-last.pt, checkpoint-best.pt, metrics.jsonl     see `checkpoints`
tensorboard/         the same metrics, where tensorboard is installed
export/              model.py, weights.pt and .safetensors, weights.json
result.json          the end of it, with the one look at the test split
"""

import contextlib
import json
import platform
import re
from dataclasses import asdict, dataclass, fields, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, final

from mnas_search.architecture.cost.count import cost
from mnas_search.common import plugins
from mnas_search.common.errors import RunFolderError, WorkFailed
from mnas_search.common.files import lock, read_json, write_atomically
from mnas_search.common.folders import check_free, new_folder, read_training
from mnas_search.experiments.training import checkpoints
from mnas_search.experiments.training.checkpoints import Checkpoint, Epoch
from mnas_search.experiments.training.epochs import Job, tested, train_epochs
from mnas_search.experiments.training.events import Events
from mnas_search.experiments.training.scores import Score
from mnas_search.experiments.training.settings import (
    Setup,
    TrainingConfig,
    check_same_training,
    from_recorded,
    recorded_settings,
    settings_to_start_from,
)
from mnas_search.networks.weights import loading as weights
from mnas_search.networks.weights import remap
from mnas_search.networks.weights.reading import BEST

_PACKAGES = ("mnas-search", "torch", "numpy", "ray")
_LONGEST_NAME = 60


class Reporter:
    """Hears how a training goes. This one says nothing."""

    def opened(self, folder: Path, done: int, epochs: int) -> None:
        """The folder is there; so many epochs are done."""

    def note(self, text: str) -> None:
        """A sentence that is worth knowing."""

    def epoch(self, epoch: Epoch, epochs: int) -> None:
        """An epoch has finished, of so many."""

    def closed(self) -> None:
        """The epochs have ended, however."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class TestScore:
    """The one look at the test split: fractions, the number of images, and Wilson's 95 % interval
    of top-1. top5 is None where there are no more than five classes."""

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
    config: TrainingConfig, output: Path | None = None, reporter: Reporter | None = None
) -> TrainingResult:
    """Train in a new folder, or go on in one that holds the same training.

    Raises:
        UsageError: something asked for cannot be; nothing was written.
        WorkFailed: the training could not be ended; what was done is in the folder.
    """
    recorded = None if output is None else read_training(output)
    if output is not None and recorded is not None:
        setup = Setup(config, recorded_settings(output, recorded))
        return _go_on(setup, output, reporter or Reporter())
    setup = Setup(config, settings_to_start_from(config))
    if output is not None:
        check_free(output, "training's folder")
    fitted = setup.fitted()
    with _workers(setup):
        if output is None:
            folder = new_folder(Path("trainings"), _stem(setup.architecture.label))
        else:
            folder = output
            folder.mkdir(parents=True, exist_ok=True)
        _write_config(folder, setup)
        return _run(setup, folder, fitted, reporter or Reporter())


def resume(
    folder: Path,
    reporter: Reporter | None = None,
    *,
    workers: int | None = None,
    ray_address: str | None = None,
) -> TrainingResult:
    """Go on where a training stopped, with its own configuration, or with other workers."""
    recorded = _recorded(folder)
    config = from_recorded(folder, recorded)
    if workers is not None:
        config = replace(config, workers=workers)
    if ray_address is not None:
        config = replace(config, ray_address=ray_address)
    setup = Setup(config, recorded_settings(folder, recorded))
    return _go_on(setup, folder, reporter or Reporter())


def _go_on(setup: Setup, folder: Path, reporter: Reporter) -> TrainingResult:
    result = _result(folder)
    check_same_training(folder, _recorded(folder), setup.recorded(), ended=result is not None)
    if result is not None:
        reporter.opened(folder, result.epochs, result.epochs)
        return result
    begun = any((folder / name).exists() for name in (checkpoints.LAST, BEST))
    # Weights to start from are not needed any more after the first epoch.
    fitted = None if begun else setup.fitted()
    with _workers(setup):
        return _run(setup, folder, fitted, reporter)


def _run(
    setup: Setup,
    folder: Path,
    fitted: weights.FittedWeights | remap.Remapped | None,
    reporter: Reporter,
) -> TrainingResult:
    with (folder / ".lock").open("ab") as file:
        lock(file, folder)
        _write_config(folder, setup)
        checkpoint, note = checkpoints.recover(folder)
        if checkpoint is None and fitted is None:
            fitted = setup.fitted()
        done = 0 if checkpoint is None else checkpoint.history[-1].epoch
        reporter.opened(folder, done, setup.recipe.epochs)
        if note is not None:
            reporter.note(note)
        if checkpoint is None and fitted is not None:
            for text in (*setup.notes, f"weights of {setup.config.init}: {fitted.text}"):
                reporter.note(text)
        job = setup.job(fitted)
        try:
            _train(setup, job, folder, done, reporter)
        finally:
            reporter.closed()
        return _end(setup, job, folder, reporter)


def _train(setup: Setup, job: Job, folder: Path, done: int, reporter: Reporter) -> None:
    epochs = setup.recipe.epochs
    if done >= epochs:
        return
    with contextlib.closing(Events(folder, checkpoints.read_metrics(folder))) as events:
        if not events.written:
            reporter.note(
                "no TensorBoard logs: tensorboard is not installed (pip install "
                "'mnas-search[tensorboard]')"
            )

        def finished(epoch: Epoch) -> None:
            events.add(epoch)
            reporter.epoch(epoch, epochs)

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


def _end(setup: Setup, job: Job, folder: Path, reporter: Reporter) -> TrainingResult:
    last = checkpoints.read(folder / checkpoints.LAST)
    best = checkpoints.read(folder / BEST)
    if last is None:
        raise WorkFailed(f"{folder / checkpoints.LAST} cannot be read")
    if best is None:
        reporter.note(f"{BEST} is torn or not there: the last epoch is taken for it")
    chosen = best or last
    _export(setup, folder, chosen, len(last.history))
    found = tested(job, chosen.weights, device=setup.device)
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
    words = {
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
    write_atomically(path / "weights.json", json.dumps(words, indent=2) + "\n")


def _workers(setup: Setup) -> contextlib.AbstractContextManager[object]:
    if not setup.on_ray:
        return contextlib.nullcontext()
    from mnas_search.experiments.training.distributed import cluster

    return cluster(
        setup.config.ray_address, cpus=setup.config.workers, gpus=setup.gpus, what="a worker"
    )


def _stem(label: str) -> str:
    """What to call a folder; a block string is no name."""
    name = "network" if " " in label else re.sub(r"[^\w.-]+", "-", label).strip("-.")
    return name[:_LONGEST_NAME] or "network"


def _write_config(folder: Path, setup: Setup) -> None:
    versions = {"python": platform.python_version()}
    versions |= {name: version(name) for name in _PACKAGES}
    text = json.dumps({"training": setup.recorded(), "versions": versions}, indent=2)
    write_atomically(folder / "config.json", text + "\n")


def _recorded(folder: Path) -> dict[str, Any]:
    recorded = read_training(folder)
    if recorded is None:
        raise RunFolderError(f"{str(folder)!r} is no training's folder")
    return recorded


def _result(folder: Path) -> TrainingResult | None:
    try:
        value = read_json(folder / "result.json")
        test = value["test"]
        known = {f.name: value[f.name] for f in fields(TrainingResult) if f.name != "test"}
        score = TestScore(**{**test, "interval": tuple(test["interval"])})
        return TrainingResult(**known, test=score)
    except (OSError, ValueError, LookupError, TypeError):
        return None
