"""AutoAugment and RandAugment: each image of a batch draws its own operations.

Images of a batch that drew the same operation are processed together. (kornia's AutoAugment draws
one sub-policy per batch, from the global generator.)
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import ClassVar, NamedTuple, final

import torch
from torch import Generator, Tensor

from mnas_search.training.augment import image_operations as ops

Operation = Callable[[Tensor, Tensor], Tensor]
_MAX_LEVEL = 10


class _Strength(NamedTuple):
    """An operation's argument: centre + swing or centre - swing with equal probability."""

    centre: float = 0.0
    swing: float = 0.0


class _Step(NamedTuple):
    operation: Operation
    probability: float
    strength: _Strength


def _step(operation: Operation, probability: float, level: int = 0) -> _Step:
    """Return a step of a policy, its level read as in the paper's table 6.

    As in the authors' code, a higher level of `posterize` and `solarize` changes less, and colour,
    contrast and sharpness go from 0.1 to 1.9 instead of up or down at random.
    """
    share = level / _MAX_LEVEL
    strengths: dict[Operation, _Strength] = {
        ops.shear_x: _Strength(swing=0.3 * share),
        ops.rotate: _Strength(swing=30 * share),
        ops.posterize: _Strength(centre=4 + int(4 * share)),
        ops.solarize: _Strength(centre=int(256 * share)),
        ops.color: _Strength(centre=0.1 + 1.8 * share),
        ops.contrast: _Strength(centre=0.1 + 1.8 * share),
        ops.sharpness: _Strength(centre=0.1 + 1.8 * share),
    }
    return _Step(operation, probability, strengths.get(operation, _Strength()))


# Cubuk et al. 2019 (arXiv 1805.09501), table 9: the policy found on ImageNet.
IMAGENET_POLICY: tuple[tuple[_Step, _Step], ...] = (
    (_step(ops.posterize, 0.4, 8), _step(ops.rotate, 0.6, 9)),
    (_step(ops.solarize, 0.6, 5), _step(ops.auto_contrast, 0.6)),
    (_step(ops.equalize, 0.8), _step(ops.equalize, 0.6)),
    (_step(ops.posterize, 0.6, 7), _step(ops.posterize, 0.6, 6)),
    (_step(ops.equalize, 0.4), _step(ops.solarize, 0.2, 4)),
    (_step(ops.equalize, 0.4), _step(ops.rotate, 0.8, 8)),
    (_step(ops.solarize, 0.6, 3), _step(ops.equalize, 0.6)),
    (_step(ops.posterize, 0.8, 5), _step(ops.equalize, 1.0)),
    (_step(ops.rotate, 0.2, 3), _step(ops.solarize, 0.6, 8)),
    (_step(ops.equalize, 0.6), _step(ops.posterize, 0.4, 6)),
    (_step(ops.rotate, 0.8, 8), _step(ops.color, 0.4, 0)),
    (_step(ops.rotate, 0.4, 9), _step(ops.equalize, 0.6)),
    (_step(ops.equalize, 0.0), _step(ops.equalize, 0.8)),
    (_step(ops.invert, 0.6), _step(ops.equalize, 1.0)),
    (_step(ops.color, 0.6, 4), _step(ops.contrast, 1.0, 8)),
    (_step(ops.rotate, 0.8, 8), _step(ops.color, 1.0, 2)),
    (_step(ops.color, 0.8, 8), _step(ops.solarize, 0.8, 7)),
    (_step(ops.sharpness, 0.4, 7), _step(ops.invert, 0.6)),
    (_step(ops.shear_x, 0.6, 5), _step(ops.equalize, 1.0)),
    (_step(ops.color, 0.4, 0), _step(ops.equalize, 0.6)),
    (_step(ops.equalize, 0.4), _step(ops.solarize, 0.2, 4)),
    (_step(ops.solarize, 0.6, 5), _step(ops.auto_contrast, 0.6)),
    (_step(ops.invert, 0.6), _step(ops.equalize, 1.0)),
    (_step(ops.color, 0.6, 4), _step(ops.contrast, 1.0, 8)),
    (_step(ops.equalize, 0.8), _step(ops.equalize, 0.6)),
)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class AutoAugment:
    """The policy of `IMAGENET_POLICY`: each image draws one of 25 sub-policies, whose two steps
    are applied with their probabilities (Cubuk et al. 2019, arXiv 1805.09501)."""

    mirrors: ClassVar[bool] = False

    def __call__(self, images: Tensor, generator: Generator, /) -> Tensor:
        """Augment images [N, 3, H, W]."""
        count, device = len(images), generator.device
        drawn = torch.randint(len(IMAGENET_POLICY), (count,), generator=generator, device=device)
        chances = torch.rand(2, count, generator=generator, device=device).cpu()
        signs = _signs((2, count), generator)
        policy = _imagenet_table()[drawn.cpu()]  # [N, 2, 4]
        for place in range(2):
            operation, probability, centre, swing = policy[:, place].unbind(1)
            done = chances[place] < probability
            images = _apply(
                images,
                torch.where(done, operation, -1).long(),
                centre + signs[place] * swing,
            )
        return images


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class RandAugment:
    """Applies operations to each image, drawn uniformly and of one strength (Cubuk et al. 2020,
    arXiv 1909.13719); one of the 14 operations is the identity.

    Attributes:
        operations: number of operations per image.
        magnitude: fraction of the largest strength, in [0, 1], in both directions where there are
            two: shears of 0.3, translations of 0.45 of a side, 30 degrees, 0.9 of colour,
            contrast, brightness and sharpness, 4 of 8 bits, solarising from 0 on.
    """

    mirrors: ClassVar[bool] = False
    operations: int = 2
    magnitude: float = 0.3

    def __call__(self, images: Tensor, generator: Generator, /) -> Tensor:
        """Augment images [N, 3, H, W]."""
        shape, device = (self.operations, len(images)), generator.device
        table = _rand_augment_table(self.magnitude)
        drawn = torch.randint(len(table), shape, generator=generator, device=device).cpu()
        signs = _signs(shape, generator)
        for place in range(self.operations):
            operation, centre, swing = table[drawn[place]].unbind(1)
            images = _apply(images, operation.long(), centre + signs[place] * swing)
        return images


