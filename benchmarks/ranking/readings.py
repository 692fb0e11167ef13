"""What a trial reads off a network."""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import torch

from mnas_search.architecture.value import Architecture
from mnas_search.benchmarks.ranking import scores, structure, tasks
from mnas_search.networks import build


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """A value by which networks are ranked."""

    name: str  # which of the trial's readings
    value: float  # larger is said to be better; may be no number, which ranks last
    seconds: float  # process time until it is known, one thread


Measure = Callable[[Architecture, int], Iterator[Reading]]


@dataclass(frozen=True, slots=True, kw_only=True)
class Structure:
    """A score of the plan: the function of that name in `structure`."""

    score: str

    def __call__(self, architecture: Architecture, seed: int) -> Iterator[Reading]:
        """Yield one reading."""
        del seed
        begun = time.process_time()
        value = float(getattr(structure, self.score)(architecture))
        yield Reading(name="", value=value, seconds=time.process_time() - begun)


@dataclass(frozen=True, slots=True, kw_only=True)
class ZeroCost:
    """A score of the untrained network at full width: the function of that name in `scores`."""

    score: str
    # resolution, batch_size: of its images, of the task `compositions`
    resolution: int
    batch_size: int

    def __call__(self, architecture: Architecture, seed: int) -> Iterator[Reading]:
        """Yield one reading."""
        data = tasks.task("compositions", self.batch_size, self.resolution)
        begun = time.process_time()
        torch.manual_seed(seed)
        score: scores.Score = getattr(scores, self.score)
        value = score(build(architecture), data.images, data.labels)
        yield Reading(name="", value=value, seconds=time.process_time() - begun)
