"""Train the epochs of a full training, in this process or as one of several, and score splits."""

import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import final

import torch
from torch import Tensor, nn

from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import WorkFailed
from mnas_search.common.machine import one_thread
from mnas_search.common.statistics import wilson
from mnas_search.data import Dataset, Split
from mnas_search.data.preprocessing import Preprocessing
from mnas_search.experiments.training import checkpoints
from mnas_search.experiments.training.checkpoints import Checkpoint, Epoch
from mnas_search.experiments.training.deadline import Deadline, Shortening, read_length
from mnas_search.networks import build
from mnas_search.training import loop
from mnas_search.training.recipe import Recipe
from mnas_search.training.schedules import Length
from mnas_search.training.worker_context import SINGLE_PROCESS, WorkerContext

_MAX_BATCH = 256  # images at a time when a split is scored
_TOP = 5


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Score:
    """The accuracy on a split of `n` images, as fractions, and Wilson's 95 % interval of top-1 for
    a random sample (E. B. Wilson, JASA 22, 1927); top5 is None for five classes or fewer."""

    top1: float
    top5: float | None
    n: int
    interval: tuple[float, float]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class FullTraining:
    """All that a training is a function of; travels to the workers by pickle.

    The architecture has the data's classes and the resolution of the training. What the weights to
    start from lack is freshly initialised.
    """

    architecture: Architecture
    data: Dataset
    recipe: Recipe
    preprocessing: Preprocessing
    seed: int
    start: dict[str, Tensor] | None = None

    @property
    def length(self) -> Length:
        """The recipe's epochs, in steps."""
        images = len(self.data.train.labels)
        per_epoch = images // min(self.recipe.batch_size, images)
        return Length(planned=self.recipe.epochs, per_epoch=per_epoch)

    def images(self, split: Split, device: str) -> loop.Images:
        """Return a split as the network takes it."""
        return loop.Images(
            split,
            resolution=self.preprocessing.size,
            normalisation=self.preprocessing.normalisation,
            flips=self.data.flips,
            device=device,
        )


def train_epochs(
    job: FullTraining,
    folder: Path,
    *,
    device: str,
    share: WorkerContext = SINGLE_PROCESS,
    finished: Callable[[Epoch], None] = lambda epoch: None,
    deadline: Deadline | None = None,
) -> None:
    """Train from the folder's last checkpoint to the recipe's last epoch, or to an earlier one for
    the sake of a deadline.

    Every epoch ends with a checkpoint, written by process 0; `finished` is called after it.

    Raises:
        WorkFailed: the loss is not finite, memory is short, or a checkpoint cannot be written;
            the checkpoints before it are kept.
    """
    with one_thread(), torch.random.fork_rng():
        torch.manual_seed(job.seed)
        checkpoint = checkpoints.read(folder / checkpoints.LAST)
        try:
            network = _network(job.architecture, device)
            if job.start is not None:
                network.load_state_dict(network.state_dict() | job.start)
            train, validation = (
                job.images(split, device) for split in (job.data.train, job.data.validation)
            )
            training = loop.Training(network, train, job.recipe, seed=job.seed, share=share)
            history: tuple[Epoch, ...] = ()
            batch = job.recipe.batch_size // share.world_size
            if checkpoint is not None:
                training.restore(checkpoint.training)
                history = checkpoint.history
            training.length, _ = read_length(folder, training.length)
            share.barrier()  # no process writes before all have read
            train_epoch: Callable[[], float] = training.train_epoch
            if deadline is not None:
                shortening = Shortening(training, deadline, folder=folder, share=share)
                train_epoch = shortening.train_epoch
            while not training.finished:
                history += (_epoch(training, train_epoch, validation, share, batch),)
                if share.rank == 0:
                    weights, state = training.evaluated.state_dict(), training.state()
                    checkpoints.save(
                        folder, Checkpoint(weights=weights, training=state, history=history)
                    )
                    finished(history[-1])
        except FloatingPointError as error:
            kept = f"; epoch {len(history)} is kept in {folder}" if history else ""
            raise WorkFailed(
                f"epoch {training.epoch}: {error}; a new training with a smaller --learning-rate "
                f"may help{kept}"
            ) from error
        except (torch.OutOfMemoryError, RuntimeError) as error:
            if not _is_out_of_memory(error):
                raise
            raise WorkFailed(
                f"out of memory with batches of {job.recipe.batch_size} images at "
                f"{job.architecture.resolution} pixels; a smaller --batch-size needs less"
            ) from error


def _epoch(
    training: loop.Training,
    train_epoch: Callable[[], float],
    validation: loop.Images,
    share: WorkerContext,
    batch: int,
) -> Epoch:
    start = time.perf_counter()
    loss = train_epoch()
    found = score(training.evaluated, validation, batch=batch, share=share)
    return Epoch(
        epoch=training.epoch,
        loss=loss,
        learning_rate=training.learning_rate,
        top1=found.top1,
        top5=found.top5,
        seconds=round(time.perf_counter() - start, 3),
    )


def score(
    network: nn.Module,
    data: loop.Images,
    *,
    batch: int = _MAX_BATCH,
    share: WorkerContext = SINGLE_PROCESS,
) -> Score:
    """Score a split; each process classifies a part of it, at most `batch` images at a time, and
    all get the whole score."""
    network.eval()
    device, n = data.labels.device, len(data)
    indices = torch.arange(n, device=device)[share.part]
    correct = torch.zeros(2, dtype=torch.int64, device=device)
    classes = _TOP
    with torch.inference_mode():
        for index in torch.split(indices, min(batch, _MAX_BATCH)):
            logits = network(data.normalise(data.batch(index)))
            classes = logits.shape[1]
            found = logits.topk(min(_TOP, classes)).indices == data.labels[index, None]
            correct += torch.stack([found[:, 0].sum(), found.sum()])
        top1, top5 = share.sum(correct).tolist()
    return Score(
        top1=top1 / n,
        top5=top5 / n if classes > _TOP else None,
        n=n,
        interval=wilson(top1, n),
    )


def evaluate_on_test(job: FullTraining, weights: dict[str, Tensor], *, device: str) -> Score:
    """Score a network with these weights on the test split."""
    with one_thread(), torch.random.fork_rng():
        network = _network(job.architecture, device)
        network.load_state_dict(weights)
        data = job.images(job.data.test, device)
        return score(network, data, batch=job.recipe.batch_size)


def _network(architecture: Architecture, device: str) -> nn.Module:
    # Channels last is 2 to 4 times as fast on CPUs; weights follow the images.
    network: nn.Module = build(architecture).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
    return network


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
