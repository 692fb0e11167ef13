"""A supernet of a space and the images of its recipe."""

from dataclasses import dataclass
from typing import final

import numpy as np
import torch
from torch import Tensor

from mnas_search.architecture.adaptation import adapt
from mnas_search.architecture.value import Architecture
from mnas_search.data import Dataset, Split
from mnas_search.data.splits import assign_folds
from mnas_search.nas.space.alternatives import alternatives
from mnas_search.nas.space.contract import SearchSpace
from mnas_search.networks.supernet import Supernet
from mnas_search.training import devices
from mnas_search.training.fast.layers import use_fast_layers, use_lean_layers
from mnas_search.training.loop import Images, normalisation
from mnas_search.training.proxy import SMALLEST_ADAPTED, check_distinct, proxy_architecture
from mnas_search.training.supernet.recipe import SupernetRecipe

_STATISTICS_IMAGES = 2_000


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Narrowing:
    """Gives the network that a supernet trains for a candidate; see `proxy_architecture`."""

    width: float
    divisor: int
    resolution: int
    num_classes: int

    def __call__(self, architecture: Architecture) -> Architecture:
        """Return the narrow network."""
        keeps_strides = self.resolution >= SMALLEST_ADAPTED
        if keeps_strides:
            architecture = adapt(architecture, self.resolution)
        return proxy_architecture(
            architecture,
            width=self.width,
            resolution=self.resolution,
            num_classes=self.num_classes,
            divisor=self.divisor,
            keeps_strides=keeps_strides,
        )


def make_supernet(
    space: SearchSpace, data: Dataset, recipe: SupernetRecipe, *, seed: int
) -> Supernet:
    """Make a supernet of the networks of a space for a data set, with initial weights of a seed.

    Raises:
        UsageError: the networks have different numbers of stages or are traced, or two options
            become one network at this width.
    """
    check_distinct(space, width=recipe.width, divisor=recipe.divisor)
    narrowing = Narrowing(
        width=recipe.width,
        divisor=recipe.divisor,
        resolution=resolution_of(data, recipe),
        num_classes=data.num_classes,
    )
    found, device = alternatives(space, narrowing), devices.device()
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        supernet = Supernet(
            found.templates,
            found.stages,
            network_of=narrowing,
            prepare=use_fast_layers if device == "cpu" else use_lean_layers,
        )
    return supernet.to(device)


def resolution_of(data: Dataset, recipe: SupernetRecipe) -> int:
    """Return the side of the images that a supernet is trained on, in pixels."""
    return recipe.resolution or data.train.images.shape[1]


def trained_images(data: Dataset, recipe: SupernetRecipe) -> Images:
    """Return the training images without the part that networks are read on."""
    fold = assign_folds(data.train.labels, recipe.folds)
    return _images(data, _part(data.train, np.flatnonzero(fold != recipe.fold)), recipe)


def reading_images(data: Dataset, recipe: SupernetRecipe) -> tuple[Tensor, Tensor]:
    """Return the normalised images [N, 3, R, R] and labels [N] that networks are read on: of the
    training split, since the validation split is there to measure candidates with. They are in
    random order: data are often sorted by class, and batches of few classes have other statistics.
    """
    fold = assign_folds(data.train.labels, recipe.folds)
    mine = np.flatnonzero(fold == recipe.fold)
    order = np.random.default_rng(0).permutation(len(mine))[: recipe.reading_images]
    return _normalised(data, _part(data.train, mine[order]), recipe)


def statistics_images(data: Dataset, recipe: SupernetRecipe) -> Tensor:
    """Return the normalised images [N, 3, R, R] of the training split, at most 2,000, that the
    statistics of batch norms are estimated on, in random order."""
    order = np.random.default_rng(0).permutation(len(data.train.labels))[:_STATISTICS_IMAGES]
    return _normalised(data, _part(data.train, order), recipe)[0]


def _normalised(data: Dataset, split: Split, recipe: SupernetRecipe) -> tuple[Tensor, Tensor]:
    images = _images(data, split, recipe)
    return images.normalise(images.batch(slice(None))), images.labels


def _images(data: Dataset, split: Split, recipe: SupernetRecipe) -> Images:
    return Images(
        split,
        resolution=resolution_of(data, recipe),
        normalisation=normalisation(data.train),
        flips=data.flips,
        device=devices.device(),
    )


def _part(split: Split, index: np.ndarray) -> Split:
    return Split(images=split.images[index], labels=split.labels[index])
