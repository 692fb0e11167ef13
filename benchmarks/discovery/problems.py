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

On a device the cost that controllers see in place of multiply-adds is the predicted time per
image in picoseconds; (time / limit)^-0.07 is (throughput / target)^0.07.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mnas_search import plugins
from mnas_search.benchmarks.discovery.device import PICOSECONDS, DeviceCost
from mnas_search.benchmarks.discovery.sources import source_hash
from mnas_search.choices import Codes, encode
from mnas_search.encoding import encode_architecture
from mnas_search.evaluators.accel_nasbench.evidence import Evidence
from mnas_search.interfaces import BatchCost, Problem, StagewiseSpace
from mnas_search.objective import Objective
from mnas_search.reference import architecture
from mnas_search.space_cost import space_cost

# Standard deviation over seeds of the benchmark's own trainings: 117 networks, 3 seeds each.
NOISE = 0.0031
SPLIT = 0  # seed of the halves
Row = tuple[int, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Definition:
    """A problem in figures.

    Attributes:
        name: of the problem.
        kind: of the reward.
        target: multiply-adds, or images a second where there is a device.
        device: whose recorded throughput bounds the search; None for multiply-adds.
        noise: standard deviation of a told accuracy.
    """

    name: str
    kind: str
    target: float
    device: str | None = None
    noise: float = NOISE


DEFINITIONS = (
    Definition(name="soft-400M", kind="soft", target=400e6),
    Definition(name="hard-200M", kind="hard", target=200e6),
    Definition(name="hard-300M", kind="hard", target=300e6),
    Definition(name="hard-600M", kind="hard", target=600e6),
    Definition(name="a100", kind="soft", target=7_500, device="throughput_a100"),
)


class Predictor(Protocol):
    """A fitted model."""

    def predict(self, codes: Codes, /) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Mean [N] and standard deviation [N] of codes [N, D]."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """What a searcher hears of one network.

    Attributes:
        accuracy: a fraction, with noise.
        cost, params: exact.
        reward: the objective's plain value.
        penalised: the reward, and over the target at most accuracy * target / cost.
        excess: log(cost / target), positive over the target.
    """

    accuracy: float
    cost: int
    params: int
    reward: float
    penalised: float
    excess: float

    @property
    def within(self) -> bool:
        """Whether the network keeps the target."""
        return self.excess <= 0


@dataclass(frozen=True, slots=True, kw_only=True)
class DiscoveryProblem:
    """A problem with everything that is needed to search it.

    Attributes:
        definition: the problem in figures.
        given: what controllers are told.
        searched: the model whose accuracies they are told.
        evidence: hash of the data and the code behind told accuracies and costs.
    """

    definition: Definition
    given: Problem
    searched: Predictor
    evidence: str

    @property
    def name(self) -> str:
        """Of the problem."""
        return self.definition.name

    @property
    def settings(self) -> Mapping[str, Any]:
        """All that told values depend on."""
        return {**asdict(self.definition), "split": SPLIT, "evidence": self.evidence}

    def evaluate(self, row: Row, seed: int) -> Told:
        """One training: the same network under the same seed gives the same accuracy."""
        codes = np.array([row], dtype=np.uint8)
        text = f"{self.name}/{seed}/{','.join(map(str, row))}"
        rng = np.random.default_rng(list(hashlib.sha256(text.encode()).digest()))
        mean, _std = self.searched.predict(codes)
        accuracy = float(mean[0]) + self.definition.noise * float(rng.standard_normal())
        cost, params = (int(counts[0]) for counts in self.given.cost(codes))
        objective = self.given.objective
        reward = objective.reward(accuracy, cost)
        over = accuracy * objective.target / cost
        return Told(
            accuracy=accuracy,
            cost=cost,
            params=params,
            reward=reward,
            penalised=reward if objective.within(cost) else min(reward, over),
            excess=math.log(cost / objective.target),
        )


def problems(evidence: Evidence, searched: Predictor) -> tuple[DiscoveryProblem, ...]:
    """All problems over one searched model; device tables are fitted on all of the evidence."""
    space: StagewiseSpace = plugins.load("search_spaces", "efficientnet")()
    counts = space_cost(space)
    accuracies: list[str | NDArray[Any]] = [
        source_hash(type(searched)),
        evidence.codes,
        evidence.accuracy,
    ]
    made = []
    for definition in DEFINITIONS:
        cost: BatchCost = counts
        target, behind = definition.target, accuracies
        if definition.device is not None:
            throughput = evidence.performance[definition.device]
            known = np.isfinite(throughput)
            cost = DeviceCost(
                space.stage_decisions, counts, evidence.codes[known], throughput[known]
            )
            target = PICOSECONDS / definition.target
            behind = [*accuracies, source_hash(DeviceCost), throughput]
        objective = Objective(target=target, kind=definition.kind)
        made.append(
            DiscoveryProblem(
                definition=definition,
                given=Problem(decisions=space.decisions, objective=objective, cost=cost),
                searched=searched,
                evidence=_hash(behind),
            )
        )
    return tuple(made)


def _hash(parts: Sequence[str | NDArray[Any]]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(part.encode() if isinstance(part, str) else part.tobytes())
    return digest.hexdigest()[:16]


def efficientnet_b0() -> Row:
    """EfficientNet-B0's codes."""
    space: StagewiseSpace = plugins.load("search_spaces", "efficientnet")()
    return encode(space.decisions, encode_architecture(space, architecture("efficientnet_b0")))
