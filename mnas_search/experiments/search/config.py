"""A run's configuration with every name resolved and checked."""

import contextlib
from collections.abc import Callable, Mapping
from dataclasses import asdict, replace
from typing import Any

from threadpoolctl import threadpool_limits

from mnas_search.architecture import published
from mnas_search.architecture.adaptation import lite
from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.cost.latency import LatencyTable
from mnas_search.architecture.scaling import widest
from mnas_search.architecture.traced_network import Network
from mnas_search.architecture.value import Architecture
from mnas_search.common import plugins
from mnas_search.common.errors import UsageError, error_context
from mnas_search.common.machine import cpu_count
from mnas_search.evaluators.defaults import DEFAULT_DATA, EVIDENCE, TRAINING
from mnas_search.evaluators.function import as_evaluator
from mnas_search.experiments.deployment import find_deployment
from mnas_search.experiments.experiment import content_hashes
from mnas_search.experiments.resolve import labelled
from mnas_search.experiments.search.checks import NONE, PLUGINS, RANDOM
from mnas_search.experiments.search.options import RunConfig
from mnas_search.experiments.search.prior.plan import PriorPlan
from mnas_search.experiments.search.prior.readings import Readings
from mnas_search.experiments.search.prior.source import (
    NearTarget,
    PriorSource,
    is_trained,
)
from mnas_search.experiments.search.stages.baseline_comparison import Baseline
from mnas_search.experiments.search.warm_start import warm_start
from mnas_search.nas.asha import REDUCTION
from mnas_search.nas.controller import Controller, load_controller
from mnas_search.nas.evaluator import (
    Evaluator,
    SupportsBatchPrediction,
    SupportsIntermediateReports,
    SupportsTraining,
    check_space,
    for_space,
    independent_pair,
    validation_images,
    with_test_split,
)
from mnas_search.nas.objective import Objective
from mnas_search.nas.problem import Problem, check_feasible
from mnas_search.nas.space.choices import Choices
from mnas_search.nas.space.contract import BatchAccuracy, SearchSpace, first_network
from mnas_search.nas.space.cost import space_cost
from mnas_search.nas.space.cost_model import CostModel
from mnas_search.nas.space.mapped import map_space
from mnas_search.nas.surrogate.predictor import Predictor
from mnas_search.nas.trial import Trial
from mnas_search.networks.weights.pretrained import Pretrained, load_pretrained
from mnas_search.training.recipe import MAX_PROXY_EPOCHS, ProxyRecipe

# What users would take without a search; a winner has to beat the first.
_BASELINES = ("efficientnet_b0", "mobilenet_v2", "mnasnet_a1")
# Predictions cost nothing; trained candidates cost seconds each.
_TRIALS_PREDICTED, _TRIALS_TRAINED = 200, 48
# With a prior that is trained, there are fewer and longer trainings, in about the same time: 12
# candidates, 2 replicates and 24 trainings of the comparison, twice as long, instead of 48, 8 and
# 24. Beside 25 full trainings and more, a prior adds nothing.
_TRIALS_WITH_PRIOR, _LONGER_WITH_PRIOR = 12, 2


