"""The networks of a fidelity study, and the recipes that measure them."""

import itertools
import math
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from mnas_search.architecture.cost.base import Cost
from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.cost.latency.table import read_table
from mnas_search.architecture.traced_network import Network
from mnas_search.common import plugins
from mnas_search.common.errors import UnknownName, UsageError
from mnas_search.evaluators.function import as_evaluator
from mnas_search.experiments.deployment import Deployment, find_deployment
from mnas_search.experiments.fidelity.config import FidelityConfig
from mnas_search.nas.core import training_seed
from mnas_search.nas.evaluator import (
    Evaluator,
    SupportsTabularResults,
    SupportsTraining,
    TabularResults,
    check_space,
    for_space,
    is_noisy,
)
from mnas_search.nas.problem import Problem, check_feasible
from mnas_search.nas.space.choices import Codes, decode, sample_codes
from mnas_search.nas.space.contract import SearchSpace
from mnas_search.nas.space.cost import space_cost
from mnas_search.nas.space.cost_model import CostModel
from mnas_search.training.recipe import ProxyRecipe

DEFAULT = "default"  # name of the unchanged recipe
_PATIENCE = 1_000  # draws in a row that repeat earlier networks
_MIN_WIDTH = 0.125  # at which spaces with widths in multiples of 8 keep their options apart
_MISSES, _BATCH = 100_000, 1_000  # draws in a row beyond a target; draws that are counted together
_LONGER = 3  # the default reference has this multiple of the default recipe's epochs


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedRecipe:
    """A way to measure networks: a proxy, or a reference that is trained."""

    name: str  # the changes to the default recipe, or the evaluator's name
    key: str  # the whole recipe, which identifies its trainings; without one, the name
    evaluator: Evaluator
    # a reference's seeds are odd, a proxy's even, since a common initialisation or order of the
    # images would make the two agree
    reference: bool
    repeats: int  # measurements of each network

    def seeds(self, seed: int, fingerprint: str) -> tuple[int, ...]:
        """Return the seeds of a network's trainings."""
        return tuple(
            training_seed(seed, fingerprint, repeat=k) & ~1 | self.reference
            for k in range(self.repeats)
        )


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """A reference with recorded results; `accuracy` is that of the plan's networks [N]."""

    name: str
    results: TabularResults
    accuracy: NDArray[np.float64]


