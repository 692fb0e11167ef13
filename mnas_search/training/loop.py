"""The training loop: one network, one recipe, images in memory, no work per image in Python."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mnas_search.training.data import Split
from mnas_search.training.recipe import ProxyRecipe


@dataclass(frozen=True, slots=True, kw_only=True)
class Images:
    """A split on a device: images float [N, 3, R, R], normalised, channels last; labels [N]."""

    images: Tensor
    labels: Tensor


def prepare(split: Split, *, resolution: int, mean: float, std: float, device: str) -> Images:
    """Resize (bilinear, antialiased) and normalise a split, once."""
    images = torch.from_numpy(np.ascontiguousarray(split.images)).permute(0, 3, 1, 2)
    floats = images.to(device=device, dtype=torch.float32) / 255
    if floats.shape[-2:] != (resolution, resolution):
        side = (resolution, resolution)
        floats = F.interpolate(floats, size=side, mode="bilinear", antialias=True)
    return Images(
        images=((floats - mean) / std).contiguous(memory_format=torch.channels_last),
        labels=torch.from_numpy(split.labels).to(device),
    )


def train(
    network: nn.Module, data: Images, recipe: ProxyRecipe, *, flips: bool, generator: torch.Generator
) -> None:
    """Train in place. Raises `FloatingPointError` when the loss is no number any more."""
    device = data.images.device
    optimiser = torch.optim.SGD(
        _parameter_groups(network, recipe.weight_decay),
        lr=recipe.learning_rate,
        momentum=recipe.momentum,
        nesterov=True,
        fused=True,
    )
    batch = min(recipe.batch_size, len(data.images))
    batches = len(data.images) // batch
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, _triangle(recipe.epochs * batches, recipe.warmup)
    )
    network.train()
    for _ in range(recipe.epochs):
        order = torch.randperm(len(data.images), generator=generator).to(device)
        for index in order[: batches * batch].split(batch):
            images = augment(data.images[index], recipe, flips=flips, generator=generator)
            logits = network(images)
            loss = F.cross_entropy(
                logits, data.labels[index], label_smoothing=recipe.label_smoothing
            )
            optimiser.zero_grad(set_to_none=True)
            loss.backward()
            optimiser.step()
            schedule.step()
    if not torch.isfinite(loss):
        raise FloatingPointError(f"the training loss is {loss.item()}")


def accuracy(
    network: nn.Module, data: Images, recipe: ProxyRecipe, *, generator: torch.Generator
) -> float:
    """Share of images classified correctly, over `looks` noisy copies where the recipe has noise."""
    looks = recipe.looks if recipe.noise else 1
    right = 0
    network.eval()
    with torch.inference_mode():
        for _ in range(looks):
            for images, labels in zip(data.images.split(512), data.labels.split(512), strict=True):
                seen = _noisy(images, recipe.noise, generator)
                right += int((network(seen).argmax(1) == labels).sum())
    return right / (looks * len(data.labels))


def augment(
    images: Tensor, recipe: ProxyRecipe, *, flips: bool, generator: torch.Generator
) -> Tensor:
    """The batch shifted by one random offset an image, mirrored at random, with noise."""
    if recipe.shift:
        images = _shifted(images, recipe.shift, generator)
    if flips:
        mirrored = torch.rand(len(images), generator=generator) < 0.5
        mask = mirrored.to(images.device)[:, None, None, None]
        images = torch.where(mask, images.flip(3), images)
    return _noisy(images, recipe.noise, generator)


def _shifted(images: Tensor, most: int, generator: torch.Generator) -> Tensor:
    count, _, height, width = images.shape
    padded = F.pad(images, (most,) * 4, mode="replicate")
    rows, columns = torch.randint(0, 2 * most + 1, (2, count, 1), generator=generator).to(
        images.device
    )
    row = (rows + torch.arange(height, device=images.device))[:, :, None]
    column = (columns + torch.arange(width, device=images.device))[:, None, :]
    sample = torch.arange(count, device=images.device)[:, None, None]
    # Channels last in memory: an index over samples, rows and columns moves whole pixels.
    return padded.permute(0, 2, 3, 1)[sample, row, column].permute(0, 3, 1, 2)


def _noisy(images: Tensor, noise: float, generator: torch.Generator) -> Tensor:
    if not noise:
        return images
    # One plane of noise for all channels: embedded grey images stay grey.
    count, _, height, width = images.shape
    plane = torch.randn(count, 1, height, width, generator=generator)
    return images + noise * plane.to(images.device)


def _triangle(steps: int, warmup: float) -> "_Triangle":
    return _Triangle(steps=steps, peak=max(1, round(warmup * steps)))


@dataclass(frozen=True, slots=True, kw_only=True)
class _Triangle:
    """Factor on the learning rate: linear up to 1 at `peak`, then linear down to 0."""

    steps: int
    peak: int

    def __call__(self, step: int) -> float:
        up = (step + 1) / self.peak
        down = (self.steps - step) / max(1, self.steps - self.peak)
        return min(up, down, 1.0)


def _parameter_groups(network: nn.Module, weight_decay: float) -> list[dict[str, object]]:
    decayed = [p for p in network.parameters() if p.ndim > 1]
    rest = [p for p in network.parameters() if p.ndim <= 1]
    return [{"params": decayed, "weight_decay": weight_decay}, {"params": rest, "weight_decay": 0}]


@contextlib.contextmanager
def one_thread() -> Iterator[None]:
    """torch on one thread: two threads in each of two processes collapse under contention, and
    with one the same seed gives the same bits wherever it is run."""
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(threads)
