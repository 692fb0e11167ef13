"""The training loop: one network, one recipe, images in memory, no Python loop over images."""

import warnings
from collections.abc import Callable
from typing import Any, final

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F
from torch.nn.modules.batchnorm import _BatchNorm

from mnas_search.data import Split
from mnas_search.data.preprocessing import Normalisation
from mnas_search.training.augment import mixup
from mnas_search.training.ema import make_ema
from mnas_search.training.recipe import Recipe
from mnas_search.training.schedules import Length
from mnas_search.training.worker_context import SINGLE_PROCESS, WorkerContext

_EVALUATION_BATCH = 512
_RESIZE_BATCH = 1024  # as floats, images are four times as large


def normalisation(split: Split) -> Normalisation:
    """Compute the normalisation of a split; the deviation is at least 0.001."""
    count = split.images.size // 3
    histograms = [np.bincount(split.images[..., c].ravel(), minlength=256) for c in range(3)]
    levels = np.arange(256) / 255
    means = [float(h @ levels / count) for h in histograms]
    squares = [float(h @ levels**2 / count) for h in histograms]
    stds = [max(s - m * m, 1e-6) ** 0.5 for m, s in zip(means, squares, strict=True)]
    return Normalisation(mean=(means[0], means[1], means[2]), std=(stds[0], stds[1], stds[2]))


@final
class Images:
    """A split on a device, at one resolution.

    On a CPU, images that have this resolution are not copied: all workers of a machine read them
    from Ray's object store.

    Attributes:
        pixels: uint8 [N, 3, R, R], channels last.
        labels: int64 [N].
        flips: whether mirroring an image keeps its class.
    """

    def __init__(
        self,
        split: Split,
        *,
        resolution: int,
        normalisation: Normalisation,
        flips: bool,
        device: str = "cpu",
    ) -> None:
        images = _tensor(resize(split, resolution).images)
        self.pixels = images.to(device).permute(0, 3, 1, 2)
        self.labels = _tensor(split.labels).to(device)
        self.flips = flips
        mean = torch.tensor(normalisation.mean, device=device)[:, None, None]
        self._scale = 1 / torch.tensor(normalisation.std, device=device)[:, None, None]
        self._shift = -mean * self._scale

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, index: Tensor | slice) -> Tensor:
        """Return images float [B, 3, R, R] in [0, 1]."""
        return self.pixels[index].float() / 255

    def normalise(self, images: Tensor) -> Tensor:
        """Normalise images [B, 3, R, R] in [0, 1] for the network."""
        return torch.addcmul(self._shift, images, self._scale)


def resize(split: Split, side: int) -> Split:
    """Resize images to `side` pixels, antialiased; returns the split itself if they have it."""
    if split.images.shape[1:3] == (side, side):
        return split
    parts = []
    for start in range(0, len(split.images), _RESIZE_BATCH):
        part = _tensor(split.images[start : start + _RESIZE_BATCH]).permute(0, 3, 1, 2)
        new = F.interpolate(part.float(), size=(side, side), mode="bilinear", antialias=True)
        parts.append(new.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy())
    return Split(images=np.ascontiguousarray(np.concatenate(parts)), labels=split.labels)


def _tensor(array: NDArray[Any]) -> Tensor:
    with warnings.catch_warnings():
        # torch warns of read-only arrays, as in Ray's object store; nothing here writes to them.
        warnings.simplefilter("ignore", UserWarning)
        return torch.from_numpy(np.ascontiguousarray(array))


