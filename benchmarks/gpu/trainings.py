"""Whole networks on CIFAR-10: EfficientNet-B0 from random weights, EfficientNet-Lite0 fine-tuned.

A step is timed first, and the recipe gets as many epochs as fit; the test split is read once, at
the end.
"""

import copy
import math
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import final

import numpy as np
import torch
from torch import Tensor, nn

from mnas_search import reference
from mnas_search.architecture.adaptation import adapt
from mnas_search.architecture.value import Architecture
from mnas_search.benchmarks.gpu.work import SIDE, Row, Work, rounded, seconds_of
from mnas_search.common.statistics import wilson
from mnas_search.data import Split
from mnas_search.networks import build
from mnas_search.networks.weights.pretrained import load_pretrained
from mnas_search.training import devices
from mnas_search.training.augment.pipeline import Flip, Shift
from mnas_search.training.fast.layers import use_fast_layers, use_lean_layers
from mnas_search.training.loop import Images, Training, correct, normalisation
from mnas_search.training.recipe import Recipe
from mnas_search.training.recipes import FINETUNE
from mnas_search.training.schedules import Triangular

_MINUTE = 60.0  # of B0's training
_FINETUNING = 120.0  # seconds at most
# Pixels, from 128 of which on networks keep their strides, and peaks of the learning rate: the
# recipe's, which grows with the root of the batch in Adam, and a smaller one.
_TRIES = ((128, 1.4e-3), (128, 5e-4), (224, 1.4e-3), (224, 5e-4))
_TRIED, _PART = 5, 0.3  # epochs of each of them, and their share of the photos
_PROBE = 12  # steps that are timed, after as many
_MANY = 1_000  # epochs
_TEST = 15.0  # seconds that the test split and the rest may take
# Some 15 epochs: momentum with a triangular rate, as proxies have, and the usual shift of 4.
_ONE_MINUTE = Recipe(
    epochs=15,
    batch_size=256,
    learning_rate=0.2,
    schedule=Triangular(),
    weight_decay=5e-4,
    augmentations=(Shift(most=4), Flip()),
)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class _Trained:
    """A network, the photos and a recipe; what is trained again and again."""

    work: Work
    architecture: Architecture
    recipe: Recipe
    start: Mapping[str, Tensor] | None = None

    @property
    def photos(self) -> Split:
        """The training split; a few images of it in a quick run."""
        return _some(self.work.dataset().train, self.work.choose(16, None))

    def images(self, split: Split) -> Images:
        """Return a split as the network takes it."""
        return Images(
            split,
            resolution=self.architecture.resolution,
            normalisation=normalisation(self.work.dataset().train),
            flips=True,
            device=self.work.device,
        )

    def training(self, images: Images, recipe: Recipe, *, captured: bool) -> Training:
        """Return a training from the beginning."""
        torch.manual_seed(0)
        network: nn.Module = build(self.architecture)
        if self.start is not None:
            network.load_state_dict(network.state_dict() | dict(self.start))
        network = network.to(self.work.device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        training = Training(network, images, recipe, seed=0)
        if captured:  # as the product does where there are steps enough
            devices.optimize_for_device(network, images, replace(recipe, epochs=_MANY))
        else:
            (use_fast_layers if self.work.device == "cpu" else use_lean_layers)(network)
        return training

    def seconds_of_step(self, images: Images, recipe: Recipe, *, captured: bool) -> float:
        """Return what a step takes, with augmentation and optimiser."""
        part = _first(images, recipe.batch_size * self.work.choose(2, _PROBE))
        training = self.training(part, replace(recipe, epochs=2), captured=captured)
        training.train_epoch()
        seconds = seconds_of(training.train_epoch) / max(1, len(part) // recipe.batch_size)
        del training
        devices.empty_cache()
        return seconds

    def validated(self) -> Row:
        """Train by the recipe on a part of the photos, since resizing them takes time too; return
        what it reaches on the validation split."""
        images = self.images(self.photos.part(_PART))
        training = self.training(images, self.recipe, captured=True)
        start = time.monotonic()
        while not training.finished:
            training.train_epoch()
        taken = time.monotonic() - start
        right = correct(training.evaluated, self.images(self.work.dataset().validation))
        del training
        devices.empty_cache()
        return {
            "pixels": self.architecture.resolution,
            "learning rate": self.recipe.learning_rate,
            "epochs": self.recipe.epochs,
            "seconds": rounded(taken),
            "validation accuracy": rounded(float(right.float().mean())),
        }

    def run(self, train: Split, most: float) -> Row:
        """Train for at most `most` seconds, or for those that are left; then test."""
        begun = time.monotonic()
        images = self.images(train)
        prepared = time.monotonic() - begun
        step = self.seconds_of_step(images, self.recipe, captured=True)
        epoch = step * (len(images) // self.recipe.batch_size)
        seconds = min(most, self.work.left - _TEST)
        epochs = 1 if self.work.quick else max(1, math.floor(seconds / epoch))
        recipe = self.recipe.override(epochs=epochs)
        training = self.training(images, recipe, captured=True)
        losses: list[float] = []
        start = time.monotonic()
        while not training.finished and (not losses or self.work.left > _TEST / 2):
            losses.append(training.train_epoch())
        taken = time.monotonic() - start
        test = _some(self.work.dataset().test, self.work.choose(64, None))
        right = correct(training.evaluated, self.images(test))
        count = int(right.sum())
        low, high = wilson(count, len(right))
        return {
            "network": self.architecture.label,
            "pixels": self.architecture.resolution,
            "batch": recipe.batch_size,
            "epochs": training.epoch,
            "of": epochs,
            "seconds": rounded(taken),
            "s to prepare images": rounded(prepared),
            "images a second": rounded(training.epoch * len(images) / taken),
            "loss, first and last epoch": [rounded(losses[0]), rounded(losses[-1])],
            "test accuracy": count / len(right),
            "interval": [rounded(low), rounded(high)],
        }


def scratch(work: Work) -> Iterator[Row]:
    """Yield images a second of B0 at several batch sizes, then its accuracy after a minute."""
    architecture = reference.architecture("efficientnet_b0")
    if work.quick:
        architecture = reference.architecture("mobilenet_v2")
    recipe = replace(_ONE_MINUTE, batch_size=work.choose(8, _ONE_MINUTE.batch_size))
    architecture = replace(adapt(architecture, SIDE), num_classes=work.dataset().num_classes)
    one = _Trained(work=work, architecture=architecture, recipe=recipe)
    images = one.images(one.photos)
    for batch in work.choose((8,), (64, 256, 512)):
        for captured in (False, True) if work.device == "cuda" else (False,):
            seconds = one.seconds_of_step(
                images, replace(recipe, batch_size=batch), captured=captured
            )
            yield {
                "network": architecture.label,
                "batch": batch,
                "captured": captured,
                "images a second": rounded(batch / seconds),
            }
    yield one.run(one.photos, _MINUTE)


def finetuning(work: Work) -> Iterator[Row]:
    """Yield what Lite0 reaches on the validation split at several resolutions and learning rates,
    in short trainings from its ImageNet weights; then its accuracy by the best on all photos."""
    tried: list[tuple[float, _Trained]] = []
    for side, rate in work.choose(((SIDE, 1e-3), (SIDE, 5e-4)), _TRIES):
        one = _pretrained(work, side, rate)
        row = one.validated()
        tried.append((row["validation accuracy"], one))
        yield row
    _, best = max(tried, key=lambda pair: pair[0])
    data = work.dataset()
    train = Split(
        images=np.concatenate([data.train.images, data.validation.images]),
        labels=np.concatenate([data.train.labels, data.validation.labels]),
    )
    yield best.run(_some(train, work.choose(16, None)), _FINETUNING)


def _pretrained(work: Work, side: int, rate: float) -> _Trained:
    """Return a short training of Lite0 from its weights; `rate` is the peak."""
    pretrained = load_pretrained(work.weights)
    classes = work.dataset().num_classes
    architecture = replace(pretrained.architecture, resolution=side, num_classes=classes)
    batch, epochs = work.choose((8, 1), (128, _TRIED))
    return _Trained(
        work=work,
        architecture=architecture,
        recipe=FINETUNE.override(batch_size=batch, epochs=epochs, learning_rate=rate),
        start=pretrained.start(architecture, seed=0),
    )


def _some(split: Split, count: int | None) -> Split:
    """Return the first images of a split, or all."""
    return Split(images=split.images[:count], labels=split.labels[:count])


def _first(images: Images, count: int) -> Images:
    """Return the first images, on the same device."""
    first = copy.copy(images)
    first.pixels, first.labels = images.pixels[:count], images.labels[:count]
    return first
