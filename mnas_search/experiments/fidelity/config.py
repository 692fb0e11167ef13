"""The options of a fidelity study."""

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any, Self

from mnas_search.common import plugins
from mnas_search.common.errors import UsageError
from mnas_search.data import loading
from mnas_search.experiments.experiment import ExperimentKind, content_hashes
from mnas_search.nas.evaluator import Evaluator

FIDELITY = ExperimentKind(
    command="fidelity",
    noun="fidelity study",
    parent="fidelity",
    journal="measurements.jsonl",
    may_grow=("architectures", "seeds", "proxies", "references"),
)
MIN_ARCHITECTURES = 4  # fewer have no rank correlation to speak of

DEFAULTS = {
    "data": None,
    "space": "efficientnet",
    "evaluator": "proxy_training",
    "architectures": 24,
    "seeds": 2,
    "seed": 0,
}
_FILES = ("data", "space", "evaluator")


@dataclass(frozen=True, slots=True, kw_only=True)
class FidelityConfig:
    """The options that decide which trainings are done; None and empty where not given.

    Attributes:
        data: what proxies are trained on; None for the evaluator's own default.
        space: where the architectures come from: a name, or `file.py:Name`.
        evaluator: what `proxies` are recipes of; it is constructed with `proxy=`.
        proxies: recipes to compare, as in `epochs=2`.
        references: what they are compared with: longer recipes, or names of evaluators.
        architectures: number of them.
        seeds: trainings of an architecture by each recipe.
        seed: of everything random.
    """

    data: str | None = None
    space: str | None = None
    evaluator: str | None = None
    proxies: tuple[str, ...] = ()
    references: tuple[str, ...] = ()
    architectures: int | None = None
    seeds: int | None = None
    seed: int | None = None

    def __post_init__(self) -> None:
        for name, low in {"architectures": MIN_ARCHITECTURES, "seeds": 1, "seed": 0}.items():
            value = getattr(self, name)
            if value is not None and (type(value) is not int or value < low):
                raise UsageError(f"{name} must be a whole number from {low}, got {value!r}")
        for name in _FILES:
            value = getattr(self, name)
            if value is not None:
                absolute = loading.absolute if name == "data" else plugins.absolute
                object.__setattr__(self, name, absolute(value))
        object.__setattr__(self, "references", tuple(map(plugins.absolute, self.references)))

    def over(self, recorded: Mapping[str, Any]) -> Self:
        """Fill in what is recorded in a folder, or the defaults; recipes and references add up."""
        settled: dict[str, Any] = {}
        for name, default in DEFAULTS.items():
            value = getattr(self, name)
            settled[name] = recorded.get(name, default) if value is None else value
        for name in ("proxies", "references"):
            settled[name] = tuple(dict.fromkeys([*recorded.get(name, ()), *getattr(self, name)]))
        return replace(self, **settled)

    def recorded(self, evaluator: Evaluator) -> dict[str, Any]:
        """Return the options as config.json holds them, with hashes of the user's own files."""
        values = asdict(self) | {
            "proxies": list(self.proxies),
            "references": list(self.references),
        }
        references = {name: name for name in self.references}
        hashes = content_hashes(values, _FILES, evaluator)
        return values | hashes | content_hashes(references, self.references)


def check_target(tau: float) -> None:
    """Raise `UsageError` for a tau that no proxy could reach, or every one."""
    if not (math.isfinite(tau) and 0 < tau <= 1):
        raise UsageError(f"tau must be above 0 and at most 1, got {tau:g}")
