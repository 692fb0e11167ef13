"""The contracts between the framework and its plug-ins, on one page.

  decisions -> [Controller] -> choices -> [SearchSpace] -> Architecture -> [Evaluator] -> accuracy

A plug-in subclasses one of these and is found by entry point or as `file.py:Name`; a plain
function `f(architecture)` or `f(architecture, seed)` is an evaluator too (without `seed`, one
without noise). `mnas_search.testing` has a conformance
suite for each.
"""

import itertools
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol, final

import numpy as np
from numpy.typing import NDArray

from mnas_search.architecture import Architecture, Stage
from mnas_search.choices import Choices, Codes, Decision
from mnas_search.errors import UsageError
from mnas_search.objective import Objective
from mnas_search.traced_network import Network as Network
from mnas_search.traced_network import TracedNetwork as TracedNetwork
from mnas_search.trials import Asked, Evaluation, Trial

if TYPE_CHECKING:
    import torch


class SearchSpace(ABC):
    """A finite set of networks."""

    @property
    @abstractmethod
    def decisions(self) -> tuple[Decision, ...]:
        """What is open, in a fixed order, with different names."""

    @abstractmethod
    def decode(self, choices: Choices) -> Network:
        """The network that the choices stand for."""


class StagewiseSpace(SearchSpace):
    """A search space whose stages are decided one by one.

    The framework composes `decode` from the parts, and counts whole batches of codes from one
    exact cost table a stage.
    """

    @property
    @abstractmethod
    def template(self) -> Architecture:
        """Everything but the stages: stem, head, resolution; its own stages are ignored."""

    @property
    @abstractmethod
    def stage_decisions(self) -> tuple[tuple[Decision, ...], ...]:
        """The decisions of each stage."""

    @abstractmethod
    def stage(self, index: int, choices: Choices) -> Stage:
        """Stage `index` from its own decisions' choices (others may be there and are not read)."""

    @property
    @final
    def decisions(self) -> tuple[Decision, ...]:
        """All stages' decisions, stage by stage."""
        return tuple(d for stage in self.stage_decisions for d in stage)

    @final
    def stages_at(self, index: int) -> list[Stage]:
        """Stage `index` for every combination of its own options, the last decision fastest."""
        names = [decision.name for decision in self.stage_decisions[index]]
        combinations = itertools.product(*(d.options for d in self.stage_decisions[index]))
        return [self.stage(index, dict(zip(names, c, strict=True))) for c in combinations]

    @final
    def decode(self, choices: Choices) -> Architecture:
        """The template with every stage decided."""
        stages = tuple(self.stage(i, choices) for i in range(len(self.stage_decisions)))
        return replace(self.template, stages=stages)


class BatchCost(Protocol):
    """Exact cost of any batch of codes [N, D]."""

    def __call__(self, codes: Codes, /) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Multiply-adds [N] and params [N]."""


class BatchMemory(Protocol):
    """Exact memory of any batch of codes [N, D]."""

    def __call__(self, codes: Codes, /) -> NDArray[np.int64]:
        """Bytes of fp32 inference at batch 1 [N] (`Cost.inference_memory`)."""


class BatchLatency(Protocol):
    """Predicted latency of any batch of codes [N, D]."""

    def __call__(self, codes: Codes, /) -> NDArray[np.float64]:
        """Seconds [N]."""


class BatchAccuracy(Protocol):
    """Predicted accuracy of any batch of codes [N, D]."""

    def __call__(self, codes: Codes, /) -> NDArray[np.float64]:
        """Fractions [N]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Problem:
    """What a controller is told about the search.

    Attributes:
        decisions: what is open.
        objective: the reward, the target and the limits.
        cost: exact multiply-adds and params of any batch of codes, before any training.
        memory: the same of inference memory; None where nothing bounds it.
        latency: predicted latency of any batch of codes; None where nothing bounds it.
        prior: accuracies predicted from other evidence than this search's own (`--prior`), on a
            scale of their own; None where there is none.
    """

    decisions: tuple[Decision, ...]
    objective: Objective
    cost: BatchCost
    memory: BatchMemory | None = None
    latency: BatchLatency | None = None
    prior: BatchAccuracy | None = None

    def __post_init__(self) -> None:
        for name, most in self.objective.bounds.items():
            if name in ("memory", "latency") and getattr(self, name) is None:
                raise UsageError(
                    f"at most {most:g} of {name} for a problem without `{name}`; allowed: with "
                    "it, as `mnas_search.search.problem` makes it"
                )

    def within(self, codes: Codes) -> NDArray[np.bool_]:
        """Whether networks of these codes [N, D] keep the target and all limits [N]; no others
        can win."""
        return self.objective.keeps(self._bounded(codes))

    def excess(self, codes: Codes) -> NDArray[np.float64]:
        """How far networks of these codes [N, D] are beyond what they break most [N]: the
        logarithm of its count over what is allowed, at most 0 within."""
        return self.objective.excess(self._bounded(codes))

    def targeted(self, codes: Codes) -> NDArray[np.int64 | np.float64]:
        """How much networks of these codes [N, D] have of what the target is of [N]:
        multiply-adds, seconds or bytes."""
        if self.objective.metric == "latency" and self.latency is not None:
            return self.latency(codes)
        if self.objective.metric == "memory" and self.memory is not None:
            return self.memory(codes)
        return self.cost(codes)[0]

    def _bounded(self, codes: Codes) -> dict[str, NDArray[np.int64 | np.float64]]:
        macs, params = self.cost(codes)
        counts: dict[str, NDArray[np.int64 | np.float64]] = {"macs": macs, "params": params}
        if "memory" in self.objective.bounds and self.memory is not None:
            counts["inference_memory"] = self.memory(codes)
        if "latency" in self.objective.bounds and self.latency is not None:
            counts["latency"] = self.latency(codes)
        return counts


