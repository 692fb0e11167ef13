"""What is trained: candidates, data and recipes."""

from dataclasses import dataclass, replace

import numpy as np

from mnas_search.architecture.value import Architecture
from mnas_search.data import Dataset, digits
from mnas_search.evaluators.proxy_training import ProxyTraining
from mnas_search.nas.space.choices import sample
from mnas_search.search_spaces.efficientnet import EfficientNetSpace
from mnas_search.training.loop import resize


@dataclass(frozen=True, slots=True, kw_only=True)
class Workload:
    """Data and a change to the recipe for it."""

    name: str
    data: str  # name of a data set, as `--data` takes it
    proxy: str | None = None  # as `--proxy` takes it

    def evaluator(self) -> ProxyTraining:
        """Return the evaluator, which holds data and recipe."""
        return ProxyTraining(data=self.data, proxy=self.proxy)


SMALL = Workload(name="digits, 8 px", data="digits")
LARGE = Workload(name="enlarged digits, 32 px", data=f"{__file__}:digits_of_32_pixels")
QUICK = Workload(name="digits, 8 px", data="digits", proxy="epochs=1")


def candidates(count: int) -> tuple[Architecture, ...]:
    """Draw networks from the `efficientnet` space, the same ones each time."""
    space, rng = EfficientNetSpace(), np.random.default_rng(0)
    return tuple(space.decode(sample(space.decisions, rng)) for _ in range(count))


def digits_of_32_pixels() -> Dataset:
    """Enlarge the digits: they cost what 32 pixels cost, and are as easy as digits."""
    small = digits()
    train, validation, test = (resize(s, 32) for s in (small.train, small.validation, small.test))
    name = "digits of 32 pixels"
    return replace(small, name=name, train=train, validation=validation, test=test)
