"""Augmentation of whole batches on the device, without a Python loop over images.

An augmentation is a frozen value, called with images float [N, 3, H, W] in [0, 1] and a generator;
it returns images of the same shape.
"""

import math
from dataclasses import dataclass
from typing import ClassVar, Protocol, final

import torch
from torch import Generator, Tensor
from torch.nn import functional as F

from mnas_search.training.augment.image_operations import sample_affine

_ATTEMPTS = 10


class Augmentation(Protocol):
    """Changes a batch at random.

    Attributes:
        mirrors: whether it swaps left and right, which changes the class in some data sets.
    """

    mirrors: ClassVar[bool]

    def __call__(self, images: Tensor, generator: Generator, /) -> Tensor:
        """Return the augmented batch; the argument stays unchanged."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """Moves each image by up to `most` pixels in both directions; edges are repeated."""

    mirrors: ClassVar[bool] = False
    most: int = 1

    def __call__(self, images: Tensor, generator: Generator, /) -> Tensor:
        """Augment images [N, 3, H, W]."""
        count, _, height, width = images.shape
        padded = F.pad(images, (self.most,) * 4, mode="replicate")
        offsets = torch.randint(
            0, 2 * self.most + 1, (2, count, 1), generator=generator, device=generator.device
        )
        rows, columns = offsets.to(images.device)
        row = (rows + torch.arange(height, device=images.device))[:, :, None]
        column = (columns + torch.arange(width, device=images.device))[:, None, :]
        sample = torch.arange(count, device=images.device)[:, None, None]
        # Channels last in memory: an index over samples, rows and columns moves whole pixels.
        return padded.permute(0, 2, 3, 1)[sample, row, column].permute(0, 3, 1, 2)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Flip:
    """Mirrors each image left to right with probability 1/2."""

    mirrors: ClassVar[bool] = True

    def __call__(self, images: Tensor, generator: Generator, /) -> Tensor:
        """Augment images [N, 3, H, W]."""
        drawn = torch.rand(len(images), generator=generator, device=generator.device)
        mask = (drawn < 0.5).to(images.device)[:, None, None, None]
        return torch.where(mask, images.flip(3), images)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class RandomResizedCrop:
    """Crops each image to a random area and aspect ratio, and enlarges it bilinearly.

    Up to ten crops are drawn per image until one fits; otherwise the image stays whole, as in
    Inception's preprocessing (Szegedy et al. 2015, section 6).

    Attributes:
        area: smallest and largest share of the image's area.
        ratio: smallest and largest width over height, in pixels; the logarithm is uniform.
    """

    mirrors: ClassVar[bool] = False
    area: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)

    def __call__(self, images: Tensor, generator: Generator, /) -> Tensor:
        """Augment images [N, 3, H, W]."""
        count, _, height, width = images.shape
        drawn = torch.rand(
            2, _ATTEMPTS, count, generator=generator, device=generator.device
        ).double()
        areas = self.area[0] + drawn[0] * (self.area[1] - self.area[0])
        low, high = (math.log(r) for r in self.ratio)
        ratios = torch.exp(low + drawn[1] * (high - low)) * height / width
        sides = torch.stack([(areas * ratios).sqrt(), (areas / ratios).sqrt()])  # shares
        fits = (sides <= 1).all(0)
        first = fits.int().argmax(0)
        image = torch.arange(count, device=generator.device)
        shares = torch.where(fits.any(0), sides[:, first, image], 1.0)  # [2, N]
        places = torch.rand(2, count, generator=generator, device=generator.device)
        theta = torch.zeros(count, 2, 3, device=generator.device)
        theta[:, 0, 0], theta[:, 1, 1] = shares
        theta[:, :, 2] = ((1 - shares) * (2 * places - 1)).T
        return sample_affine(images, theta.to(images.device), padding="border")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Cutout:
    """Covers a random square of each image in grey (DeVries & Taylor 2017, arXiv 1708.04552).

    Attributes:
        share: the square's side over the image's shorter one.
    """

    mirrors: ClassVar[bool] = False
    share: float = 0.25

    def __call__(self, images: Tensor, generator: Generator, /) -> Tensor:
        """Augment images [N, 3, H, W]."""
        count, _, height, width = images.shape
        side = round(self.share * min(height, width))
        drawn = torch.rand(2, count, 1, generator=generator, device=generator.device)
        top, left = (
            (place * length).floor().to(images.device) - side // 2
            for place, length in zip(drawn, (height, width), strict=True)
        )
        rows = torch.arange(height, device=images.device)
        columns = torch.arange(width, device=images.device)
        down = (rows >= top) & (rows < top + side)  # [N, H]
        across = (columns >= left) & (columns < left + side)
        square = down[:, None, :, None] & across[:, None, None, :]
        return images.masked_fill(square, 0.5)
