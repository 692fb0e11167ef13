"""How long trainings take, measured before they begin."""

from collections.abc import Sequence

import numpy as np
import torch

from mnas_search.architecture.value import Architecture
from mnas_search.benchmarks.fidelity.place import measured
from mnas_search.benchmarks.scaling.settings import BATCH
from mnas_search.common.machine import one_thread
from mnas_search.data import Split
from mnas_search.experiments.runners import CONTENTION
from mnas_search.networks import build
from mnas_search.training import devices, loop
from mnas_search.training.recipe import Recipe

_STEPS = 2  # measured, after as many to warm up
_INFERENCE = 1 / 3  # of the time of a training step: the forward pass alone


def hours(
    networks: Sequence[Architecture], *, trained: int, read: int, seeds: int, workers: int
) -> float:
    """Return about how many hours it takes to train networks, by a few steps of each. Seconds are
    process time on a CPU: other work on the machine makes the hours more.

    Args:
        trained: images of all epochs of a training.
        read: images that a trained network is measured on.
        seeds: trainings of each network.
        workers: trainings at a time.
    """
    seconds = sum(map(_seconds_per_image, networks)) * (trained + _INFERENCE * read) * seeds
    return seconds * (CONTENTION if workers > 1 else 1) / max(1, workers) / 3600


def _seconds_per_image(network: Architecture) -> float:
    count, side, device = _STEPS * BATCH, network.resolution, devices.device()
    pixels = np.random.default_rng(0).integers(0, 256, (count, side, side, 3), np.uint8)
    split = Split(images=pixels, labels=np.arange(count) % network.num_classes)
    images = loop.Images(
        split,
        resolution=side,
        normalisation=loop.normalisation(split),
        flips=True,
        device=device,
    )
    recipe = Recipe(epochs=2, batch_size=BATCH)
    with one_thread(), torch.random.fork_rng():
        module = build(network).to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        training = loop.Training(module, images, recipe, seed=0)
        devices.optimize_for_device(module, images, recipe)
        training.train_epoch()
        with measured() as seconds:
            training.train_epoch()
            return seconds() / count
