"""The training of a supernet: steps of four networks, with checkpoints."""

import hashlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import UsageError, single_line
from mnas_search.common.files import atomic_write
from mnas_search.common.machine import one_thread
from mnas_search.data import Dataset
from mnas_search.nas.space.alternatives import alternatives
from mnas_search.nas.space.contract import SearchSpace
from mnas_search.networks.supernet import Supernet
from mnas_search.networks.weights.reading import load
from mnas_search.training.augment.pipeline import Augmentation, Flip, Shift
from mnas_search.training.loop import Images, mixed_precision
from mnas_search.training.optimisers import Sgd
from mnas_search.training.supernet.making import make_supernet, trained_images
from mnas_search.training.supernet.paths import Paths
from mnas_search.training.supernet.recipe import SupernetRecipe

_AUGMENTATIONS: tuple[Augmentation, ...] = (Shift(most=2), Flip())
_FORMAT = 1  # of a training; a change of what a seed gives makes checkpoints of older ones useless
_RANDOM = 2  # networks of a step that are drawn
_NETWORKS = 2 + _RANDOM
Progress = Callable[[int, int], None]


@final
class SupernetTraining:
    """Trains a supernet in place, step by step.

    A step runs four networks on one batch: the largest learns the labels, the smallest and two
    random ones learn its predictions (sandwich rule and distillation in place, arXiv 1903.05134).
    Their gradients are averaged. Every step draws from generators seeded with (seed, step), so
    that a training restored from a `state` ends with the same weights.

        training = SupernetTraining(supernet, paths, images, recipe, seed=0)
        while not training.finished:
            loss = training.train_step()
    """

    def __init__(
        self,
        supernet: Supernet,
        paths: Paths,
        data: Images,
        recipe: SupernetRecipe,
        *,
        seed: int,
    ) -> None:
        self.supernet, self._paths, self._data = supernet, paths, data
        self._recipe, self._seed = recipe, seed
        self.step = 0  # finished ones
        self._batch = min(recipe.batch_size, len(data))
        self._parameters = list(supernet.parameters())
        self._optimiser = Sgd().make(
            supernet, learning_rate=recipe.learning_rate, weight_decay=recipe.weight_decay
        )
        for parameter in self._parameters:  # the fused SGD requires momenta of all or of none
            self._optimiser.state[parameter]["momentum_buffer"] = torch.zeros_like(parameter)
        self._augmentations = [a for a in _AUGMENTATIONS if data.flips or not a.mirrors]
        self._order = (-1, torch.empty(0))  # epoch, its permutation of the images

    @property
    def finished(self) -> bool:
        """Whether all steps of the recipe are done."""
        return self.step >= self._recipe.steps

    def train_step(self) -> float:
        """Train one step; returns the loss of the largest network.

        Raises:
            FloatingPointError: the loss is not finite.
        """
        recipe, step = self._recipe, self.step
        images, labels = self._next_batch()
        self._optimiser.zero_grad(set_to_none=True)
        smoothing = recipe.label_smoothing
        loss, logits = self._learn(self._paths.largest(step), images, labels, smoothing)
        soft = logits.softmax(1)
        drawn = (self._paths.random(_RANDOM * step + number) for number in range(_RANDOM))
        for network in (self._paths.smallest, *drawn):
            self._learn(network, images, soft, 0.0)
        nn.utils.clip_grad_norm_(self._parameters, recipe.max_norm)
        for group in self._optimiser.param_groups:
            group["lr"] = recipe.learning_rate * (1 - step / recipe.steps)
        self._optimiser.step()
        self.step += 1
        value = float(loss)  # waits for the device, once a step
        if not np.isfinite(value):
            raise FloatingPointError(f"the training loss of the supernet is {value}")
        return value

    def state(self) -> dict[str, Any]:
        """Return the state for `restore`; tensors are shared, not copied."""
        return {
            "step": self.step,
            "supernet": self.supernet.state_dict(),
            "optimiser": self._optimiser.state_dict(),
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from the `state` of a training with the same arguments."""
        self.step = state["step"]
        self.supernet.load_state_dict(state["supernet"])
        self._optimiser.load_state_dict(state["optimiser"])

    def _learn(
        self, network: Architecture, images: Tensor, targets: Tensor, smoothing: float
    ) -> tuple[Tensor, Tensor]:
        """Add a network's gradients; return its loss and logits."""
        with mixed_precision(images.device):
            logits = self.supernet.logits(network, images)
            loss = F.cross_entropy(logits, targets, label_smoothing=smoothing)
        torch.autograd.backward(loss / _NETWORKS)
        return loss.detach(), logits.detach().float()

    def _next_batch(self) -> tuple[Tensor, Tensor]:
        """Return the step's augmented and normalised images, and their labels."""
        epoch, number = divmod(self.step, len(self._data) // self._batch)
        if self._order[0] != epoch:
            drawn = torch.randperm(
                len(self._data), generator=self._generator(0, epoch), device=self._device
            )
            self._order = epoch, drawn
        index = self._order[1][number * self._batch : (number + 1) * self._batch]
        images, generator = self._data.batch(index), self._generator(1, self.step)
        for augmentation in self._augmentations:
            images = augmentation(images, generator)
        images = self._data.normalise(images).contiguous(memory_format=torch.channels_last)
        return images, self._data.labels[index]

    @property
    def _device(self) -> torch.device:
        return self._data.labels.device

    def _generator(self, stream: int, number: int) -> torch.Generator:
        seed = np.random.SeedSequence((self._seed, stream, number)).generate_state(1)[0]
        return torch.Generator(self._device).manual_seed(int(seed))


def train_supernet(
    space: SearchSpace,
    data: Dataset,
    recipe: SupernetRecipe,
    *,
    seed: int,
    allows: Callable[[Architecture], bool] | None = None,
    checkpoint: Path | None = None,
    every: int = 50,
    progress: Progress | None = None,
) -> Supernet:
    """Train a supernet on a data set, determined by the seed.

        supernet = train_supernet(space, load("photos"), SupernetRecipe(steps=400), seed=0)

    Args:
        allows: whether a network may be drawn at random, such as by its multiply-adds.
        checkpoint: a file that the training is written to, and continued from where it has one of
            the same training; a finished training is read from it.
        every: steps between checkpoints.
        progress: called with the finished steps and all of them, at the start and after each.

    Raises:
        UsageError: see `make_supernet`; or the checkpoint is of another training.
    """
    for training in training_steps(
        *(space, data, recipe),
        seed=seed,
        allows=allows,
        checkpoint=checkpoint,
        every=every,
    ):
        if progress is not None:
            progress(training.step, recipe.steps)
    return training.supernet


def training_steps(
    space: SearchSpace,
    data: Dataset,
    recipe: SupernetRecipe,
    *,
    seed: int,
    allows: Callable[[Architecture], bool] | None = None,
    checkpoint: Path | None = None,
    every: int = 50,
) -> Iterator[SupernetTraining]:
    """Yield the training of a supernet at its start and after each step, once its checkpoint is
    written; see `train_supernet`."""
    with one_thread():
        supernet = make_supernet(space, data, recipe, seed=seed)
        paths = Paths(space, seed=seed, allows=allows)
        training = SupernetTraining(
            supernet, paths, trained_images(data, recipe), recipe, seed=seed
        )
        key = training_key(space, data, recipe, seed=seed) if checkpoint is not None else ""
        if checkpoint is not None and checkpoint.exists():
            training.restore(_read(checkpoint, key))
        yield training
        while not training.finished:
            training.train_step()
            if checkpoint is not None and (training.step % every == 0 or training.finished):
                with atomic_write(checkpoint) as file:
                    torch.save({"key": key, **training.state()}, file)
            yield training


def training_key(space: SearchSpace, data: Dataset, recipe: SupernetRecipe, *, seed: int) -> str:
    """Return what identifies a training: 64 hexadecimal digits."""
    found = hashlib.sha256(repr((_FORMAT, recipe.text, seed)).encode())
    found.update(repr((space.decisions, alternatives(space))).encode())
    found.update(repr((data.num_classes, data.flips, data.train.images.shape)).encode())
    found.update(np.ascontiguousarray(data.train.images).data)
    found.update(np.ascontiguousarray(data.train.labels).data)
    return found.hexdigest()


def _read(checkpoint: Path, key: str) -> dict[str, Any]:
    try:
        state = load(checkpoint)
    except Exception as error:  # a damaged file may raise anything
        reason = single_line(str(error))[:100]
        raise UsageError(
            f"checkpoint {str(checkpoint)!r} is damaged ({reason}); without it the training starts"
            " again"
        ) from None
    if not isinstance(state, dict) or state.pop("key", None) != key:
        raise UsageError(f"checkpoint must be of the same training, got {str(checkpoint)!r}")
    return state
