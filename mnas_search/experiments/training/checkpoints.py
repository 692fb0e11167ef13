"""The files of a training under way: two checkpoints, and its metrics.

checkpoint-last.pt   after the last finished epoch
checkpoint-best.pt   after the one of the best validation accuracy; the later of equal ones
metrics.jsonl        a line an epoch

A checkpoint takes the place of the one before in one step, and holds the metrics of all epochs
that led to it: `metrics.jsonl` is derived from it and written anew, so that the two agree at
any moment of a kill. The best is written before the last: a kill between them leaves an epoch that
is trained again, to the same weights. Both load with `weights_only=True`.
"""

import json
import zipfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from pickle import UnpicklingError
from typing import Any, final

import torch
from torch import Tensor

from mnas_search.common.errors import RunFolderError, WorkFailed
from mnas_search.common.files import atomic_write, write_atomically
from mnas_search.networks.weights.reading import BEST, load

LAST = "checkpoint-last.pt"
METRICS = "metrics.jsonl"
_FORMAT, _VERSION = "mnas-search training checkpoint", 1


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """A line of metrics.jsonl.

    Attributes:
        epoch: from 1.
        loss: mean over the epoch's steps, with all that the recipe does to images and labels.
        learning_rate: of its last step.
        top1, top5: shares of the validation split; top5 is None where there are no more than five
            classes, for it would be 1.
        seconds: training and validation.
    """

    epoch: int
    loss: float
    learning_rate: float
    top1: float
    top5: float | None
    seconds: float


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A training after an epoch.

    Attributes:
        weights: those that are evaluated: the network's, or their moving average.
        training: `loop.Training.state()`.
        history: the epochs so far.
    """

    weights: dict[str, Tensor]
    training: dict[str, Any]
    history: tuple[Epoch, ...]


def best(history: Sequence[Epoch]) -> Epoch:
    """Return the epoch of the best validation accuracy; the later of equal ones."""
    return max(history, key=lambda epoch: (epoch.top1, epoch.epoch))


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Write the checkpoint after an epoch, and the metrics up to it.

    Raises:
        WorkFailed: it could not be written; what was there before is still there.
    """
    if best(checkpoint.history) == checkpoint.history[-1]:
        _write(folder / BEST, checkpoint)
    _write(folder / LAST, checkpoint)
    write_metrics(folder, checkpoint.history)


def write_metrics(folder: Path, history: Sequence[Epoch]) -> None:
    """Write metrics.jsonl."""
    lines = [json.dumps(asdict(epoch)) + "\n" for epoch in history]
    write_atomically(folder / METRICS, "".join(lines))


def read_metrics(folder: Path) -> tuple[Epoch, ...]:
    """Read the epochs of metrics.jsonl; none where it does not exist."""
    try:
        lines = (folder / METRICS).read_text(encoding="utf-8").splitlines()
    except OSError:
        return ()
    return tuple(Epoch(**json.loads(line)) for line in lines)


def read(path: Path) -> Checkpoint | None:
    """Read a checkpoint; None where there is no complete one."""
    try:
        with zipfile.ZipFile(path) as archive:
            if archive.testzip() is not None:
                return None
        value = load(path)
    except (OSError, RuntimeError, EOFError, ValueError, zipfile.BadZipFile, UnpicklingError):
        return None
    if not isinstance(value, dict) or value.get("format") != _FORMAT:
        return None
    if (version := value.get("version")) != _VERSION:
        raise RunFolderError(f"version of {str(path)!r} must be {_VERSION}, got {version}")
    try:
        history = tuple(Epoch(**epoch) for epoch in value["history"])
        return Checkpoint(weights=value["weights"], training=value["training"], history=history)
    except (LookupError, TypeError):
        return None


def recover(folder: Path) -> tuple[Checkpoint | None, str | None]:
    """Return the last checkpoint, and a sentence where it had to be recovered.

    Metrics are brought to what the checkpoint says. A last checkpoint that is torn or not there
    is replaced by the best one; without any, the training is at its start.
    """
    names = [name for name in (LAST, BEST) if (folder / name).exists()]
    last, note = read(folder / LAST), None
    if last is None and names:
        last = read(folder / BEST)
        what = "is torn" if LAST in names else "is not there"
        if last is None:
            note = f"{LAST} {what}, and there is no whole {BEST}: the training starts again"
        else:
            note = f"{LAST} {what}: resuming from {BEST}, epoch {last.history[-1].epoch}"
            _write(folder / LAST, last)
    if last is None:
        for name in names:
            (folder / name).unlink()
    write_metrics(folder, () if last is None else last.history)
    return last, note


def _write(path: Path, checkpoint: Checkpoint) -> None:
    value = {
        "format": _FORMAT,
        "version": _VERSION,
        **{field.name: getattr(checkpoint, field.name) for field in fields(checkpoint)},
        "history": [asdict(epoch) for epoch in checkpoint.history],
    }
    try:
        with atomic_write(path) as file:
            torch.save(value, file)
    except (OSError, RuntimeError) as error:
        # torch's archive writer hides what the file said.
        cause = error if isinstance(error, OSError) else error.__context__
        if not isinstance(cause, OSError):
            raise
        raise WorkFailed(
            f"cannot write {path}: {cause.strerror}; the checkpoint before it is as it was"
        ) from error
