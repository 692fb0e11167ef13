"""The problems: five searches over the `efficientnet` space, each with its target.

The evidence is cut into two halves without a network in common. The accuracy that controllers are
told comes from a Gaussian process fitted on the first half, with the noise of one training added;
what is reported ("held-out") comes from boosted trees fitted on the second half, without noise.
Whoever learns the searched model's errors by heart gains nothing in the report.

    soft-400M            acc * (MACs / 400M)^-0.07, EfficientNet's own problem
    hard-200M, -300M,    acc, under MACs <= T: MnasNet's hard reward
    hard-600M
    a100                 acc * (throughput / 7,500)^0.07 under throughput >= 7,500 images/s, which
                         half of uniform draws keep

On a device the target bounds the predicted seconds per image; (time / limit)^-0.07 is
(throughput / target)^0.07.
"""

import functools
import hashlib
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from mnas_search.architecture.published import architecture
from mnas_search.benchmarks.discovery.device import PICOSECONDS, DeviceCost
from mnas_search.evaluators.accel_nasbench.evaluator import AccelNasBench
from mnas_search.evaluators.accel_nasbench.evidence import SEED_NOISE, SPACE, load
from mnas_search.nas.objective import Objective
from mnas_search.nas.problem import Problem
from mnas_search.nas.space.choices import encode, sample_codes
from mnas_search.nas.space.contract import BatchAccuracy, BatchCosts
from mnas_search.nas.space.cost import space_cost
from mnas_search.nas.space.cost_model import Costs
from mnas_search.nas.space.encoding import encode_architecture

Row = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A problem in figures."""

    name: str  # of the problem
    kind: str  # of the reward
    target: float  # multiply-adds, or images a second where there is a device
    # whose recorded throughput bounds the search; None for multiply-adds
    device: str | None = None
    noise: float = SEED_NOISE  # standard deviation of a told accuracy


DEFINITIONS = (
    Definition(name="soft-400M", kind="soft", target=400e6),
    Definition(name="hard-200M", kind="hard", target=200e6),
    Definition(name="hard-300M", kind="hard", target=300e6),
    Definition(name="hard-600M", kind="hard", target=600e6),
    Definition(name="a100", kind="soft", target=7_500, device="throughput_a100"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a searcher hears of one network.

    Attributes:
        accuracy: a fraction, with noise.
        cost: exact, in the target's unit.
        costs: exact, by name.
        reward: the objective's plain value.
        penalised: the reward, and over the target at most accuracy * target / cost.
        excess: log(cost / target), positive over the target.
    """

    accuracy: float
    cost: float
    costs: Costs
    reward: float
    penalised: float
    constraint_violation: float

    @property
    def within(self) -> bool:
        """Whether the network keeps the target."""
        return self.constraint_violation <= 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoveryProblem:
    """A problem with everything that is needed to search it."""

    definition: Definition  # the problem in figures
    given: Problem  # what controllers are told
    searched: BatchAccuracy  # the accuracies they are told, before noise
    # hash of what is told of some networks, which every change of data or models changes
    probe: str

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
        text = f"{self.name}/{seed}/{','.join(map(str, row))}"
        rng = np.random.default_rng(list(hashlib.sha256(text.encode()).digest()))
        accuracy = float(self.searched(codes)[0]) + self.definition.noise * float(
            rng.standard_normal()
        )
        costs = {name: found[0].item() for name, found in self.given.costs(codes).items()}
        objective = self.given.objective
        cost = objective.target_cost(costs)
        reward = objective.reward(accuracy, cost)
        over = accuracy * objective.target / cost
        return Told(
            accuracy=accuracy,
            cost=cost,
            costs=costs,
            reward=reward,
            penalised=reward if objective.is_feasible(costs) else min(reward, over),
            constraint_violation=math.log(cost / objective.target),
        )


@functools.cache
def problems() -> tuple[DiscoveryProblem, ...]:
    """Make all problems; the tables of a device are fitted on all networks recorded there."""
    counts = space_cost(SPACE)
    searched = AccelNasBench(part="search").predictor(SPACE)
    assert searched is not None
    made = []
    for definition in DEFINITIONS:
        costs: BatchCosts = counts
        target, metric = definition.target, "flops"
        if definition.device is not None:
            recorded = load().with_performance(definition.device)
            throughput = recorded.performance[definition.device]
            costs = DeviceCost(SPACE.stage_decisions, counts, recorded.codes, throughput)
            target, metric = 1 / target, "latency"
        given = Problem(
            decisions=SPACE.decisions,
            objective=Objective(target=target, metric=metric, kind=definition.kind),
            costs=costs,
        )
        made.append(
            DiscoveryProblem(
                definition=definition,
                given=given,
                searched=searched,
                probe=_probe(given, searched),
            )
        )
    return tuple(made)


def _probe(given: Problem, searched: BatchAccuracy) -> str:
    """Hash what is told of some networks, rounded: sums differ between machines."""
    codes = sample_codes(given.decisions, 64, np.random.default_rng(0))
    told = [f"{value:.5f}" for value in searched(codes)]
    unit = PICOSECONDS if given.objective.metric == "latency" else 1
    costs = [f"{unit * value:.6g}" for value in given.target_cost(codes)]
    return hashlib.sha256(" ".join(told + costs).encode()).hexdigest()[:16]


def efficientnet_b0() -> Row:
    """Return EfficientNet-B0's codes."""
    return encode(SPACE.decisions, encode_architecture(SPACE, architecture("efficientnet_b0")))
