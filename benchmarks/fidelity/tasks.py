"""What is read of the networks: each task is done once, and its result kept.

Seconds are process time of one thread on a CPU, and time by the clock on a GPU.
"""

import functools
from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, final

import numpy as np

from mnas_search.benchmarks.fidelity.place import Place, measured
from mnas_search.common.machine import one_thread
from mnas_search.data import Split
from mnas_search.nas.asha import REDUCTION
from mnas_search.nas.core import training_seed

if TYPE_CHECKING:
    from mnas_search.evaluators.proxy_training import ProxyTraining

Result = Mapping[str, Any]
_SCORED_IMAGES = 32  # that zero-cost scores see


class Task(ABC):
    """One reading or training."""

    of_part: ClassVar[bool] = True  # False for what is the same for all parts of the networks

    @property
    @abstractmethod
    def key(self) -> str:
        """What identifies the task in the journal."""

    @abstractmethod
    def run(self, place: Place) -> Result:
        """Do it; the result has `seconds`, and is plain JSON."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Scoring(Task):
    """A zero-cost score of an untrained network on training images."""

    score: str  # the function of that name in `benchmarks.ranking.scores`
    network: int

    @property
    def key(self) -> str:
        """Score and network."""
        return f"score {self.score} of network {self.network}"

    def run(self, place: Place) -> Result:
        """Return the value; None where it is no number."""
        import torch

        from mnas_search.benchmarks.ranking import scores
        from mnas_search.networks import build

        subject = place.subject()
        pixels, labels = _scored_images(place)
        score: scores.Score = getattr(scores, self.score)
        with one_thread(), torch.random.fork_rng(), measured() as seconds:
            torch.manual_seed(place.settings.seed)
            value = score(build(subject.architecture(self.network)), pixels, labels)
            return {"value": value if np.isfinite(value) else None, "seconds": seconds()}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Training(Task):
    """A training of a network by a proxy recipe: its accuracy on the validation split, at the end
    and at the rungs of early stopping."""

    recipe: str  # changes to the default one
    network: int
    repeat: int = 0

    @property
    def key(self) -> str:
        """Recipe, network and repeat."""
        return f"training {self.recipe or 'default'} of network {self.network}, {self.repeat}"

    def run(self, place: Place) -> Result:
        """Return the accuracy, the number of epochs, and the accuracy after those of each rung."""
        subject = place.subject()
        network = subject.architecture(self.network)
        seed = training_seed(place.settings.seed, network.fingerprint, repeat=self.repeat)
        evaluator = _evaluator(place.data, self.recipe, subject.resolution)
        with measured() as seconds:
            *rungs, result = evaluator.evaluate(network, seed=seed)
            return {
                "accuracy": result.accuracy,
                "epochs": evaluator.recipe.training.epochs,
                "rungs": [(rung.rung, rung.accuracy) for rung in rungs],
                "seconds": seconds(),
            }


@functools.lru_cache(maxsize=1)
def _scored_images(place: Place) -> tuple[Any, Any]:
    """Return a batch of normalised training images and their labels."""
    from mnas_search.training.loop import Images, normalisation

    data = place.dataset()
    chosen = np.random.default_rng(0).permutation(len(data.train.labels))[:_SCORED_IMAGES]
    images = Images(
        Split(images=data.train.images[chosen], labels=data.train.labels[chosen]),
        resolution=place.subject().resolution,
        normalisation=normalisation(data.train),
        flips=data.flips,
    )
    return images.normalise(images.batch(slice(None))), images.labels


@functools.lru_cache(maxsize=1)
def _evaluator(data: str | None, recipe: str, resolution: int) -> "ProxyTraining":
    from mnas_search.evaluators.proxy_training import ProxyTraining

    whole = ProxyTraining(data=data, proxy=recipe, deployment=resolution)
    return whole.with_intermediate_reports(REDUCTION) or whole
