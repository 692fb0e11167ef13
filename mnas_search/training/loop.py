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

_EVALUATION_BATCH = 512


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
    network: nn.Module,
    data: Images,
    recipe: ProxyRecipe,
    *,
    flips: bool,
    generator: torch.Generator,
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
    steps = recipe.epochs * batches
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimiser, _Triangle(steps=steps, peak=max(1, round(recipe.warmup * steps)))
    )
    network.train()
    for _ in range(recipe.epochs):
        order = torch.randperm(len(data.images), generator=generator).to(device)
        for index in torch.split(order[: batches * batch], batch):
            images = augment(data.images[index], recipe, flips=flips, generator=generator)
            logits = network(images)
            loss = F.cross_entropy(
                logits, data.labels[index], label_smoothing=recipe.label_smoothing
            )
            optimiser.zero_grad(set_to_none=True)
            torch.autograd.backward(loss)
            optimiser.step()
            schedule.step()
    if not torch.isfinite(loss):
        raise FloatingPointError(f"the training loss is {loss.item()}")


def accuracy(network: nn.Module, data: Images) -> float:
    """Share of images classified correctly."""
    network.eval()
    right = 0
    with torch.inference_mode():
        for start in range(0, len(data.labels), _EVALUATION_BATCH):
            part = slice(start, start + _EVALUATION_BATCH)
            right += int((network(data.images[part]).argmax(1) == data.labels[part]).sum())
    return right / len(data.labels)


def augment(
    images: Tensor, recipe: ProxyRecipe, *, flips: bool, generator: torch.Generator
) -> Tensor:
    """The batch, each image shifted by a random offset and, where `flips`, mirrored at random."""
    if recipe.shift:
        images = _shifted(images, recipe.shift, generator)
    if flips:
        mirrored = torch.rand(len(images), generator=generator) < 0.5
        mask = mirrored.to(images.device)[:, None, None, None]
        images = torch.where(mask, images.flip(3), images)
    return images


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
