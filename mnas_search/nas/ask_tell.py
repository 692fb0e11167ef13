"""A search in memory, whose candidates the caller evaluates: no folder, no workers."""

import math
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import final

from mnas_search.architecture.traced_network import Network
from mnas_search.common import plugins
from mnas_search.common.checks import check_integer, check_number, plain
from mnas_search.common.errors import UsageError, WorkFailed
from mnas_search.common.units import parse_bytes, parse_size
from mnas_search.nas.controller import Controller, load_controller
from mnas_search.nas.core import MOST_DUPLICATES, Search
from mnas_search.nas.job import EvaluationJob
from mnas_search.nas.journal import MemoryJournal
from mnas_search.nas.objective import Objective
from mnas_search.nas.problem import Problem, check_feasible
from mnas_search.nas.space.adapted import adapt_space
from mnas_search.nas.space.choices import Choices
from mnas_search.nas.space.contract import SearchSpace, fixed_resolution, make_space
from mnas_search.nas.space.cost import space_cost
from mnas_search.nas.space.cost_model import CostModel
from mnas_search.nas.trial import Evaluation, Failure, Trial


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Proposal:
    """A network to evaluate.

    Attributes:
        number: of the trial, from 0; numbers of duplicates, which nobody evaluates, are left out.
        architecture: an `Architecture`, or a `TracedNetwork` in a space of such.
        choices: that it was decoded from.
        seed: for its training, from the study's seed and the network.
    """

    number: int
    architecture: Network = field(repr=False)
    choices: Choices
    seed: int


@final
class Study:
    """A search whose candidates the caller evaluates; `ask_tell` makes one."""

    def __init__(self, search: Search) -> None:
        self._search = search
        self._open: dict[int, EvaluationJob] = {}

    def ask(self) -> Proposal:
        """Return the next network to evaluate; any number may be open at a time.

        Raises:
            WorkFailed: the controller proposed only known networks 1,000 times in a row.
        """
        job = self._search.next()
        if job is None:
            raise WorkFailed(
                f"the space is exhausted: {MOST_DUPLICATES:,} proposals in a row were known"
            )
        self._open[job.number] = job
        return Proposal(
            number=job.number,
            architecture=job.network,
            choices=self._search.choices(job),
            seed=job.seed,
        )

    def tell(
        self, proposal: Proposal, accuracy: float | None, *, seconds: float = 0.0, error: str = ""
    ) -> Trial:
        """Record the accuracy of a proposal, and return its trial.

        Args:
            proposal: of this study, open; in any order.
            accuracy: a fraction in [0, 1]; None or NaN for an evaluation that failed.
            seconds: that the evaluation took, for the record.
            error: why it failed.

        Raises:
            UsageError: the accuracy is no fraction, or the proposal is not open.
        """
        seconds = plain(seconds)
        check_number("seconds", seconds, "[0, inf)")
        outcome = _outcome(accuracy, error)
        number = getattr(proposal, "number", None)
        if number not in self._open:
            raise UsageError(
                f"tell requires a proposal that was asked and not told, got {proposal!r}"
            )
        self._search.record(self._open.pop(number), outcome, seconds)
        return self._search.trial(number)

    @property
    def trials(self) -> tuple[Trial, ...]:
        """The finished trials, by number."""
        return self._search.trials

    @property
    def best(self) -> Trial | None:
        """The trial with the largest reward within target and limits; None before there is one."""
        return self._search.best

    def architecture(self, trial: Trial) -> Network:
        """Return the network of a trial."""
        return self._search.network(trial)


def _outcome(accuracy: float | None, error: str) -> Evaluation | Failure:
    if accuracy is None or math.isnan(float(accuracy)):
        return Failure(reason=error or "the evaluation failed")
    accuracy = float(accuracy)
    if not 0 <= accuracy <= 1:
        raise UsageError(f"accuracy must be a fraction from 0 to 1, got {accuracy:g}")
    return Evaluation(accuracy=accuracy)


def ask_tell(
    space: str | SearchSpace | type[SearchSpace],
    target_flops: float | str,
    *,
    controller: str | type[Controller] = "bayesian",
    objective: str = "soft",
    exponent: float | None = None,
    max_params: float | str | None = None,
    max_memory: float | str | None = None,
    resolution: int = 224,
    num_classes: int = 1000,
    seed: int = 0,
) -> Study:
    """Begin a search in memory: the caller evaluates the candidates, by any means.

        study = mnas_search.ask_tell("efficientnet", target_flops="400M", seed=0)
        for _ in range(50):
            proposal = study.ask()
            study.tell(proposal, accuracy_of(proposal.architecture))
        study.best

    The proposals are those of `mnas_search.search` with the same options, seed and accuracies.
    Nothing is written; duplicates are told by the study itself.

    Args:
        space: a name, `file.py:Name`, a `SearchSpace` or its class.
        target_flops: T in ACC(m) * [FLOPS(m) / T]^w (EfficientNet section 4), and the upper limit
            on multiply-adds: a number, or text such as "400M".
        controller: a name, `file.py:Name`, or a `Controller` class.
        objective, exponent: kind of the reward (`soft`, `hard`, `absolute`) and its w.
        max_params, max_memory: upper limits on parameters and on bytes of fp32 inference.
        resolution, num_classes: at deployment, where FLOPs are counted. Below 128 pixels strides
            are dropped, as in a search.
        seed: of all random numbers.

    Raises:
        UsageError: an option is refused, or no network of the space is within the target.
    """
    seed, resolution, num_classes = map(plain, (seed, resolution, num_classes))
    check_integer("seed", seed, 0)
    reward = Objective(
        target=_number(target_flops, parse_size),
        kind=objective,
        exponent=plain(exponent),
        max_params=None if max_params is None else _number(max_params, parse_size),
        max_memory=None if max_memory is None else _number(max_memory, parse_bytes),
    )
    groups = {"space": "search_spaces", "controller": "controllers"}
    with plugins.named({"space": space, "controller": controller}, groups) as named:
        networks = make_space(named["space"], resolution=resolution, num_classes=num_classes)
        if fixed_resolution(named["space"]) is None:
            networks, _ = adapt_space(networks, resolution)
        cls = load_controller(named["controller"])
        model = CostModel(metrics=tuple(reward.bounds))
        costs = space_cost(networks, model)
        check_feasible(reward, costs, named["space"])
        known = Problem(
            decisions=networks.decisions, objective=reward, costs=costs, blocks=costs.blocks
        )
        proposing: Controller = plugins.make(cls, named["controller"], problem=known)
    return Study(
        Search(
            space=networks,
            objective=reward,
            controller=proposing,
            cost_model=model,
            trials=sys.maxsize,
            seed=seed,
            journal=MemoryJournal(),
        )
    )


def _number(value: float | str, parse: Callable[[str], float]) -> float:
    return parse(value) if isinstance(value, str) else float(value)
