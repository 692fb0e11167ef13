"""Which networks are measured, and by what."""

import inspect
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, final

import numpy as np
from numpy.typing import NDArray

from mnas_search.architecture.cost.base import Cost
from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.traced_network import Network
from mnas_search.common import plugins
from mnas_search.common.errors import UnknownName, UsageError
from mnas_search.evaluators.function import as_evaluator
from mnas_search.experiments.fidelity.config import FidelityConfig
from mnas_search.nas.core import training_seed
from mnas_search.nas.evaluator import (
    Evaluator,
    SupportsTabularResults,
    SupportsTraining,
    TabularResults,
    is_noisy,
)
from mnas_search.nas.space.choices import Codes, decode, sample_codes
from mnas_search.nas.space.contract import SearchSpace, make_space
from mnas_search.training.recipe import ProxyRecipe

DEFAULT = "default"  # what the recipe is called that nothing is changed in
_PATIENCE = 1_000  # networks that were drawn before, in a row
_LONGER = 3  # times the epochs of the default recipe: the default reference


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class ComparedRecipe:
    """A way to measure networks: a proxy, or a reference that is trained.

    Attributes:
        name: what was changed in the default recipe, or an evaluator's name.
        key: the whole recipe, by which trainings are found again; the name where it has none.
        evaluator: measures.
        reference: whether it is one. Its seeds are odd, a proxy's are even: a common
            initialisation or order of the images would make the two agree.
        repeats: how often each network is measured.
    """

    name: str
    key: str
    evaluator: Evaluator
    reference: bool
    repeats: int

    def seeds(self, seed: int, fingerprint: str) -> tuple[int, ...]:
        """Of the trainings of a network."""
        return tuple(
            training_seed(seed, fingerprint, repeat=k) & ~1 | self.reference
            for k in range(self.repeats)
        )


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Records:
    """A reference whose results exist already.

    Attributes:
        name: of the evaluator that knows it.
        accuracy: of the plan's networks [N].
        std: between two trainings of one network; None where unknown.
        note: what it is.
    """

    name: str
    accuracy: NDArray[np.float64]
    std: float | None
    note: str


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """Networks, proxies and references.

    Attributes:
        config: with nothing left open.
        networks: all different.
        costs: of each, at deployment.
        proxies: what is compared.
        references: what it is compared with.
        evaluator: the default recipe's.
    """

    config: FidelityConfig
    networks: tuple[Network, ...]
    costs: tuple[Cost, ...]
    proxies: tuple[ComparedRecipe, ...]
    references: tuple[ComparedRecipe | Records, ...]
    evaluator: Evaluator

    @property
    def recorded(self) -> dict[str, Any]:
        """The options as config.json holds them."""
        return self.config.recorded(self.evaluator) | {"networks_of": self.networks_of}

    @property
    def recipes(self) -> tuple[ComparedRecipe, ...]:
        """All that measure, references first: the long trainings are not left to the end."""
        return (*(r for r in self.references if isinstance(r, ComparedRecipe)), *self.proxies)

    @property
    def networks_of(self) -> str:
        """Where the networks come from: the reference that has records of them, or the space."""
        return next((r.name for r in self.references if isinstance(r, Records)), "the space")


def make_plan(config: FidelityConfig) -> Plan:
    """Resolve every name and draw the networks."""
    assert config.space is not None and config.evaluator is not None
    space = make_space(config.space)
    target = plugins.load("evaluators", config.evaluator)

    def by_recipe(text: str | None) -> Evaluator:
        return as_evaluator(target, data=config.data, proxy=text)

    plain = by_recipe(None)
    usual = plain.recipe if isinstance(plain, SupportsTraining) else None
    usual = usual if isinstance(usual, ProxyRecipe) else None
    config = _with_defaults(config, usual)
    assert config.architectures is not None  # nothing is open any more
    proxies = {
        j.key: j for j in (_training_recipe(t, by_recipe, usual, config) for t in config.proxies)
    }
    references: list[ComparedRecipe | tuple[str, TabularResults]] = []
    for text in config.references:
        if "=" in text and not plugins.is_file_reference(text):
            references.append(_training_recipe(text, by_recipe, usual, config, reference=True))
        else:
            references.append(_named(text, config, space))
    pool = [found for found in references if not isinstance(found, ComparedRecipe)]
    if len(pool) > 1:
        raise UsageError(
            "at most one reference may bring networks of its own, got "
            f"{pool[0][0]!r} and {pool[1][0]!r}"
        )
    rng = np.random.default_rng(config.seed)
    drawn: Iterator[tuple[Codes, float]]
    if pool:
        rows = rng.permutation(len(pool[0][1].codes))
        drawn = ((pool[0][1].codes[row], float(pool[0][1].accuracy[row])) for row in rows)
    else:
        drawn = _uniform(space, rng)
    networks, accuracy = _distinct(space, drawn, config.architectures)
    return Plan(
        config=config,
        networks=networks,
        costs=tuple(map(cost, networks)),
        proxies=tuple(proxies.values()),
        references=tuple(
            r
            if isinstance(r, ComparedRecipe)
            else Records(name=r[0], accuracy=accuracy, std=r[1].std, note=r[1].note)
            for r in references
        ),
        evaluator=plain,
    )