@final
class Training:
    """Trains a network in place, epoch by epoch.

        training = Training(build(architecture), images, recipe, seed=0)
        while not training.finished:
            loss = training.train_epoch()

    Every epoch draws from generators seeded with (seed, epoch), so that a training restored from a
    `state` ends with the same weights. With several processes (`share`) each computes its part of
    every batch, and all of them call `train_epoch`.

    Attributes:
        epoch: number of finished ones.
        length: the recipe's epochs; it may be replaced by a shortened one.
        learning_rate: of the last step.
    """

    def __init__(
        self,
        network: nn.Module,
        data: Images,
        recipe: Recipe,
        *,
        seed: int,
        share: WorkerContext = SINGLE_PROCESS,
    ) -> None:
        self.network, self._data, self._recipe, self._seed = network, data, recipe, seed
        self._share, self._shared = share, share.wrap(network)
        self.epoch = 0
        self._batch = min(recipe.batch_size, len(data))
        self.length = Length(planned=recipe.epochs, per_epoch=len(data) // self._batch)
        self._peak = recipe.peak(self._batch)
        self.learning_rate = self._peak
        if recipe.bn_momentum is not None:
            for module in network.modules():
                if isinstance(module, _BatchNorm):
                    module.momentum = recipe.bn_momentum
        self._optimiser = recipe.optimiser.make(
            network, learning_rate=self._peak, weight_decay=recipe.weight_decay
        )
        self._average = None if recipe.ema_decay is None else make_ema(network, recipe.ema_decay)
        self._augmentations = [a for a in recipe.augmentations if data.flips or not a.mirrors]

    @property
    def evaluated(self) -> nn.Module:
        """The network to evaluate and keep: the moving average if the recipe has one, else the
        trained network; the same object during the whole training."""
        return self.network if self._average is None else self._average.module

    @property
    def finished(self) -> bool:
        """Whether all epochs are done."""
        return self.epoch >= self.length.epochs

    def train_epoch(self, after_step: Callable[[int], None] = lambda steps: None) -> float:
        """Train one epoch; returns its mean loss.

        Args:
            after_step: called after each step with the number of steps so far; it may replace the
                training's `length`.

        Raises:
            FloatingPointError: the loss is not finite.
        """
        device = self._data.labels.device
        generator = torch.Generator(device).manual_seed(_mix_seed(self._seed, self.epoch))
        total = torch.zeros((), device=device)
        self.network.train()
        with torch.random.fork_rng():
            # Dropout and stochastic depth, different in each process.
            torch.manual_seed(_mix_seed(self._seed, self.epoch, self._share.rank))
            order = torch.randperm(len(self._data), generator=generator, device=device)
            first = self.epoch * self.length.per_epoch
            for number in range(self.length.per_epoch):
                if first + number == self.length.steps:
                    break
                index = order[number * self._batch : (number + 1) * self._batch]
                self._set_learning_rate(first + number)
                with mixed_precision(device):
                    loss = self._loss(index, generator)
                self._optimiser.zero_grad(set_to_none=True)
                torch.autograd.backward(loss)
                self._optimiser.step()
                if self._average is not None:
                    self._average.update_parameters(self.network)
                total += loss.detach()
                after_step(first + number + 1)
        steps = min(self.length.per_epoch, self.length.steps - first)
        self.epoch += 1
        for module in {self.network, self.evaluated}:
            self._share.broadcast(module)
        mean = float(self._share.sum(total)) / self._share.world_size / steps
        if not np.isfinite(mean):
            raise FloatingPointError(f"the training loss is {mean}")
        return mean

    def state(self) -> dict[str, Any]:
        """Return the state for `restore`; tensors are shared, not copied."""
        average = {} if self._average is None else {"average": self._average.state_dict()}
        return {
            "epoch": self.epoch,
            "network": self.network.state_dict(),
            "optimiser": self._optimiser.state_dict(),
            **average,
        }

    def restore(self, state: dict[str, Any]) -> None:
        """Continue from the `state` of a training with the same arguments and the same `length`
        up to there."""
        self.epoch = state["epoch"]
        self.network.load_state_dict(state["network"])
        self._optimiser.load_state_dict(state["optimiser"])
        if self._average is not None:
            self._average.load_state_dict(state["average"])

    def _loss(self, index: Tensor, generator: torch.Generator) -> Tensor:
        images, labels = self._data.batch(index), self._data.labels[index]
        for augmentation in self._augmentations:
            images = augmentation(images, generator)
        # All processes augment the whole batch alike; each continues with its part.
        part, smoothing = self._share.part, self._recipe.label_smoothing
        if not self._recipe.mixup:
            logits = self._shared(self._data.normalise(images[part]))
            return F.cross_entropy(logits, labels[part], label_smoothing=smoothing)
        weights = mixup.weights(self._recipe.mixup, len(images), generator).to(images.device)
        images = mixup.mix(images, weights)
        logits = self._shared(self._data.normalise(images[part]))
        targets = mixup.mix(F.one_hot(labels, logits.shape[1]).to(logits.dtype), weights)
        return F.cross_entropy(logits, targets[part], label_smoothing=smoothing)

    def _set_learning_rate(self, step: int) -> None:
        recipe = self._recipe
        passed, steps = self.length.position(step)
        factor = recipe.schedule(passed, steps=steps, epochs=recipe.epochs)
        self.learning_rate = self._peak * factor
        for group in self._optimiser.param_groups:
            group["lr"] = self.learning_rate


def _mix_seed(seed: int, epoch: int, rank: int = 0) -> int:
    # Rank 0 has the seed of a single process: missing words of a seed are zeros.
    return int(np.random.SeedSequence((seed, epoch, rank)).generate_state(1)[0])


def accuracy(network: nn.Module, data: Images) -> float:
    """Compute the share of images classified correctly."""
    return int(correct(network, data).sum()) / len(data)


def correct(network: nn.Module, data: Images) -> torch.Tensor:
    """Compute which images are classified correctly [N], on the images' device."""
    network.eval()
    found = []
    with torch.inference_mode(), mixed_precision(data.labels.device):
        for start in range(0, len(data), _EVALUATION_BATCH):
            part = slice(start, start + _EVALUATION_BATCH)
            logits = network(data.normalise(data.batch(part)))
            found.append(logits.argmax(1) == data.labels[part])
    return torch.cat(found)


def mixed_precision(device: torch.device) -> torch.autocast:
    """Return bfloat16 autocast for GPUs; on CPUs it takes two to three times as long."""
    return torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda")