class Setup:
    """A configuration with all its names resolved and checked.

    Attributes:
        config: with nothing left open.
        evaluator: the search's.
        check: scores finalists by other evidence, if the search is by predictions.
        trainer: trains such finalists, if they are chains of stages.
        tested: trains the best candidates and the baselines at the end, if the search trains on
            data with a test split.
        prior: what is trained before the search, as its prior; None where nothing is.
        readings: what it has read, once it is trained.
        notes: sentences on the deployment resolution and the strides.
        pretrained: what every network starts from; None for random weights.
    """

    def __init__(
        self,
        config: RunConfig,
        table_of: Callable[[SearchSpace], LatencyTable] | None = None,
        begun: Mapping[str, Any] | None = None,
        *,
        evaluates: bool = True,
    ) -> None:
        """Resolve and check.

        Args:
            table_of: gives the table of latencies for the space, where latency is bounded.
            begun: the configuration of the folder that is resumed or read.
            evaluates: whether networks will be evaluated, for which the evaluator has to be the
                space's, and both have to suit each other.
        """
        self.pretrained = None if config.init is None else load_pretrained(config.init)
        self._lite = config.lite
        place = find_deployment(
            config.space,
            config.data,
            config.resolution,
            pretrained=None if self.pretrained is None else _affordable(config, self.pretrained),
            recorded=begun,
        )
        config, self._deployment = replace(config, resolution=place.resolution), place
        name = config.evaluator or (EVIDENCE if _has_evidence(config) else TRAINING)
        config = replace(config, evaluator=name)
        loaded = plugins.load("evaluators", name)

        def make(proxy: str | None) -> Evaluator:
            return as_evaluator(
                loaded,
                data=config.data,
                proxy=proxy,
                init=self.pretrained,
                deployment=place.of_proxies,
            )

        found = make(config.proxy)
        trains_prior = config.prior is not None and is_trained(config.prior)
        if trains_prior and (longer := _longer_proxy(found, config)) is not None:
            config, found = replace(config, proxy=longer), make(longer)
        if config.early_stopping is not None:
            found = _with_reports(found, config)
        self.evaluator: Evaluator = found
        self.check: Evaluator | None = None
        if (pair := independent_pair(found)) is not None:
            self.evaluator, self.check = pair
        self.trainer: Evaluator | None = None
        self.tested: Evaluator | None = None
        if config.baseline != NONE:
            self.tested = with_test_split(found)
        if config.baseline == RANDOM and self.tested is None:
            raise UsageError(
                f"baseline {RANDOM!r} requires an evaluator that trains on data with a "
                f"test split, such as proxy_training, got {config.evaluator!r}"
            )
        predicted = self.evaluator.resources is None
        in_process = predicted and self.check is None and not trains_prior
        workers = 0 if in_process else cpu_count()
        trained = _TRIALS_WITH_PRIOR if trains_prior else _TRIALS_TRAINED
        defaults: dict[str, Any] = {
            "num_classes": _classes(config, self.evaluator),
            "workers": workers,
            "trials": _TRIALS_PREDICTED if predicted else trained,
        }
        config = replace(
            config, **{n: v for n, v in defaults.items() if getattr(config, n) is None}
        )
        self.space = place.make_space(config.num_classes)
        if self.pretrained is not None or config.lite:
            self.space = map_space(self.space, self._styled)
        self.space, self.notes = place.adapt_space(self.space)
        controller = load_controller(config.controller)
        if config.prior is not None and not controller.uses_prior:
            raise UsageError(
                f"prior {config.prior!r} requires a controller that uses it, such as bayesian, "
                f"got {config.controller!r}"
            )
        if evaluates:
            self.evaluator = for_space(self.evaluator, self.space)
            check_space(self.evaluator, self.space)
        self._controller = controller
        self.prior = PriorSource(config, self.space, place.of_proxies) if trains_prior else None
        self.readings: Readings | None = None
        prior = None if trains_prior else _prior(config, self.space)
        latency = None  # after what can be refused without it: to build a table takes minutes
        if config.target_latency is not None:
            if table_of is None:
                raise UsageError("a target latency requires table_of")
            latency = table_of(self.space)
        (metric, target), *others = config.targets.items()
        limits = {f"max_{name}": bound for name, bound in others}
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
        first = first_network(self.space)
        with error_context("counting the search space"):
            counter = space_cost(self.space, self.cost_model)
            self.cost_model.costs(first)  # refuses what is not known of it
        check_feasible(self.objective, counter, config.space)
        self.problem = Problem(
            decisions=self.space.decisions,
            objective=self.objective,
            costs=counter,
            prior=prior,
            blocks=counter.blocks,
            validation_images=validation_images(self.evaluator),
        )
        if plugins.has_content(self.config.controller):
            self.controller()  # one that cannot be made says so before a folder is made
        if self.check is not None:
            # An evaluator that knows recorded networks only says so before a folder is made.
            next(iter(self.evaluator.evaluate(first, seed=0)))
            if isinstance(first, Architecture):
                self.trainer = as_evaluator(plugins.load("evaluators", TRAINING), data=None)

    def plan_prior(self) -> PriorPlan:
        """Return the plan of the prior that is trained; steps are measured, once."""
        assert self.prior is not None
        return self.prior.plan(self.config, self.problem, self.near_target)

    @property
    def near_target(self) -> NearTarget:
        """Which networks a prior is trained on."""
        return NearTarget(objective=self.objective, cost_model=self.cost_model)

    def take_readings(self, readings: Readings) -> None:
        """Make the search's prior from what the trained members have read."""
        self.readings = readings
        with threadpool_limits(1):
            prior = Predictor.fit(self.problem, readings.codes, readings.mean)
        self.problem = replace(self.problem, prior=prior)

    def controller(self) -> Controller:
        """Return a new controller, without history."""
        name = self.config.controller
        made: Controller = plugins.make(self._controller, name, problem=self.problem)
        return made

    def random_controller(self) -> Controller:
        """Return a new controller that draws at random."""
        made: Controller = plugins.load("controllers", "random_search")(self.problem)
        return made

    def is_feasible(self, network: Network) -> bool:
        """Return whether a network keeps the target and all limits."""
        return self.objective.is_feasible(self.cost_model.costs(network))

    def baselines(self) -> list[Baseline]:
        """Return the pretrained network, if any, and the fixed baselines, each as wide as the
        constraints allow."""
        found = []
        for name in _BASELINES:
            base = published.architecture(name)
            network = replace(
                self._deployment.of(base), num_classes=self.config.num_classes or 1000
            )
            network = self._styled(network)
            with contextlib.suppress(UsageError):  # no width is within the constraints
                network = widest(network, self.is_feasible)
                if self._deployment.adapts:
                    network = labelled(network, base)
                found.append(Baseline(network=network))
        if self.pretrained is not None:
            own = self.pretrained.largest(self.is_feasible, self.config.num_classes or 1000)
            if own is not None and (not self._lite or own == lite(own)):
                found.insert(0, Baseline(network=own, weights=self.config.init))
        return found

    def _styled(self, network: Architecture) -> Architecture:
        """Return a network with the settings of the pretrained weights, and without what `--lite`
        leaves out."""
        if self.pretrained is not None:
            network = self.pretrained.style(network)
        return lite(network) if self._lite else network

    def warm_start(self) -> tuple[list[Choices], list[Trial]]:
        """Return choices to try first, and trials of earlier runs."""
        texts, recorded = self.config.start_from, self.recorded
        return warm_start(texts, self.space, self.objective, self.cost_model, recorded)

    @property
    def recorded(self) -> dict[str, Any]:
        """The configuration as config.json holds it, with hashes of the user's own files."""
        recorded = asdict(self.config) | {"start_from": list(self.config.start_from)}
        recorded |= self._deployment.recorded
        if self.cost_model.latency_table is not None:
            recorded["latency_table_sha256"] = self.cost_model.latency_table.sha256
        if self.pretrained is not None:
            recorded["init_sha256"] = self.pretrained.sha256
        return recorded | content_hashes(recorded, PLUGINS, self.evaluator)


