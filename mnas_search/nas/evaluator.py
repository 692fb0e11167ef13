"""The contract of evaluators, and what some of them can do besides.

  decisions -> [Controller] -> choices -> [SearchSpace] -> Architecture -> [Evaluator] -> accuracy

An evaluator subclasses `Evaluator` and is found by entry point or as `file.py:Name`; a plain
function `f(architecture)` or `f(architecture, seed)` is an evaluator too. `evaluate` and
`resources` are all that one needs. Each further ability is a protocol `Supports...`: an evaluator
that has its methods has the ability. `mnas_search.testing` has a conformance suite.
"""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray

from mnas_search.architecture.traced_network import Network
from mnas_search.common.checks import check_number, plain, shown
from mnas_search.common.errors import UsageError, error_context
from mnas_search.nas.space.choices import Codes
from mnas_search.nas.space.contract import BatchAccuracy, SearchSpace
from mnas_search.nas.trial import Evaluation


@dataclass(frozen=True, slots=True, kw_only=True)
class Resources:
    """What one evaluation occupies on a Ray node.

    Attributes:
        cpus: processor cores.
        gpus: GPUs; None divides those of the node among the workers, and takes none where the
            node has none.
    """

    cpus: float = 1
    gpus: float | None = 0

    def __post_init__(self) -> None:
        for name in ("cpus", "gpus"):
            object.__setattr__(self, name, plain(getattr(self, name)))
        check_number("cpus", self.cpus, "[0, inf)")
        if self.gpus is not None:
            check_number("gpus", self.gpus, "[0, inf)")


class Evaluator(ABC):
    """Measures a network's accuracy. Travels to the workers by pickle.

    One that is found by name is constructed with `data=`: what `--data` names, or None.
    """

    @property
    @abstractmethod
    def resources(self) -> Resources | None:
        """What an evaluation occupies; None for one so cheap that it runs in process."""

    @abstractmethod
    def evaluate(self, network: Network, *, seed: int) -> Iterator[Evaluation]:
        """Yield an evaluation for each rung, with `rung` set, then the result; the same seed
        gives the same. A run that stops the evaluation early closes the iterator."""


# -- what an evaluator may support besides --------------------------------------------------------


@runtime_checkable
class SupportsNoise(Protocol):
    """Says whether its accuracies depend on the seed; else they are taken to."""

    @property
    def noisy(self) -> bool:
        """Whether another seed could give another accuracy."""


@runtime_checkable
class SupportsLabel(Protocol):
    """Says what its accuracies are."""

    @property
    def label(self) -> str:
        """What the accuracies are, as an axis names them."""


@runtime_checkable
class SupportsCaveats(Protocol):
    """Has something to say beside its accuracies."""

    def caveats(self, network: Network) -> tuple[str, ...]:
        """Return sentences to print beside the accuracies; `network` is the best found."""


@runtime_checkable
class SupportsTestSplit(Protocol):
    """Can measure on a held-out test split."""

    def with_test_split(self) -> Evaluator | None:
        """Return the same evaluator, measuring on the test split too, for the last one or two
        networks of a run; None where its data have no such split.

        `info["test"]` is the accuracy. With `correct` as well, intervals count the images."""


@runtime_checkable
class SupportsIndependentPair(Protocol):
    """Consists of two evaluators that err independently."""

    def independent_pair(self) -> tuple[Evaluator, Evaluator] | None:
        """Return the evaluator that a search exploits and the one that scores what it finds; None
        where this one cannot be divided."""


@runtime_checkable
class SupportsIntermediateReports(Protocol):
    """Can measure at rungs, where a run may stop it early."""

    def with_intermediate_reports(self, factor: int) -> Evaluator | None:
        """Return this evaluator with rungs, each at least `factor` times as far as the one before
        and the same result; None where it has no rung."""


@runtime_checkable
class SupportsBaseResolution(Protocol):
    """Measures at a resolution of its own."""

    def at_base_resolution(self, resolution: int) -> Evaluator:
        """Return this evaluator for networks of several resolutions, `resolution` being the
        base's: it keeps their ratios."""


@runtime_checkable
class SupportsBatchPrediction(Protocol):
    """Can predict accuracies of whole batches without any training."""

    def predictor(self, space: SearchSpace) -> BatchAccuracy | None:
        """Return the predictor for codes of a space; None for a space that it does not know."""


