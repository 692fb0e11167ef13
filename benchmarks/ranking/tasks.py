"""Procedural images: what there is to learn where no photographs are.

Everything is drawn from a seed and made in memory; images are float [N, 3, R, R], about zero mean
and unit variance, channels last.
"""

import functools
import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

SHAPES = 8
TEXTURES = 8
_LEAVES = 24
_TEACHER_LAYERS = 4
_TEACHER_WIDTH = 64
_TEACHER_OUTPUTS = 64


@dataclass(frozen=True, slots=True, kw_only=True)
class Task:
    """Images with something to predict."""

    images: Tensor  # [N, 3, R, R]
    labels: Tensor  # classes [N] of int64, or values [N, K] of float32, each of unit variance

    @property
    def outputs(self) -> int:
        """Width of a network's last layer."""
        if self.labels.ndim == 2:
            return self.labels.shape[1]
        return int(self.labels.max()) + 1


@functools.lru_cache(maxsize=4)
def task(name: str, count: int, resolution: int) -> Task:
    """Make a task by name, once in a process and the same everywhere."""
    generator = torch.Generator().manual_seed(20_21)
    return TASKS[name](count, resolution, generator)


def compositions(count: int, resolution: int, generator: torch.Generator) -> Task:
    """Make 64 classes: a shape (8) filled with a texture (8) before another texture. Neither the
    textures that occur nor the outline alone tells the class."""
    labels = torch.randint(0, SHAPES * TEXTURES, (count,), generator=generator)
    shape, texture = labels // TEXTURES, labels % TEXTURES
    behind = torch.randint(0, TEXTURES, (count,), generator=generator)
    u, v = _coordinates(count, resolution, generator, least=0.55, most=0.9, shift=0.25)
    inside = _outline(u, v, shape)
    a, b = _coordinates(count, resolution, generator, least=0.7, most=1.0, shift=1.0)
    front = _painted(_texture(u + 3, v + 5, texture), generator)
    back = _painted(_texture(a, b, behind), generator)
    images = torch.where(inside[:, None], front, back)
    noise = torch.randn(images.shape, generator=generator)
    return Task(images=_finish(images + 0.25 * noise), labels=labels)


