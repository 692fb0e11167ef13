"""Augmentation of whole batches on the device, without work per image in Python.

An augmentation is a frozen value that is called with images float [N, 3, H, W] in [0, 1] and a
generator, which it consumes, and gives images of the same shape.
"""

from dataclasses import dataclass
from typing import ClassVar, Protocol, final

import torch
from torch import Generator, Tensor
from torch.nn import functional as F


class Augmentation(Protocol):
    """Changes a batch at random.

    Attributes:
        mirrors: whether it swaps left and right, which not all data bear.
    """

    mirrors: ClassVar[bool]

    def __call__(self, images: Tensor, generator: Generator, /) -> Tensor:
        """The batch, changed; the argument is left as it is."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Shift:
    """Each image moved by up to `most` pixels in both directions; edges are repeated."""

    mirrors: ClassVar[bool] = False
    most: int = 1

    def __call__(self, images: Tensor, generator: Generator, /) -> Tensor:
        """Images [N, 3, H, W]."""
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
    """Every other image mirrored, left to right, at random."""

    mirrors: ClassVar[bool] = True

    def __call__(self, images: Tensor, generator: Generator, /) -> Tensor:
        """Images [N, 3, H, W]."""
        drawn = torch.rand(len(images), generator=generator, device=generator.device)
        mask = (drawn < 0.5).to(images.device)[:, None, None, None]
        return torch.where(mask, images.flip(3), images)
