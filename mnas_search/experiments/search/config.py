"""What a run is asked for, and the same with every name resolved and checked."""

import contextlib
import math
from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from mnas_search.architecture import published
from mnas_search.architecture.cost.latency import Conditions, LatencyTable
from mnas_search.architecture.cost.metrics import TARGETS
from mnas_search.architecture.scaling import widest
from mnas_search.architecture.traced_network import Network
from mnas_search.architecture.value import Architecture
from mnas_search.common import plugins
from mnas_search.common.errors import UsageError, error_context
from mnas_search.common.machine import cpu_count
from mnas_search.data import loading
from mnas_search.evaluators.defaults import DEFAULT_DATA, EVIDENCE, TRAINING
from mnas_search.evaluators.function import as_evaluator
from mnas_search.experiments.experiment import content_hashes
from mnas_search.experiments.search.warm_start import absolute, warm_start
from mnas_search.nas.asha import REDUCTION, RULES
from mnas_search.nas.controller import Controller
from mnas_search.nas.evaluator import (
    Evaluator,
    SupportsBatchPrediction,
    SupportsIndependentPair,
    SupportsIntermediateReports,
    SupportsTestSplit,
    SupportsTraining,
)
from mnas_search.nas.objective import Objective, exponent_of
from mnas_search.nas.problem import Problem, check_feasible
from mnas_search.nas.space.choices import Choices
from mnas_search.nas.space.contract import BatchAccuracy, SearchSpace, make_space
from mnas_search.nas.space.cost import space_cost
from mnas_search.nas.space.cost_model import CostModel
from mnas_search.nas.trial import Trial

RANDOM = "random"
# What users would take without a search; the first is what a winner has to beat.
_BASELINES = ("efficientnet_b0", "mobilenet_v2", "mnasnet_a1")
_OPEN = ("evaluator", "data", "prior")  # that may be left to the run
_NAMES = ("space", "controller", *_OPEN)  # of plug-ins
# Predictions cost nothing; trained candidates cost seconds each.
_TRIALS_PREDICTED, _TRIALS_TRAINED = 200, 48


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """Everything that decides a run.

    Attributes:
        target_flops, target_latency, target_memory: T, in multiply-adds at the deployment
            resolution, in seconds of one forward pass, or in bytes of fp32 inference at batch 1.
            At least one; of several, the first in this order is in the reward, and the others are
            limits.
        device: the backend on which latency is measured; None for the table's own, or `cpu`.
        latency_table: file of the table that predicts latencies; None has one built, on `device`
            with one thread.
        max_params: the most parameters; None for no limit.
        max_memory: the most bytes of fp32 inference at batch 1, weights and the peak of
            activations; None for no limit.
        space, controller: names of plug-ins, or `file.py:Name`.
        evaluator: the same; None for the recorded ImageNet trainings where they know the space and
            no data is given, else for proxy training.
        data: what the evaluator trains on: a name, a path, `hf:NAME` or `file.py:Name`; None for
            its own default.
        proxy: what to change in the evaluator's recipe of proxies, as in `epochs=10`.
        prior: an evaluator whose predictions the controller starts from.
        start_from: architectures to try first, and folders of earlier runs to learn from.
        baseline: "random" for a random search with as many trials beside this one, whose best are
            compared with the winner; None for the fixed baselines alone.
        objective, exponent: see `mnas_search.nas.objective`.
        trials: distinct networks to finish; None for 200 predicted or 48 trained ones.
        early_stopping: `asha` gives up trainings that do not look promising, which then do not
            count as trials; None gives up none.
        time_budget: seconds after which nothing more is asked, over all sessions; None for no end.
        workers: evaluations at a time, over Ray; 0 evaluates in this process.
        gpus_per_trial: GPUs a worker takes; None for the evaluator's own wish.
        ray_address: of a cluster to join; None for a private Ray on this machine.
        seed: of everything random.
        resolution, num_classes: of the deployed network.
    """

    target_flops: float | None = None
    target_latency: float | None = None
    target_memory: float | None = None
    max_params: float | None = None
    max_memory: float | None = None
    device: str | None = None
    latency_table: str | None = None
    space: str = "efficientnet"
    controller: str = "bayesian"
    evaluator: str | None = None
    data: str | None = None
    proxy: str | None = None
    prior: str | None = None
    start_from: tuple[str, ...] = ()
    baseline: str | None = None
    objective: str = "soft"
    exponent: float | None = None
    trials: int | None = None
    early_stopping: str | None = None
    time_budget: float | None = None
    workers: int | None = None
    gpus_per_trial: float | None = None
    ray_address: str | None = None
    seed: int = 0
    resolution: int = 224
    num_classes: int | None = None

    def __post_init__(self) -> None:
        whole = {"trials": 1, "workers": 0, "seed": 0, "resolution": 1, "num_classes": 1}
        for name, low in whole.items():
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < low):
                raise UsageError(f"{name} is {value!r}; allowed: a whole number from {low}")
        if not self.targets:
            raise UsageError(
                "a run without a target; allowed: --target-flops 400M, --target-latency 20ms or "
                "--target-memory 20M"
            )
        if self.target_latency is None and (self.device, self.latency_table) != (None, None):
            raise UsageError(
                "a device or a latency table without a target latency; allowed: with one"
            )
        if self.latency_table is not None:
            object.__setattr__(self, "latency_table", str(Path(self.latency_table).resolve()))
        for name in ("time_budget", "gpus_per_trial"):
            value = getattr(self, name)
            if value is not None and not (math.isfinite(value) and value >= 0):
                raise UsageError(f"{name} is {value!r}; allowed: a number from 0")
        for name in _NAMES:
            # One spelling a file, wherever the run is resumed from.
            value = getattr(self, name)
            if not isinstance(value, str) and not (value is None and name in _OPEN):
                raise UsageError(f"{name} is {value!r}; allowed: a name, or 'file.py:Name'")
            if value is not None:
                object.__setattr__(self, name, plugins.absolute(value))
        exponent_of(self.objective, self.exponent)  # refused before anything is built
        if self.baseline not in (None, RANDOM):
            raise UsageError(f"baseline {self.baseline!r}; allowed: {RANDOM}")
        if self.baseline is not None and self.time_budget is not None:
            raise UsageError(
                f"baseline {self.baseline!r} with a time budget; allowed: with a number of trials"
            )
        if self.data is not None:
            object.__setattr__(self, "data", loading.absolute(self.data))
        if self.early_stopping not in (None, *RULES):
            raise UsageError(
                f"early_stopping {self.early_stopping!r}; allowed: {', '.join(RULES)}"
            )
        if isinstance(self.start_from, str):
            raise UsageError(f"start_from is {self.start_from!r}; allowed: a list of texts")
        object.__setattr__(self, "start_from", tuple(map(absolute, self.start_from)))

    @property
    def targets(self) -> dict[str, float]:
        """The targets that are given, by metric; the first one is the reward's."""
        given = {name: getattr(self, f"target_{name}") for name in TARGETS}
        return {name: target for name, target in given.items() if target is not None}

    @property
    def conditions(self) -> Conditions:
        """What a table of latencies that has to be built is built under."""
        return Conditions(device=self.device or "cpu")


