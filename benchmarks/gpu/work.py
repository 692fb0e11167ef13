"""What a phase works with, and how it takes times."""

import functools
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, final

import torch

from mnas_search.data import Dataset, load

Row = dict[str, Any]  # plain JSON
SIDE = 32  # pixels of the photos


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """What a phase works with.

    Attributes:
        data: what `--data` names.
        device: `cuda` or `cpu`.
        quick: whether to do just enough to see that everything works.
        weights: of EfficientNet-Lite0, as `--init` takes them.
        tests: folder with the tests marked `gpu`.
        ends: when the phase has to be done, by `time.monotonic`.
    """

    data: str
    device: str
    quick: bool
    weights: str
    tests: Path
    ends: float

    @property
    def left(self) -> float:
        """Seconds that are left for the phase."""
        return self.ends - time.monotonic()

    def dataset(self) -> Dataset:
        """Return the photos."""
        return _dataset(self.data)

    def choose(self, few: Any, all_: Any) -> Any:
        """Return the first value in a quick run, else the second."""
        return few if self.quick else all_


@functools.lru_cache(maxsize=1)
def _dataset(data: str) -> Dataset:
    return load(data, side=SIDE)


def synchronise() -> None:
    """Wait for the GPU, if there is one."""
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def seconds_of(work: Callable[[], object], times: int = 1) -> float:
    """Return the mean seconds of `times` calls, with what they leave to the GPU."""
    synchronise()
    start = time.perf_counter()
    for _ in range(times):
        work()
    synchronise()
    return (time.perf_counter() - start) / times


def rounded(value: float, digits: int = 4) -> float:
    """Round to significant digits."""
    return float(f"{value:.{digits}g}")