def _affordable(config: RunConfig, pretrained: Pretrained) -> int:
    """Return the largest resolution at which the pretrained network has the target's FLOPs or
    fewer; its own if there is none, or no target for FLOPs."""
    target = config.target_flops or float("inf")
    classes = config.num_classes or 1000
    found = pretrained.largest(lambda network: cost(network).macs <= target, classes)
    return (found or pretrained.architecture).resolution


def _least(*bounds: float | None) -> float | None:
    return min((bound for bound in bounds if bound is not None), default=None)


def _has_evidence(config: RunConfig) -> bool:
    """Return whether the recorded ImageNet trainings cover the configuration."""
    return (
        config.data is None
        and config.init is None
        and not config.lite
        and config.proxy is None
        and config.space == "efficientnet"
        and config.resolution == 224
        and config.num_classes in (None, 1000)
    )


def _with_reports(evaluator: Evaluator, config: RunConfig) -> Evaluator:
    if isinstance(evaluator, SupportsIntermediateReports):
        if (stoppable := evaluator.with_intermediate_reports(REDUCTION)) is not None:
            return stoppable
    raise UsageError(
        f"early_stopping {config.early_stopping!r} requires an evaluator with intermediate "
        f"reports, such as proxy_training with {REDUCTION} epochs or more, got "
        f"{config.evaluator!r}"
    )


def _longer_proxy(evaluator: Evaluator, config: RunConfig) -> str | None:
    """Return the changes that make the default proxies longer; None where these are not used."""
    recipe = evaluator.recipe if isinstance(evaluator, SupportsTraining) else None
    if config.proxy is not None or not isinstance(recipe, ProxyRecipe):
        return None
    epochs = recipe.training.epochs
    return f"epochs={max(epochs, min(MAX_PROXY_EPOCHS, _LONGER_WITH_PRIOR * epochs))}"


def _prior(config: RunConfig, space: SearchSpace) -> BatchAccuracy | None:
    if (name := config.prior) is None:
        return None
    for option in ("prior_time", "prior_recipe"):
        if getattr(config, option) is not None:
            raise UsageError(
                f"{option} requires a prior that is trained, such as supernet, got {name!r}"
            )
    evaluator = as_evaluator(plugins.load("evaluators", name), data=None)
    if isinstance(evaluator, SupportsBatchPrediction):
        if (predictor := evaluator.predictor(space)) is not None:
            return predictor
    raise UsageError(
        "prior must be an evaluator with predictions for this search space, such as "
        f"accel_nasbench for the space 'efficientnet', got {name!r}"
    )


def _classes(config: RunConfig, evaluator: Evaluator) -> int:
    """Return the number of deployed classes: that of the user's own data, else ImageNet's."""
    if config.data in (None, DEFAULT_DATA):
        return 1000
    return evaluator.num_classes if isinstance(evaluator, SupportsTraining) else 1000