class Setup:
    """A configuration with all its names resolved and checked.

    Attributes:
        config: with nothing left open.
        evaluator: what the search is told by.
        check: what its finalists are scored by, of other evidence; None where there is none.
        trainer: what finalists scored by predictions are really trained by; None where there are
            none, or where they are no chains of stages.
        tested: what the best of a search on data are trained by at its end, beside the baselines;
            None where the evaluator has no test split.
        space, objective, cost_model, problem: see their classes.
    """

    def __init__(
        self, config: RunConfig, table_of: Callable[[SearchSpace], LatencyTable] | None = None
    ) -> None:
        """`table_of`: gives the table of latencies for the space, where latency is bounded."""
        if config.evaluator is None:
            config = replace(config, evaluator=EVIDENCE if _recorded(config) else TRAINING)
        assert config.evaluator is not None
        found = as_evaluator(
            plugins.load("evaluators", config.evaluator), data=config.data, proxy=config.proxy
        )
        if config.early_stopping is not None:
            found = _with_rungs(found, config)
        self.evaluator: Evaluator = found
        self.check: Evaluator | None = None
        if isinstance(found, SupportsIndependentPair):
            if (pair := found.independent_pair()) is not None:
                self.evaluator, self.check = pair
        self.trainer: Evaluator | None = None
        self.tested: Evaluator | None = None
        if isinstance(found, SupportsTestSplit):
            self.tested = found.with_test_split()
        if config.baseline is not None and self.tested is None:
            raise UsageError(
                f"baseline {config.baseline!r} with evaluator {config.evaluator!r}; allowed: with "
                "one that trains on data with a test split, as proxy_training"
            )
        if config.num_classes is None:
            config = replace(config, num_classes=_classes(config, self.evaluator))
        if config.workers is None:
            in_process = self.evaluator.resources is None and self.check is None
            config = replace(config, workers=0 if in_process else cpu_count())
        if config.trials is None:
            predicted = self.evaluator.resources is None
            config = replace(config, trials=_TRIALS_PREDICTED if predicted else _TRIALS_TRAINED)
        self.space = make_space(
            config.space, resolution=config.resolution, num_classes=config.num_classes
        )
        names = [decision.name for decision in self.space.decisions]
        if len(set(names)) < len(names) or not names:
            raise UsageError(
                f"space {config.space!r} has decisions {', '.join(names) or 'none'}; allowed: at "
                "least one, all with different names"
            )
        controller = plugins.load("controllers", config.controller)
        if not (isinstance(controller, type) and issubclass(controller, Controller)):
            raise UsageError(f"controller {config.controller!r}; allowed: a Controller class")
        if config.prior is not None and not controller.uses_prior:
            raise UsageError(
                f"prior {config.prior!r} with controller {config.controller!r}, which makes no "
                "use of it; allowed: one that does, as bayesian"
            )
        self._controller: type[Controller] = controller
        latency = None  # after what can be refused without it: to build a table takes minutes
        if config.target_latency is not None:
            if table_of is None:
                raise UsageError("a target latency without a table; allowed: with table_of")
            latency = table_of(self.space)
        (metric, target), *others = config.targets.items()
        limits = {f"max_{name}": most for name, most in others}
        self.objective = Objective(
            target=target,
            metric=metric,
            kind=config.objective,
            exponent=config.exponent,
            max_params=config.max_params,
            max_memory=_least(limits.get("max_memory"), config.max_memory),
            max_latency=limits.get("max_latency"),
        )
        self.config = replace(config, exponent=self.objective.exponent)
        self.cost_model = CostModel(metrics=tuple(self.objective.bounds), latency_table=latency)
        counter = space_cost(self.space, self.cost_model)
        first = {d.name: d.options[0] for d in self.space.decisions}
        with error_context("the search space's decode"):
            self.cost_model.costs(self.space.decode(first))  # refuses what is not known of it
        check_feasible(self.objective, counter, config.space)
        self.problem = Problem(
            decisions=self.space.decisions,
            objective=self.objective,
            costs=counter,
            prior=None if config.prior is None else _prior(config.prior, self.space),
        )
        if self.check is not None:
            # One that knows recorded networks only says so here, before a folder is made.
            options = {d.name: d.options[0] for d in self.space.decisions}
            network = self.space.decode(options)
            next(iter(self.evaluator.evaluate(network, seed=0)))
            if isinstance(network, Architecture):
                self.trainer = as_evaluator(plugins.load("evaluators", TRAINING), data=None)

    def controller(self) -> Controller:
        """A controller that knows nothing yet."""
        made: Controller = plugins.make(
            self._controller, self.config.controller, problem=self.problem
        )
        return made

    def random_controller(self) -> Controller:
        """What a search has to be better than."""
        made: Controller = plugins.load("controllers", "random_search")(self.problem)
        return made

    def is_feasible(self, network: Network) -> bool:
        """Return whether a network keeps the target and all limits."""
        return self.objective.is_feasible(self.cost_model.costs(network))

    def baselines(self) -> list[Architecture]:
        """The fixed baselines within the constraints, each as wide as it then can be."""
        found = []
        for name in _BASELINES:
            network = replace(
                published.architecture(name),
                resolution=self.config.resolution,
                num_classes=self.config.num_classes or 1000,
            )
            with contextlib.suppress(UsageError):  # none so small
                found.append(widest(network, self.is_feasible))
        return found

    def warm_start(self) -> tuple[list[Choices], list[Trial]]:
        """What the search begins with: choices to try first, trials of earlier runs."""
        return warm_start(
            self.config.start_from, self.space, self.objective, self.cost_model, self.recorded
        )

    @property
    def recorded(self) -> dict[str, Any]:
        """The configuration as config.json holds it, with the content of the user's own files."""
        recorded = asdict(self.config) | {"start_from": list(self.config.start_from)}
        if self.cost_model.latency_table is not None:
            recorded["latency_table_sha256"] = self.cost_model.latency_table.sha256
        return recorded | content_hashes(recorded, _NAMES, self.evaluator)


