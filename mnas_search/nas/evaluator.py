"""The contracts between the framework and its plug-ins, on one page.

  decisions -> [Controller] -> choices -> [SearchSpace] -> Architecture -> [Evaluator] -> accuracy

A plug-in subclasses one of these and is found by entry point or as `file.py:Name`; a plain
function `f(architecture)` or `f(architecture, seed)` is an evaluator too (without `seed`, one
without noise). `mnas_search.testing` has a conformance
suite for each.
"""

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from mnas_search.architecture.traced_network import Network as Network
from mnas_search.architecture.traced_network import TracedNetwork as TracedNetwork
from mnas_search.nas.space.choices import Codes
from mnas_search.nas.space.contract import BatchAccuracy, SearchSpace
from mnas_search.nas.trial import Evaluation

if TYPE_CHECKING:
    pass


@dataclass(frozen=True, slots=True, kw_only=True)
class TabularResults:
    """Networks of a search space that were trained before anybody asked.

    Attributes:
        codes: of distinct networks [N, D].
        accuracy: what was measured, fractions [N].
        std: standard deviation between two trainings of one network; None where unknown.
        note: what the accuracies are, and how far two trainings agree on the order.
    """

    codes: Codes
    accuracy: NDArray[np.float64]
    std: float | None
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What one evaluation occupies on a Ray node.

    Attributes:
        cpus: processor cores.
        gpus: GPUs; None for what is there, shared alike by the workers, and none where none is.
    """

    cpus: float = 1
    gpus: float | None = 0


class Evaluator(ABC):
    """Measures a network's accuracy. Travels to the workers by pickle.

    One that is found by name is constructed with `data=`: what `--data` names, or None.
    """

    @property
    def noisy(self) -> bool:
        """Whether another seed could give another accuracy; override for one that never does."""
        return True

    def caveats(self, network: Network) -> tuple[str, ...]:
        """Sentences that belong beside this evaluator's accuracies; override to have some."""
        del network
        return ()

    def independent_pair(self) -> "tuple[Evaluator, Evaluator] | None":
        """Two evaluators that err independently: a search by the first exploits its errors, so
        that the second scores what it finds. Override where there are two."""
        return None

    def with_test_split(self) -> "Evaluator | None":
        """The same evaluator, measuring on a held-out test split too (`info["test"]`), for the
        last few networks of a run; override where there is such a split."""
        return None

    def predictor(self, space: SearchSpace) -> BatchAccuracy | None:
        """Accuracies of whole batches of codes of a space, without any training; override where
        there are."""
        del space
        return None

    def recorded(self, space: SearchSpace) -> TabularResults | None:
        """Networks of a space whose accuracies were recorded, not predicted; override where
        there are."""
        del space
        return None

    def with_intermediate_reports(self, factor: int) -> "Evaluator | None":
        """This evaluator, measuring on its way too: at rungs, each at least `factor` times as far
        as the one before, where a run may stop it early. Its results are the same. Override where
        it has rungs."""
        del factor
        return None

    def at_base_resolution(self, resolution: int) -> "Evaluator":
        """This evaluator for networks of several resolutions, of which `resolution` is the base's:
        one that measures at a resolution of its own keeps their ratios. Override there."""
        del resolution
        return self

    @property
    @abstractmethod
    def resources(self) -> Resources | None:
        """What an evaluation occupies; None for one so cheap that it runs in process."""

    @abstractmethod
    def evaluate(self, network: Network, *, seed: int) -> Iterator[Evaluation]:
        """Yield the result, after an evaluation for each rung, with `rung` set; the same seed, the
        same. A run that has seen enough closes the iterator."""


class Profiler(ABC):
    """Measures something else than accuracy, of several networks beside each other.

    One that is found by name among the evaluators is constructed with `device=`: what `--device`
    names, or None. It serves `mnas-search evaluate`; a search needs accuracies.
    """

    @abstractmethod
    def measure(self, networks: Sequence[Network]) -> list[Mapping[str, str | float]]:
        """Of each network, figures by name; names end with the unit where there is one."""