def default_proxies(usual: ProxyRecipe) -> tuple[str, ...]:
    """Recipes cheaper than the usual one, each in one respect; and itself."""
    epochs, resolution = usual.training.epochs, usual.resolution
    texts = (
        f"epochs={math.ceil(epochs / 5)}",
        f"epochs={math.ceil(2 * epochs / 5)}",
        f"resolution={max(4, resolution // 2)}",
        f"width={usual.width / 2:g}",
        f"fraction={usual.fraction / 2:g}",
    )
    return (*(t for t in texts if usual.override(t) != usual), DEFAULT)


def _with_defaults(config: FidelityConfig, usual: ProxyRecipe | None) -> FidelityConfig:
    if usual is None and not (config.proxies and config.references):
        missing = "reference" if config.proxies else "proxy"
        raise UsageError(f"evaluator {config.evaluator!r} requires at least one --{missing}")
    if usual is not None and not config.proxies:
        config = replace(config, proxies=default_proxies(usual))
    if usual is not None and not config.references:
        longer = f"epochs={_LONGER * usual.training.epochs}"
        config = replace(config, references=(longer,))
    return config


def _training_recipe(
    text: str,
    make: Callable[[str | None], Evaluator],
    usual: ProxyRecipe | None,
    config: FidelityConfig,
    *,
    reference: bool = False,
) -> ComparedRecipe:
    evaluator = make(None if text.strip() in ("", DEFAULT) else text)
    name = key = text.strip() or DEFAULT
    own = evaluator.recipe if isinstance(evaluator, SupportsTraining) else None
    if usual is not None and isinstance(own, ProxyRecipe):
        words = zip(own.text.split(","), usual.text.split(","), strict=True)
        name = ",".join(word for word, old in words if word != old) or DEFAULT
        key = own.text
    return ComparedRecipe(
        name=name,
        key=key,
        evaluator=evaluator,
        reference=reference,
        repeats=_repeats(evaluator, config),
    )


def _repeats(evaluator: Evaluator, config: FidelityConfig) -> int:
    assert config.seeds is not None
    return config.seeds if is_noisy(evaluator) else 1


def _named(
    name: str, config: FidelityConfig, space: SearchSpace
) -> ComparedRecipe | tuple[str, TabularResults]:
    """Return a reference that is an evaluator."""
    try:
        target: Any = plugins.load("evaluators", name)
    except UnknownName as error:
        raise UnknownName(f"reference: {error}, or a recipe such as epochs=15") from None
    takes_data = isinstance(target, type) and "data" in inspect.signature(target).parameters
    evaluator = as_evaluator(target, data=config.data if takes_data else None)
    if isinstance(evaluator, SupportsTabularResults):
        recorded = evaluator.tabular_results(space)
        if recorded is not None:
            return name, recorded
    if evaluator.resources is None:
        # One that cannot take such networks says so here, before a folder is made.
        network = space.decode({d.name: d.options[0] for d in space.decisions})
        next(iter(evaluator.evaluate(network, seed=0)))
    return ComparedRecipe(
        name=name,
        key=name,
        evaluator=evaluator,
        reference=True,
        repeats=_repeats(evaluator, config),
    )


def _uniform(space: SearchSpace, rng: np.random.Generator) -> Iterator[tuple[Codes, float]]:
    while True:
        yield sample_codes(space.decisions, 1, rng)[0], math.nan


def _distinct(
    space: SearchSpace, drawn: Iterator[tuple[Codes, float]], count: int
) -> tuple[tuple[Network, ...], NDArray[np.float64]]:
    """Return the first `count` different networks with what is recorded of them; a larger count
    begins with the same."""
    found: dict[str, tuple[Network, float]] = {}
    repeated = 0
    for codes, accuracy in drawn:
        network = space.decode(decode(space.decisions, codes))
        repeated = repeated + 1 if network.fingerprint in found else 0
        found.setdefault(network.fingerprint, (network, accuracy))
        if len(found) == count or repeated == _PATIENCE:
            break
    if len(found) < count:
        raise UsageError(f"architectures must be at most {len(found)}, all there are, got {count}")
    networks: Sequence[Network] = [network for network, _ in found.values()]
    return tuple(networks), np.array([accuracy for _, accuracy in found.values()])
