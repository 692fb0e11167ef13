"""The files of a training under way: two checkpoints, and its metrics.

checkpoint-last.pt   after the last finished epoch
checkpoint-best.pt   after the epoch with the best validation accuracy; the later of equal ones
metrics.jsonl        one line per epoch

A checkpoint replaces the one before atomically and holds the metrics of all epochs up to it, from
which `metrics.jsonl` is rewritten: the two agree whenever the process is killed. The best is
written before the last: a kill between them leaves an epoch that is trained again, to the same
weights. Both load with `weights_only=True`.
"""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

import torch
from torch import Tensor

from mnas_search.common.errors import RunFolderError, WorkFailed, reason_of
from mnas_search.common.files import atomic_write, write_atomically
from mnas_search.networks.weights.reading import BEST, load

LAST = "checkpoint-last.pt"
METRICS = "metrics.jsonl"
_FORMAT, _VERSION = "mnas-search training checkpoint", 1


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Epoch:
    """A line of metrics.jsonl: the epoch's number from 1, its mean training loss, the learning
    rate of its last step, and accuracies on the validation split, fractions (see `Score`)."""

    epoch: int
    loss: float
    learning_rate: float
    top1: float
    top5: float | None
    seconds: float


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint:
    """A training after an epoch: the weights that are evaluated (the network's, or their moving
    average), `loop.Training.state()`, and the epochs so far."""

    weights: dict[str, Tensor]
    training: dict[str, Any]
    history: tuple[Epoch, ...]


def best(history: Sequence[Epoch]) -> Epoch:
    """Return the epoch of the best validation accuracy; the later of equal ones."""
    return max(history, key=lambda epoch: (epoch.top1, epoch.epoch))


def save(folder: Path, checkpoint: Checkpoint) -> None:
    """Write the checkpoint after an epoch, and the metrics up to it; raises `WorkFailed` where it
    cannot be written, and leaves the one before in place."""
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
    """Read a checkpoint; None without a complete one."""
    try:
        value = load(path)
    except Exception:  # a damaged file may raise anything
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


def begun(folder: Path) -> bool:
    """Return whether there are checkpoints, complete or not."""
    return any((folder / name).exists() for name in (LAST, BEST))


def recover(folder: Path) -> tuple[Checkpoint | None, str | None]:
    """Return the last checkpoint, and a note where it had to be replaced by the best one.

    The metrics are rewritten from the checkpoint; None means that the training starts anew.

    Raises:
        RunFolderError: the best checkpoint is damaged, and was not the last one.
    """
    last, note = read(folder / LAST), None
    if last is None and begun(folder):
        what = "is torn" if (folder / LAST).exists() else "is not there"
        last = read(folder / BEST)
        if last is not None:
            note = f"{LAST} {what}: resuming from {BEST}, epoch {last.history[-1].epoch}"
            _write(folder / LAST, last)
        else:
            note = f"{LAST} {what}, and there is no whole {BEST}: the training starts again"
            for name in (LAST, BEST):
                (folder / name).unlink(missing_ok=True)
    elif last is not None and (folder / BEST).exists() and read(folder / BEST) is None:
        epoch = best(last.history).epoch
        if epoch != last.history[-1].epoch:
            raise RunFolderError(
                f"{str(folder / BEST)!r} is damaged, and nothing else holds the weights of epoch "
                f"{epoch}, the best one: without this file the last epoch is taken for the best "
                f"one, and without {LAST} too the training starts again"
            )
        _write(folder / BEST, last)
        note = f"{BEST} is torn: it is written again from {LAST}"
    write_metrics(folder, () if last is None else last.history)
    return last, note


def _write(path: Path, checkpoint: Checkpoint) -> None:
    value = {
        "format": _FORMAT,
        "version": _VERSION,
        "weights": checkpoint.weights,
        "training": checkpoint.training,
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
            f"cannot write {path}: {reason_of(cause)}; the checkpoint before it is as it was"
        ) from error
