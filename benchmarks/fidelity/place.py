"""What tasks work with: images, networks, checkpoints; made once in each process."""

import functools
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import numpy as np

from mnas_search.benchmarks.fidelity.settings import Settings
from mnas_search.benchmarks.fidelity.subject import Subject, make_subject
from mnas_search.common.errors import UsageError
from mnas_search.data import Dataset, Split, load
from mnas_search.data.loading import own_resolution

MACRO_CLASSES = 10  # CIFAR-10's
_SIDE = 32  # pixels, of data that name no side of their own


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """What tasks work with.

    Attributes:
        settings: of the benchmark.
        data: what `--data` names; None where no task needs images.
        folder: for checkpoints.
    """

    settings: Settings
    data: str | None
    folder: Path

    def dataset(self, *, random_labels: bool = False) -> Dataset:
        """Return the images; with `random_labels`, those of training have each other's classes.

        Raises:
            UsageError: no data were given, or they do not fit NAS-Bench-Macro.
        """
        if self.data is None:
            raise UsageError("all but counts requires --data")
        found = _load(self.data)
        if self.settings.is_macro and found.num_classes != MACRO_CLASSES:
            raise UsageError(
                f"--data must have {MACRO_CLASSES} classes, as CIFAR-10, got {found.num_classes}"
            )
        return _with_random_labels(found) if random_labels else found

    def subject(self) -> Subject:
        """Return the networks."""
        if self.settings.is_macro:
            return _make_subject(self.settings, "", MACRO_CLASSES)
        classes = self.dataset().num_classes
        return _make_subject(self.settings, self.data or "", classes)


@contextmanager
def measured() -> Iterator[Callable[[], float]]:
    """Give a function that returns the seconds since: process time on a CPU, else by the clock."""
    from mnas_search.training import devices

    clock = time.process_time if devices.device() == "cpu" else time.perf_counter
    begun = clock()
    yield lambda: clock() - begun


@functools.lru_cache(maxsize=1)
def _load(data: str) -> Dataset:
    return load(data, side=own_resolution(data) or _SIDE)


@functools.lru_cache(maxsize=2)
def _make_subject(settings: Settings, data: str, num_classes: int) -> Subject:
    return make_subject(settings, data, num_classes)


def _with_random_labels(data: Dataset) -> Dataset:
    labels = np.random.default_rng(0).permutation(data.train.labels)
    return replace(data, train=Split(images=data.train.images, labels=labels))