_OPERATIONS: tuple[Operation, ...] = (
    ops.shear_x,
    ops.shear_y,
    ops.translate_x,
    ops.translate_y,
    ops.rotate,
    ops.auto_contrast,
    ops.equalize,
    ops.invert,
    ops.posterize,
    ops.solarize,
    ops.color,
    ops.contrast,
    ops.brightness,
    ops.sharpness,
)


@functools.cache
def _imagenet_table() -> Tensor:
    """Return the policy as [25, 2, 4]: index of the operation, probability, centre and swing."""
    return torch.tensor(
        [
            [[_OPERATIONS.index(s.operation), s.probability, *s.strength] for s in pair]
            for pair in IMAGENET_POLICY
        ]
    )


@functools.cache
def _rand_augment_table(magnitude: float) -> Tensor:
    """Return all operations as [14, 3]: index (-1: identity), centre and swing."""
    enhanced = _Strength(centre=1, swing=0.9 * magnitude)
    strengths: dict[Operation, _Strength] = {
        ops.shear_x: _Strength(swing=0.3 * magnitude),
        ops.shear_y: _Strength(swing=0.3 * magnitude),
        ops.translate_x: _Strength(swing=0.45 * magnitude),
        ops.translate_y: _Strength(swing=0.45 * magnitude),
        ops.rotate: _Strength(swing=30 * magnitude),
        ops.auto_contrast: _Strength(),
        ops.equalize: _Strength(),
        ops.posterize: _Strength(centre=8 - round(4 * magnitude)),
        ops.solarize: _Strength(centre=256 * (1 - magnitude)),
        ops.color: enhanced,
        ops.contrast: enhanced,
        ops.brightness: enhanced,
        ops.sharpness: enhanced,
    }
    none = [-1.0, *_Strength()]
    return torch.tensor([none, *([_OPERATIONS.index(o), *s] for o, s in strengths.items())])


def _signs(shape: tuple[int, int], generator: Generator) -> Tensor:
    """Draw 1 or -1, on the CPU."""
    return 1 - 2 * torch.randint(2, shape, generator=generator, device=generator.device).cpu()


def _apply(images: Tensor, operation: Tensor, argument: Tensor) -> Tensor:
    """Apply to each image its operation (-1 for none); both arguments [N] are on the CPU, so that
    no group waits for the device."""
    result = images.clone()
    for number in sorted(set(operation.tolist())):
        if number >= 0:
            rows = (operation == number).nonzero().flatten()
            here = rows.to(images.device)
            result[here] = _OPERATIONS[number](images[here], argument[rows].to(images.device))
    return result
