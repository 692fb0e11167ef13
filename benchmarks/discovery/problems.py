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
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnas_search.architecture.published import architecture
from mnas_search.evaluators.accel_nasbench.evaluator import AccelNasBench
from mnas_search.evaluators.accel_nasbench.evidence import SEED_NOISE, SPACE, load
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
    """What a searcher hears of one network."""

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
        noise = self.definition.noise * float(rng.standard_normal())
        accuracy = float(self.searched(codes)[0]) + noise
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
    for one in DEFINITIONS:
        costs: BatchCosts = counts
        target, metric = one.target, "flops"
        if one.device is not None:
            recorded = load().with_performance(one.device)
            throughput = recorded.performance[one.device]
            costs = DeviceCost(SPACE.stage_decisions, counts, recorded.codes, throughput)
            target, metric = 1 / target, "latency"
        objective = Objective(target=target, metric=metric, kind=one.kind)
        given = Problem(
            decisions=SPACE.decisions, objective=objective, costs=costs, blocks=counts.blocks
        )
        probe = _probe(given, searched)
        made.append(DiscoveryProblem(definition=one, given=given, searched=searched, probe=probe))
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