Reference = ComparedRecipe | Records


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Distinct networks with their costs at deployment, and the proxies and references."""

    config: FidelityConfig  # the options, all of them filled in
    networks: tuple[Network, ...]
    costs: tuple[Cost, ...]
    proxies: tuple[ComparedRecipe, ...]
    references: tuple[Reference, ...]
    evaluator: Evaluator  # of the default recipe
    deployment: Deployment
    notes: tuple[str, ...]  # on the deployment

    @property
    def recorded(self) -> dict[str, Any]:
        """The options as config.json holds them."""
        own = {"networks_of": self.networks_of} | self.deployment.recorded
        return self.config.recorded(self.evaluator) | own

    @property
    def recipes(self) -> tuple[ComparedRecipe, ...]:
        """All that train; references first, since their trainings are the longest."""
        return (*(r for r in self.references if isinstance(r, ComparedRecipe)), *self.proxies)

    @property
    def networks_of(self) -> str:
        """The origin of the networks: the reference that recorded them, or the space."""
        return next((r.name for r in self.references if isinstance(r, Records)), "the space")


def make_plan(config: FidelityConfig, begun: Mapping[str, Any] | None = None) -> Plan:
    """Resolve all names and draw the networks; `begun` is the configuration of the folder that is
    resumed."""
    assert config.space is not None and config.evaluator is not None
    place = find_deployment(config.space, config.data, config.resolution, recorded=begun)
    target = plugins.load("evaluators", config.evaluator)

    def make(recipe: str | None) -> Evaluator:
        return as_evaluator(target, data=config.data, proxy=recipe, deployment=place.of_proxies)

    plain = make(None)
    classes = plain.num_classes if isinstance(plain, SupportsTraining) else None
    space = place.make_space(classes if place.adapts else None)
    space, notes = place.adapt_space(space)
    if place.adapts:
        config = replace(config, resolution=place.resolution)
    usual = _proxy_recipe(plain)
    config = _with_defaults(config, usual)

    def proxy(text: str) -> ComparedRecipe:
        name, changes = split_recipe(text)
        if name is None:
            return _training_recipe(text, make, usual, config)
        return _other_evaluator(name, changes, config, place.of_proxies)

    proxies = [proxy(text) for text in config.proxies]
    references: list[Reference] = [
        _training_recipe(text, make, usual, config, reference=True)
        if "=" in text and not plugins.is_file_reference(text)
        else _evaluator_reference(text, config, space)
        for text in config.references
    ]
    proxies = [_for_space(proxy, space) for proxy in proxies]
    references = [
        _for_space(reference, space) if isinstance(reference, ComparedRecipe) else reference
        for reference in references
    ]
    records = [reference for reference in references if isinstance(reference, Records)]
    if len(records) > 1:
        raise UsageError(
            "at most one reference may bring networks of its own, got "
            f"{records[0].name!r} and {records[1].name!r}"
        )
    drawn = _drawn(space, records[0].results if records else None, config)
    networks, accuracy = _draw_networks(space, drawn, config)
    return Plan(
        config=config,
        networks=networks,
        costs=tuple(map(cost, networks)),
        proxies=tuple({proxy.key: proxy for proxy in proxies}.values()),
        references=tuple(
            replace(r, accuracy=accuracy) if isinstance(r, Records) else r for r in references
        ),
        evaluator=plain,
        deployment=place,
        notes=notes,
    )


def default_proxies(usual: ProxyRecipe) -> tuple[str, ...]:
    """Return recipes that are each cheaper than the usual one in one respect, and the usual."""
    epochs, resolution = usual.training.epochs, usual.resolution
    texts = (
        f"epochs={math.ceil(epochs / 5)}",
        f"epochs={math.ceil(2 * epochs / 5)}",
        f"resolution={max(4, resolution // 2)}",
        f"width={max(_MIN_WIDTH, usual.width / 2):g}",
        f"fraction={usual.fraction / 2:g}",
    )
    return (*(t for t in texts if usual.override(t) != usual), DEFAULT)


def _with_defaults(config: FidelityConfig, usual: ProxyRecipe | None) -> FidelityConfig:
    if config.proxies and config.references:
        return config
    if usual is None:
        missing = "reference" if config.proxies else "proxy"
        raise UsageError(f"evaluator {config.evaluator!r} requires at least one --{missing}")
    longer = f"epochs={_LONGER * usual.training.epochs}"
    return replace(
        config,
        proxies=config.proxies or default_proxies(usual),
        references=config.references or (longer,),
    )


def _proxy_recipe(evaluator: Evaluator) -> ProxyRecipe | None:
    recipe = evaluator.recipe if isinstance(evaluator, SupportsTraining) else None
    return recipe if isinstance(recipe, ProxyRecipe) else None


def _training_recipe(
    text: str,
    make: Callable[[str | None], Evaluator],
    usual: ProxyRecipe | None,
    config: FidelityConfig,
    *,
    reference: bool = False,
) -> ComparedRecipe:
    name = key = text.strip() or DEFAULT
    evaluator = make(None if name == DEFAULT else text)
    own = _proxy_recipe(evaluator)
    if usual is not None and own is not None:
        words = zip(own.text.split(","), usual.text.split(","), strict=True)
        name = ",".join(word for word, old in words if word != old) or DEFAULT
        key = own.text
    return _compared_recipe(name, key, evaluator, config, reference=reference)


def split_recipe(text: str) -> tuple[str | None, str]:
    """Return the evaluator that a proxy names, if it does, and the changes to its recipe; as in
    `supernet,steps=800`."""
    first, _, changes = text.strip().partition(",")
    named = any(plugin.name == first for plugin in plugins.installed("evaluators"))
    return (first, changes) if named else (None, text)


def _other_evaluator(
    name: str, changes: str, config: FidelityConfig, deployment: int | None
) -> ComparedRecipe:
    target = plugins.load("evaluators", name)
    evaluator = as_evaluator(
        target, data=config.data, proxy=changes or None, deployment=deployment
    )
    recipe = evaluator.recipe if isinstance(evaluator, SupportsTraining) else changes
    text = f"{name},{changes}" if changes else name
    return _compared_recipe(text, f"{name}: {recipe}", evaluator, config, reference=False)


def _for_space(recipe: ComparedRecipe, space: SearchSpace) -> ComparedRecipe:
    evaluator = for_space(recipe.evaluator, space)
    check_space(evaluator, space)
    return replace(recipe, evaluator=evaluator)


def _compared_recipe(
    name: str, key: str, evaluator: Evaluator, config: FidelityConfig, *, reference: bool
) -> ComparedRecipe:
    assert config.seeds is not None
    repeats = config.seeds if is_noisy(evaluator) else 1
    return ComparedRecipe(
        name=name, key=key, evaluator=evaluator, reference=reference, repeats=repeats
    )


def _evaluator_reference(name: str, config: FidelityConfig, space: SearchSpace) -> Reference:
    try:
        target: Any = plugins.load("evaluators", name)
    except UnknownName as error:
        raise UnknownName(f"reference: {error}, or a recipe such as epochs=15") from None
    takes_data = isinstance(target, type) and "data" in plugins.parameters(target)
    evaluator = as_evaluator(target, data=config.data if takes_data else None)
    if isinstance(evaluator, SupportsTabularResults):
        results = evaluator.tabular_results(space)
        if results is not None:
            return Records(name=name, results=results, accuracy=np.empty(0))
    if evaluator.resources is None:
        # An evaluator that cannot take such networks says so here, before a folder is made.
        network = space.decode({d.name: d.options[0] for d in space.decisions})
        next(iter(evaluator.evaluate(network, seed=0)))
    return _compared_recipe(name, name, evaluator, config, reference=True)


def _draw_networks(
    space: SearchSpace, drawn: Iterator[tuple[Codes, float]], config: FidelityConfig
) -> tuple[tuple[Network, ...], NDArray[np.float64]]:
    """Take distinct networks with their recorded accuracies [N]; more begin with the same."""
    count = config.architectures
    found: dict[str, tuple[Network, float]] = {}
    repeated = 0
    for codes, accuracy in drawn:
        network = space.decode(decode(space.decisions, codes))
        repeated = repeated + 1 if network.fingerprint in found else 0
        found.setdefault(network.fingerprint, (network, accuracy))
        if len(found) == count or repeated == _PATIENCE:
            break
    if len(found) != count:
        raise UsageError(f"architectures must be at most {len(found)}, all there are, got {count}")
    networks, accuracies = zip(*found.values(), strict=True)
    return networks, np.array(accuracies)


def _drawn(
    space: SearchSpace, results: TabularResults | None, config: FidelityConfig
) -> Iterator[tuple[Codes, float]]:
    """Yield random codes within the targets, with recorded accuracies where there are any."""
    objective, rng = config.objective, np.random.default_rng(config.seed)
    everything = _all_drawn(space, results, rng)
    if objective is None:
        return everything
    table = None if config.latency_table is None else read_table(Path(config.latency_table))
    model = CostModel(metrics=tuple(objective.bounds), latency_table=table)
    counter = space_cost(space, model)
    check_feasible(objective, counter, str(config.space))
    asked = Problem(decisions=space.decisions, objective=objective, costs=counter)
    return _feasible(everything, asked)


def _feasible(
    drawn: Iterator[tuple[Codes, float]], problem: Problem
) -> Iterator[tuple[Codes, float]]:
    """Yield those within the targets; end after 100,000 in a row that are not."""
    missed = 0
    while missed < _MISSES and (batch := list(itertools.islice(drawn, _BATCH))):
        kept = problem.is_feasible(np.array([codes for codes, _ in batch]))
        missed = 0 if kept.any() else missed + len(batch)
        yield from itertools.compress(batch, kept)


def _all_drawn(
    space: SearchSpace, results: TabularResults | None, rng: np.random.Generator
) -> Iterator[tuple[Codes, float]]:
    if results is None:
        for _ in itertools.count():
            yield sample_codes(space.decisions, 1, rng)[0], math.nan
    else:
        for row in rng.permutation(len(results.codes)):
            yield results.codes[row], float(results.accuracy[row])
