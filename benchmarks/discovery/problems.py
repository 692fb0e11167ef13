"""The problems: searches over two spaces, each with its target.

What controllers are told has the noise of one training; what is reported ("held-out") has none,
and comes from another model of other networks (`worlds`).

    soft-400M            acc * (MACs / 400M)^-0.07, EfficientNet's own problem
    hard-200M, -300M,    acc, under MACs <= T: MnasNet's hard reward
    hard-600M
    a100                 acc * (throughput / 7,500)^0.07 under throughput >= 7,500 images/s, which
                         half of uniform draws keep
    macro-soft-90M,      on NAS-Bench-Macro: the soft reward, whose optimum has 27M or 34M
    macro-soft-60M       multiply-adds for either target
    macro-hard-60M       the hard reward

On a device the target bounds the predicted seconds per image; (time / limit)^-0.07 is
(throughput / target)^0.07.
"""

import functools
import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnas_search.architecture.published import architecture
from mnas_search.benchmarks.discovery.worlds import (
    SEED_NOISE,
    World,
    canonical,
    networks,
    space_of,
)
from mnas_search.evaluators.accel_nasbench.evidence import SPACE, load
from mnas_search.nas.objective import Objective
from mnas_search.nas.problem import Problem
from mnas_search.nas.space.choices import Codes, Decision, encode, sample_codes, sizes
from mnas_search.nas.space.contract import BatchAccuracy, BatchCosts
from mnas_search.nas.space.cost import CostArrays, space_cost
from mnas_search.nas.space.cost_model import Costs
from mnas_search.nas.space.encoding import encode_architecture

Row = tuple[int, ...]

PICOSECONDS = 1e12
_RIDGE = 1e-3  # the constant and the tables' means are not told apart by any data


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A problem in figures."""

    name: str
    kind: str  # of the reward: `soft` or `hard`
    target: float  # multiply-adds, or images a second where there is a device
    # the one whose recorded throughput bounds the search; None for multiply-adds
    device: str | None = None
    space: str = "efficientnet"  # or `macro`
    noise: float | None = None  # standard deviation of a told accuracy; None for the recorded one


DEFINITIONS = (
    Definition(name="soft-400M", kind="soft", target=400e6),
    Definition(name="hard-200M", kind="hard", target=200e6),
    Definition(name="hard-300M", kind="hard", target=300e6),
    Definition(name="hard-600M", kind="hard", target=600e6),
    Definition(name="a100", kind="soft", target=7_500, device="throughput_a100"),
    Definition(name="macro-soft-90M", kind="soft", target=90e6, space="macro"),
    Definition(name="macro-soft-60M", kind="soft", target=60e6, space="macro"),
    Definition(name="macro-hard-60M", kind="hard", target=60e6, space="macro"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a searcher hears of one network."""

    fingerprint: str  # the same for codes of the same network
    accuracy: float  # a fraction, with noise
    cost: float  # exact, in the target's unit
    costs: Costs  # exact, by name
    reward: float  # the objective's plain value
    penalised: float  # the reward, and over the target at most accuracy * target / cost
    constraint_violation: float  # log(cost / target), positive over the target

    @property
    def within(self) -> bool:
        """Whether the network keeps the target."""
        return self.constraint_violation <= 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoveryProblem:
    """A problem in one world, with everything that is needed to search it."""

    definition: Definition  # the problem in figures
    world: World
    given: Problem  # what controllers are told
    searched: BatchAccuracy  # the accuracies they are told, before noise
    reported: BatchAccuracy  # the accuracies that are reported of them
    recorded: Codes  # the networks that both are fitted on [N, D]
    b0: Row | None  # EfficientNet-B0, where the space has it
    # hashes of what is told, and reported, of some networks: every change of data or models
    # changes them
    probe: str
    reported_probe: str

    @property
    def name(self) -> str:
        """Of the problem."""
        return self.definition.name

    @property
    def settings(self) -> Mapping[str, Any]:
        """All that told values depend on."""
        return {**asdict(self.definition), "probe": self.probe}

    def evaluate(self, row: Row, seed: int) -> Told:
        """Simulate one training; the same network and seed give the same accuracy."""
        codes = np.array([row], dtype=np.uint8)
        fingerprint = ",".join(map(str, canonical(self.definition.space, codes)[0].tolist()))
        text = f"{self.name}/{seed}/{fingerprint}"
        rng = np.random.default_rng(list(hashlib.sha256(text.encode()).digest()))
        accuracy = float(self.searched(codes)[0]) + self._noise * float(rng.standard_normal())
        costs = {name: found[0].item() for name, found in self.given.costs(codes).items()}
        objective = self.given.objective
        cost = objective.target_cost(costs)
        reward = objective.reward(accuracy, cost)
        over = accuracy * objective.target / cost
        return Told(
            fingerprint=fingerprint,
            accuracy=accuracy,
            cost=cost,
            costs=costs,
            reward=reward,
            penalised=reward if objective.is_feasible(costs) else min(reward, over),
            constraint_violation=math.log(cost / objective.target),
        )

    @property
    def _noise(self) -> float:
        own = self.definition.noise
        return SEED_NOISE[self.definition.space] if own is None else own