def _least(*bounds: float | None) -> float | None:
    return min((bound for bound in bounds if bound is not None), default=None)


def _recorded(config: RunConfig) -> bool:
    """Whether the recorded ImageNet trainings know what is asked for."""
    return (
        config.data is None
        and config.proxy is None
        and config.space == "efficientnet"
        and config.resolution == 224
        and config.num_classes in (None, 1000)
    )


def _with_rungs(evaluator: Evaluator, config: RunConfig) -> Evaluator:
    stoppable = None
    if isinstance(evaluator, SupportsIntermediateReports):
        stoppable = evaluator.with_intermediate_reports(REDUCTION)
    if stoppable is None:
        raise UsageError(
            f"early_stopping {config.early_stopping!r} with evaluator {config.evaluator!r}, which "
            "has no rungs to stop at; allowed: one that has, as proxy_training with "
            f"{REDUCTION} epochs or more"
        )
    return stoppable


def _prior(name: str, space: SearchSpace) -> BatchAccuracy:
    evaluator = as_evaluator(plugins.load("evaluators", name), data=None)
    predictor = None
    if isinstance(evaluator, SupportsBatchPrediction):
        predictor = evaluator.predictor(space)
    if predictor is None:
        raise UsageError(
            f"prior {name!r} has no predictions for this search space; allowed: an evaluator that "
            "has, as accel_nasbench for the space 'efficientnet'"
        )
    return predictor


def _classes(config: RunConfig, evaluator: Evaluator) -> int:
    """The user's own data says how many classes are deployed; the embedded digits do not."""
    if config.data in (None, DEFAULT_DATA):
        return 1000
    return evaluator.num_classes if isinstance(evaluator, SupportsTraining) else 1000
