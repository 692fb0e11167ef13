"""What is trained: candidates, data and recipes."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from mnas_search.architecture.value import Architecture
from mnas_search.evaluators.proxy_training import ProxyTraining
from mnas_search.nas.space.choices import sample
from mnas_search.search_spaces.efficientnet import EfficientNetSpace


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Data and a change to the recipe for it."""

    name: str  # what to call it
    data: str  # name of a data set, as `--data` takes it
    proxy: str | None = None  # as `--proxy` takes it

    def evaluator(self) -> ProxyTraining:
        """Return the evaluator, which holds data and recipe."""
        return ProxyTraining(data=self.data, proxy=self.proxy)


_ENLARGED = f"{Path(__file__).with_name('enlarged.py')}:digits_of_32_pixels"


SMALL, LARGE = (
    Workload(name="digits, 8 px", data="digits"),
    Workload(name="enlarged digits, 32 px", data=_ENLARGED),
)
QUICK = Workload(name="digits, 8 px", data="digits", proxy="epochs=1")


def candidates(count: int) -> tuple[Architecture, ...]:
    """Draw networks from the `efficientnet` space, the same ones each time."""
    space, rng = EfficientNetSpace(), np.random.default_rng(0)
    return tuple(space.decode(sample(space.decisions, rng)) for _ in range(count))