def problem(name: str, seed: int) -> DiscoveryProblem:
    """Make the problem of this name as a search with this seed meets it."""
    return _in_world(name, World.of(seed))


@functools.cache
def _in_world(name: str, world: World) -> DiscoveryProblem:
    definition, told = _by_name(name), given(name)
    searched, reported = world.models(definition.space)
    return DiscoveryProblem(
        definition=definition,
        world=world,
        given=told,
        searched=searched,
        reported=reported,
        recorded=networks(definition.space)[0],
        b0=efficientnet_b0() if definition.space == "efficientnet" else None,
        probe=_probe(told, searched),
        reported_probe=_probe(told, reported),
    )


@functools.cache
def given(name: str) -> Problem:
    """Make what controllers are told; a device's tables are fitted on all networks recorded on
    it."""
    definition = _by_name(name)
    space = space_of(definition.space)
    counts = space_cost(space)
    costs: BatchCosts = counts
    target, metric = definition.target, "flops"
    if definition.device is not None:
        recorded = load().with_performance(definition.device)
        throughput = recorded.performance[definition.device]
        costs = DeviceCost(space.stage_decisions, counts, recorded.codes, throughput)
        target, metric = 1 / target, "latency"
    objective = Objective(target=target, metric=metric, kind=definition.kind)
    return Problem(
        decisions=space.decisions, objective=objective, costs=costs, blocks=counts.blocks
    )


def _by_name(name: str) -> Definition:
    return next(definition for definition in DEFINITIONS if definition.name == name)


def _probe(given: Problem, searched: BatchAccuracy) -> str:
    """Hash what is told of some networks, rounded: sums differ between machines."""
    codes = sample_codes(given.decisions, 64, np.random.default_rng(0))
    told = [f"{value:.5f}" for value in searched(codes)]
    unit = PICOSECONDS if given.objective.metric == "latency" else 1
    costs = [f"{unit * value:.6g}" for value in given.target_cost(codes)]
    return hashlib.sha256(" ".join(told + costs).encode()).hexdigest()[:16]


def efficientnet_b0() -> Row:
    """Return EfficientNet-B0's codes in the `efficientnet` space."""
    return encode(SPACE.decisions, encode_architecture(SPACE, architecture("efficientnet_b0")))


class DeviceCost:
    """Predicted seconds per image as the latency, beside exact multiply-adds and params.

    In the `efficientnet` space every stage takes in and gives out maps of a fixed size and width,
    so that the time of a network is the sum of its stages' times, each of which depends on the
    stage's own decisions alone:

        time(network) = constant + sum over stages of table[stage][own choices]

    The tables are what latency look-up tables are elsewhere (ProxylessNAS, arXiv 1812.00332;
    FBNet, arXiv 1812.03443), only that they are found by least squares from whole networks. On
    recorded A100 throughputs that were not fitted, the median error is 0.3 %, where boosted trees
    have 1.8 %.

    Args:
        stages: the decisions of each stage.
        counts: exact costs by name.
        codes: networks [N, D] whose throughput is known.
        throughput: images a second [N].
    """

    def __init__(
        self,
        stages: Sequence[Sequence[Decision]],
        counts: BatchCosts,
        codes: Codes,
        throughput: NDArray[np.float64],
    ) -> None:
        self._counts = counts
        self._lengths = [len(stage) for stage in stages]
        self._shapes = [sizes(stage) for stage in stages]
        columns = self._columns(codes)
        widths = [math.prod(shape) for shape in self._shapes]
        indicators = [np.eye(w)[c] for w, c in zip(widths, columns, strict=True)]
        design = np.concatenate([np.ones((len(codes), 1)), *indicators], axis=1)
        # Relative errors are what counts: each equation is divided by its own time.
        design *= throughput[:, None] / PICOSECONDS
        normal = design.T @ design / np.mean(design[:, 0] ** 2)
        right = design.T @ np.ones(len(codes)) / np.mean(design[:, 0] ** 2)
        solution = np.linalg.solve(normal + _RIDGE * np.eye(len(normal)), right)
        self._constant = float(solution[0])
        self._tables = np.split(solution[1:], np.cumsum(widths)[:-1])

    def __call__(self, codes: Codes, /) -> CostArrays:
        """Return the costs [N] of codes [N, D] by name; latency in seconds."""
        time = np.full(len(codes), self._constant)
        for table, column in zip(self._tables, self._columns(codes), strict=True):
            time += table[column]
        latency = np.maximum(np.rint(time), 1) / PICOSECONDS
        return {**self._counts(codes), "latency": latency}

    def _columns(self, codes: Codes) -> list[NDArray[np.intp]]:
        """Return each stage's table columns [N]."""
        parts = np.split(np.asarray(codes, np.intp), np.cumsum(self._lengths)[:-1], axis=1)
        return [
            np.ravel_multi_index(tuple(part.T), shape)
            for part, shape in zip(parts, self._shapes, strict=True)
        ]
