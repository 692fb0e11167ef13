"""Tasks of supernets: seconds of a step, trainings, readings."""

from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import ClassVar, final

import numpy as np
from torch import Tensor

from mnas_search.benchmarks.fidelity.place import Place, measured
from mnas_search.benchmarks.fidelity.tasks import Result, Task
from mnas_search.data import Dataset
from mnas_search.networks.supernet import Supernet
from mnas_search.training import devices
from mnas_search.training.loop import Images
from mnas_search.training.supernet import (
    SupernetRecipe,
    make_supernet,
    read_supernet,
    reading_images,
    supernet_recipe,
    train_supernet,
    trained_images,
)

CHUNK = 50  # networks of a reading
_WARM_UP, _TIMED = 4, 12  # steps


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class StepTiming(Task):
    """The seconds of a step of a supernet's training."""

    of_part: ClassVar[bool] = False
    recipe: str  # changes to the default one

    @property
    def key(self) -> str:
        """The recipe."""
        return f"step of supernet {self.recipe or 'default'}"

    def run(self, place: Place) -> Result:
        """Return the mean of a few steps."""
        recipe = _recipe(self.recipe, place)
        times: list[float] = []
        with measured() as seconds:
            train_supernet(
                place.subject().space,
                place.dataset(),
                replace(recipe, steps=_WARM_UP + _TIMED),
                seed=place.settings.seed,
                progress=lambda done, steps: times.append(seconds()),
            )
        return {"seconds": fmean(np.diff(times)[_WARM_UP:].tolist())}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class SupernetTraining(Task):
    """The training of a supernet, whose weights stay in a checkpoint.

    Attributes:
        recipe: changes to the default one.
        steps: 0 for a supernet with initial weights.
        member: decides the seed, and the part of the training images that is left out.
        random_labels: whether the training images have each other's classes.
    """

    of_part: ClassVar[bool] = False
    recipe: str
    steps: int
    member: int
    random_labels: bool = False

    @property
    def key(self) -> str:
        """All of it."""
        labels = ", random labels" if self.random_labels else ""
        return f"supernet {self.recipe or 'default'}, {self.steps} steps, {self.member}{labels}"

    def run(self, place: Place) -> Result:
        """Train from the checkpoint, if there is one. The seconds of an interrupted training are
        scaled from those of its last part."""
        seen: list[tuple[int, float]] = []
        with measured() as seconds:
            self.load(place, lambda done, steps: seen.append((done, seconds())))
        (first, begun), (last, ended) = seen[0], seen[-1]
        if first == last:  # interrupted before its seconds were kept
            self._file(place).unlink()
            return self.run(place)
        return {"seconds": (ended - begun) * last / (last - first)}

    def load(self, place: Place, progress: Callable[[int, int], None] | None = None) -> Supernet:
        """Return the supernet, after the steps that its checkpoint lacks."""
        space, data, recipe = place.subject().space, self._dataset(place), self._recipe(place)
        seed = place.settings.seed + self.member
        if not self.steps:
            return make_supernet(space, data, recipe, seed=seed)
        file = self._file(place)
        file.parent.mkdir(parents=True, exist_ok=True)
        return train_supernet(space, data, recipe, seed=seed, checkpoint=file, progress=progress)

    def images(self, place: Place) -> tuple[Tensor, Tensor]:
        """Return images and labels that networks are read on."""
        return reading_images(self._dataset(place), self._recipe(place))

    def trained(self, place: Place) -> Images:
        """Return the images that it is trained on."""
        return trained_images(self._dataset(place), self._recipe(place))

    def _dataset(self, place: Place) -> Dataset:
        return place.dataset(random_labels=self.random_labels)

    def _recipe(self, place: Place) -> SupernetRecipe:
        recipe = _recipe(self.recipe, place)
        return replace(
            recipe,
            steps=max(1, self.steps),
            fold=self.member % recipe.folds,
            reading_images=place.settings.images,
        )

    def _file(self, place: Place) -> Path:
        name = "-".join(self.key.replace(",", "").split())
        return place.folder / "supernets" / f"{name}.pt"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class SupernetReading(Task):
    """Readings of some networks: chunk `chunk` of those that are read."""

    training: SupernetTraining
    chunk: int

    @property
    def key(self) -> str:
        """The supernet and the chunk."""
        return f"networks {CHUNK * self.chunk}+ by {self.training.key}"

    def run(self, place: Place) -> Result:
        """Return cross-entropies and accuracies, in the order of the networks."""
        subject = place.subject()
        rows = subject.read[CHUNK * self.chunk : CHUNK * (self.chunk + 1)]
        networks = [subject.architecture(row) for row in rows]
        supernet, images = self.training.load(place), self.training.images(place)
        with measured() as seconds:
            readings = read_supernet(supernet, networks, *images)
            return {
                "cross_entropy": [reading.cross_entropy for reading in readings],
                "accuracy": [reading.accuracy for reading in readings],
                "seconds": seconds(),
            }


def _recipe(text: str, place: Place) -> SupernetRecipe:
    """Return the default recipe for the images with the changes of `text`."""
    side = min(place.subject().resolution, place.dataset().train.images.shape[1])
    return supernet_recipe(side, devices.device()).override(text)