class PriorMember(Evaluator):
    """One of several copies of an evaluator that a run trains before its search, for its prior.

    After the training, `evaluate` reads a network: in a moment, and the same every time. What was
    trained lies in a checkpoint, which all workers can read.
    """

    @abstractmethod
    def train(self) -> Iterator[int]:
        """Train from the checkpoint, if there is one, to the end; yield the steps so far whenever
        there is a new checkpoint."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorTimes:
    """What one worker by itself was measured to take.

    Attributes:
        step: seconds of a training step.
        reading: seconds of reading a network.
        max_steps: steps beyond which a longer training gains little.
        gpus: number of GPUs, of which the members that are trained at a time have a share each;
            0 where each worker has a CPU of its own.
    """

    step: float
    reading: float
    max_steps: int
    gpus: int = 0


@runtime_checkable
class SupportsPriorTraining(Protocol):
    """Reads networks cheaply after a training of its own on the data (`--prior`)."""

    def measure_prior(self, allows: Callable[[Network], bool]) -> PriorTimes:
        """Measure a few steps and readings of networks that are allowed, in this process."""

    def prior_member(
        self,
        index: int,
        count: int,
        *,
        steps: int,
        seed: int,
        checkpoint: Path,
        allows: Callable[[Network], bool],
    ) -> PriorMember:
        """Return member `index` of `count`, which differ in their seeds and in the part of the
        training split that they are not trained on, and read networks on.

        Args:
            steps: of the training.
            checkpoint: file in a folder that exists.
            allows: whether a network is near enough to the constraints to be trained.
        """


@dataclass(frozen=True, slots=True, kw_only=True)
class TabularResults:
    """Networks of a search space with recorded accuracies.

    Attributes:
        codes: of distinct networks [N, D].
        accuracy: as recorded, fractions [N].
        std: standard deviation between two trainings of one network; None where unknown.
        note: what the accuracies are, and how well two trainings agree on the order.
    """

    codes: Codes
    accuracy: NDArray[np.float64]
    std: float | None
    note: str


@runtime_checkable
class SupportsTabularResults(Protocol):
    """Has recorded accuracies."""

    def tabular_results(self, space: SearchSpace) -> TabularResults | None:
        """Return the recorded networks of a space; None for a space that was not recorded."""


@runtime_checkable
class SupportsTraining(Protocol):
    """Trains on a data set.

    Attributes:
        data_sha256: hash of the decoded data; resuming on other data is refused.
        num_classes: classes of the data.
        recipe: how it trains, as `--proxy` changes it.
    """

    data_sha256: str
    num_classes: int
    recipe: object


@runtime_checkable
class SupportsValidationImages(Protocol):
    """Counts its accuracies on images.

    Attributes:
        validation_images: their number.
    """

    validation_images: int


@runtime_checkable
class SupportsSpaceCheck(Protocol):
    """Knows search spaces that it cannot rank."""

    def check_space(self, space: SearchSpace) -> None:
        """Raise `UsageError` for such a space."""


@runtime_checkable
class SupportsSpace(Protocol):
    """Measures networks of one search space, which it has to know."""

    def for_space(self, space: SearchSpace) -> Evaluator:
        """Return this evaluator for the networks of a space; raises `UsageError` for a space that
        it cannot measure."""


def for_space(evaluator: Evaluator, space: SearchSpace) -> Evaluator:
    """Return the evaluator for the networks of a space; one for any networks as it is."""
    if not isinstance(evaluator, SupportsSpace):
        return evaluator
    with error_context("the evaluator's for_space"):
        return _checked("for_space", evaluator.for_space(space))


def check_space(evaluator: Evaluator, space: SearchSpace) -> None:
    """Raise `UsageError` for a space that the evaluator knows it cannot rank."""
    if isinstance(evaluator, SupportsSpaceCheck):
        with error_context("the evaluator's check_space"):
            evaluator.check_space(space)


def with_test_split(evaluator: Evaluator) -> Evaluator | None:
    """Return the evaluator that measures on the test split too; None where there is none."""
    if not isinstance(evaluator, SupportsTestSplit):
        return None
    with error_context("the evaluator's with_test_split"):
        found = evaluator.with_test_split()
    return None if found is None else _checked("with_test_split", found)


def independent_pair(evaluator: Evaluator) -> tuple[Evaluator, Evaluator] | None:
    """Return two evaluators that err independently; None where it cannot be divided."""
    if not isinstance(evaluator, SupportsIndependentPair):
        return None
    with error_context("the evaluator's independent_pair"):
        if (pair := evaluator.independent_pair()) is None:
            return None
        one, other = pair
    return _checked("independent_pair", one), _checked("independent_pair", other)


def is_noisy(evaluator: Evaluator) -> bool:
    """Return whether another seed could give another accuracy."""
    with error_context("the evaluator's noisy"):
        return bool(evaluator.noisy) if isinstance(evaluator, SupportsNoise) else True


def validation_images(evaluator: Evaluator) -> int | None:
    """Return the number of images that accuracies are counted on; None where it is not known."""
    with error_context("the evaluator's validation_images"):
        if isinstance(evaluator, SupportsValidationImages):
            return int(evaluator.validation_images)
    return None


def caveats_of(evaluator: Evaluator, network: Network) -> tuple[str, ...]:
    """Return sentences to print beside the accuracies of a run whose best is `network`."""
    with error_context("the evaluator's caveats"):
        found = evaluator.caveats(network) if isinstance(evaluator, SupportsCaveats) else ()
        return tuple(map(str, found))


def label_of(evaluator: Evaluator) -> str | None:
    """Return what the accuracies are, as an axis names them; None where it is not known."""
    with error_context("the evaluator's label"):
        return (isinstance(evaluator, SupportsLabel) and str(evaluator.label)) or None


def check_evaluator(evaluator: Evaluator) -> Evaluator:
    """Return the evaluator; refuse one whose `resources` are none."""
    with error_context("the evaluator's resources"):
        found: object = evaluator.resources
    if found is not None and not isinstance(found, Resources):
        raise UsageError(
            "the evaluator's resources must be mnas_search.Resources(cpus=..., gpus=...) or None, "
            f"got {shown(found)}"
        )
    return evaluator


def _checked(what: str, evaluator: object) -> Evaluator:
    if not isinstance(evaluator, Evaluator):
        raise UsageError(f"the evaluator's {what} must give an Evaluator, got {shown(evaluator)}")
    return check_evaluator(evaluator)


class Profiler(ABC):
    """Measures something other than accuracy, of several networks together.

    One that is found by name among the evaluators is constructed with `device=`: what `--device`
    names, or None. It serves `mnas-search evaluate`; a search requires accuracies.
    """

    @abstractmethod
    def measure(self, networks: Sequence[Network]) -> list[Mapping[str, str | float]]:
        """Return figures by name for each network; names end with the unit where there is one."""