class Controller(ABC):
    """Proposes choices and learns from finished trials.

    Constructed with the `Problem`. Any number of asks may be in flight; tells come late, out of
    order, or for trials that were never asked (a warm start). All randomness comes from the
    generator passed to `ask`, which is seeded anew for every ask: state lies in what was told.
    Networks that break a constraint cannot win: use `problem.within` to propose others.

    Attributes:
        takes_prior: whether it makes use of `problem.prior`.
    """

    takes_prior: ClassVar[bool] = False

    @abstractmethod
    def ask(self, rng: np.random.Generator) -> Choices:
        """The next choices to try; `rng` is consumed."""

    @abstractmethod
    def tell(self, trial: Trial) -> None:
        """Learn from a finished trial: `ok` with its reward, or `failed` or `stopped` without."""

    @abstractmethod
    def replay(self, event: Asked | Trial) -> None:
        """Take back one event of an interrupted run, in its order: an ask as if it had been
        answered with these choices, a trial as in `tell`. Nothing is proposed anew."""

    def estimate(self, codes: Codes) -> NDArray[np.float64] | None:
        """Accuracies [N] that networks of these codes [N, D] are believed to have, noise taken
        off; override where there is a model. The winner among noisy measurements is chosen by
        these, not by the luckiest of them."""
        del codes
        return None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
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

    def halves(self) -> "tuple[Evaluator, Evaluator] | None":
        """Two evaluators that err independently: a search by the first exploits its errors, so
        that the second scores what it finds. Override where there are two."""
        return None

    def tested(self) -> "Evaluator | None":
        """The same evaluator, measuring on a held-out test split too (`info["test"]`), for the
        last few networks of a run; override where there is such a split."""
        return None

    def predictor(self, space: SearchSpace) -> BatchAccuracy | None:
        """Accuracies of whole batches of codes of a space, without any training; override where
        there are."""
        del space
        return None

    def recorded(self, space: SearchSpace) -> Recorded | None:
        """Networks of a space whose accuracies were recorded, not predicted; override where
        there are."""
        del space
        return None

    def with_rungs(self, factor: int) -> "Evaluator | None":
        """This evaluator, measuring on its way too: at rungs, each at least `factor` times as far
        as the one before, where a run may stop it early. Its results are the same. Override where
        it has rungs."""
        del factor
        return None

    def relative_to(self, resolution: int) -> "Evaluator":
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


class Meter(ABC):
    """Measures something else than accuracy, of several networks beside each other.

    One that is found by name among the evaluators is constructed with `device=`: what `--device`
    names, or None. It serves `mnas-search evaluate`; a search needs accuracies.
    """

    @abstractmethod
    def measure(self, networks: Sequence[Network]) -> list[Mapping[str, str | float]]:
        """Of each network, figures by name; names end with the unit where there is one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where an exported network comes from, for formats with room to say it.

    Attributes:
        weights: what they are: untrained, or trained how and on what.
        facts: how the architecture was found and what was measured, as (name, text).
        class_names: of the classifier's outputs, in order; empty where unknown.
        mean, std: of the channels R, G, B of images in [0, 1], by which inputs are normalised;
            None where unknown.
    """

    weights: str
    facts: tuple[tuple[str, str], ...] = ()
    class_names: tuple[str, ...] = ()
    mean: tuple[float, ...] | None = None
    std: tuple[float, ...] | None = None


class Exporter(ABC):
    """Writes a network in some format.

    Attributes:
        takes_weights: whether the format has room for them.
    """

    takes_weights: ClassVar[bool] = True

    @abstractmethod
    def export(
        self, architecture: Architecture, weights: "dict[str, torch.Tensor] | None", path: Path
    ) -> tuple[Path, ...]:
        """Write to `path`, an existing folder; returns the files. None: freshly initialised.

        The files are all that lies there afterwards. Raises `InvalidArchitecture`, naming the
        stage, for what the format cannot express, and `UsageError` for weights that do not fit,
        or that it has no room for; then no file is written."""

    def about(self, origin: Origin) -> "Exporter":
        """This exporter, writing down where the network comes from; override where the format
        has room for it."""
        del origin
        return self

    def caveats(self) -> tuple[str, ...]:
        """Sentences that belong beside the written files; override to have some."""
        return ()