def figures(count: int, resolution: int, generator: torch.Generator) -> Task:
    """Make 64 easier classes: a shape (8) filled with a texture (8), grey before grey."""
    labels = torch.randint(0, SHAPES * TEXTURES, (count,), generator=generator)
    u, v = _coordinates(count, resolution, generator, least=0.7, most=0.95, shift=0.2)
    inside = _outline(u, v, labels // TEXTURES)
    grey = torch.where(inside, _texture(u + 3, v + 5, labels % TEXTURES), 0.0)
    noise = torch.randn((count, 3, resolution, resolution), generator=generator)
    return Task(images=_finish(grey[:, None] + 0.1 * noise), labels=labels)


def random_labels(count: int, resolution: int, generator: torch.Generator) -> Task:
    """Make coloured noise with random labels (10 classes), which can only be memorised."""
    return Task(
        images=coloured_noise(count, resolution, generator),
        labels=torch.randint(0, 10, (count,), generator=generator),
    )


def coloured_noise(count: int, resolution: int, generator: torch.Generator) -> Tensor:
    """Make Gaussian noise with the 1/f amplitudes of photographs [N, 3, R, R]."""
    rows = torch.fft.fftfreq(resolution)[:, None]
    columns = torch.fft.rfftfreq(resolution)[None]
    frequency = (rows**2 + columns**2).sqrt().clamp_min(1 / resolution)
    white = torch.randn((count, 3, resolution, resolution), generator=generator)
    return _finish(torch.fft.irfft2(torch.fft.rfft2(white) / frequency, s=white.shape[-2:]))


def dead_leaves(count: int, resolution: int, generator: torch.Generator) -> Tensor:
    """Discs of random size and colour that hide each other, a model of photographs (Lee, Mumford
    and Huang 2001), textured by coloured noise [N, 3, R, R]."""
    grid = (torch.arange(resolution) + 0.5) / resolution
    images = torch.zeros((count, 3, resolution, resolution))
    for _ in range(_LEAVES):
        x, y, size = torch.rand((3, count, 1, 1), generator=generator)
        radius = 0.06 / (1 - 0.98 * size).sqrt()  # density ~ r^-3 up to 0.42
        inside = (grid[None, None, :] - x) ** 2 + (grid[None, :, None] - y) ** 2 < radius**2
        colour = torch.randn((count, 3, 1, 1), generator=generator)
        images = torch.where(inside[:, None], colour, images)
    return _finish(images + 0.4 * coloured_noise(count, resolution, generator))


def shallow_teacher(count: int, resolution: int, generator: torch.Generator) -> Task:
    """Make dead leaves, labelled by a fixed random network of 4 convolutions."""
    images = dead_leaves(count, resolution, generator)
    blocks: list[nn.Module] = []
    for index in range(_TEACHER_LAYERS):
        stride = 1 + index % 2
        into = _TEACHER_WIDTH if index else 3
        conv = nn.Conv2d(into, _TEACHER_WIDTH, 3, stride=stride, padding=1, bias=False)
        with torch.no_grad():
            conv.weight.normal_(0, (9 * into) ** -0.5, generator=generator)
        blocks += [conv, nn.BatchNorm2d(_TEACHER_WIDTH), nn.ReLU()]
    last = nn.Conv2d(_TEACHER_WIDTH, _TEACHER_OUTPUTS, 1, bias=False)
    with torch.no_grad():
        last.weight.normal_(generator=generator)
    teacher = nn.Sequential(*blocks, last)
    with torch.no_grad():
        answers = torch.cat([teacher(part).mean((2, 3)) for part in torch.split(images, 1024)])
    return Task(images=images, labels=(answers - answers.mean(0)) / answers.std(0))


TASKS = {
    "compositions": compositions,
    "figures": figures,
    "random-labels": random_labels,
    "shallow-teacher": shallow_teacher,
}


def _coordinates(
    count: int,
    resolution: int,
    generator: torch.Generator,
    *,
    least: float,
    most: float,
    shift: float,
) -> tuple[Tensor, Tensor]:
    """Object coordinates of every pixel [N, R, R]: rotated by up to 30 degrees, scaled, moved."""
    grid = (torch.arange(resolution) + 0.5) / resolution * 2 - 1
    draws = torch.rand((4, count, 1, 1), generator=generator)
    angle = (draws[0] - 0.5) * math.pi / 3
    size = least + (most - least) * draws[1]
    x = grid[None, None, :] - shift * (2 * draws[2] - 1)
    y = grid[None, :, None] - shift * (2 * draws[3] - 1)
    u = (x * angle.cos() + y * angle.sin()) / size
    v = (y * angle.cos() - x * angle.sin()) / size
    return u, v


def _outline(u: Tensor, v: Tensor, shape: Tensor) -> Tensor:
    """Return whether a point lies inside the shape [N, R, R]: disc, square, diamond, cross, ring,
    triangle, three petals, five petals."""
    r, phi = (u**2 + v**2).sqrt(), torch.atan2(v, u)
    larger = torch.maximum(u.abs(), v.abs())
    options = torch.stack(
        [
            r < 0.8,
            larger < 0.7,
            u.abs() + v.abs() < 0.95,
            (torch.minimum(u.abs(), v.abs()) < 0.3) & (larger < 0.9),
            (r < 0.9) & (r > 0.45),
            (v < 0.6) & (v > 2 * u.abs() - 0.9),
            r < 0.6 + 0.3 * (3 * phi).cos(),
            r < 0.65 + 0.25 * (5 * phi).cos(),
        ]
    )
    return options[shape, torch.arange(len(u))]


def _texture(u: Tensor, v: Tensor, texture: Tensor) -> Tensor:
    """Values in [-1, 1] [N, R, R]: stripes, fine stripes, upright stripes, checks, fine checks,
    dots, waves, diagonals."""
    a, b = 9 * u, 9 * v
    options = torch.stack(
        [
            b.sin(),
            (2 * b).sin(),
            a.sin(),
            a.sin() * b.sin(),
            (1.8 * a).sin() * (1.8 * b).sin(),
            (1.4 * a).cos() + (1.4 * b).cos() - 1,
            (b + 1.5 * a.sin()).sin(),
            (a + b).sin(),
        ]
    )
    return options[texture, torch.arange(len(u))].clamp(-1, 1)


def _painted(values: Tensor, generator: torch.Generator) -> Tensor:
    """Mix two random colours by values in [-1, 1] [N, 3, R, R]."""
    one, two = torch.randn((2, len(values), 3, 1, 1), generator=generator)
    share = (values[:, None] + 1) / 2
    painted: Tensor = one * share + two * (1 - share)
    return painted


def _finish(images: Tensor) -> Tensor:
    return ((images - images.mean()) / images.std()).contiguous(memory_format=torch.channels_last)


def error(outputs: Tensor, labels: Tensor) -> Tensor:
    """Return the loss: cross-entropy of classes, mean squared error of values."""
    if labels.ndim == 2:
        return F.mse_loss(outputs, labels)
    return F.cross_entropy(outputs, labels)
