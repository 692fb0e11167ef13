"""The options of a fidelity study."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

from mnas_search.architecture.cost.metrics import TARGETS
from mnas_search.common import plugins
from mnas_search.common.checks import check_integer
from mnas_search.data import loading
from mnas_search.experiments.experiment import ExperimentKind, content_hashes
from mnas_search.nas.evaluator import Evaluator
from mnas_search.nas.event_kinds import STATUS, TRAINING
from mnas_search.nas.objective import Objective

FIDELITY = ExperimentKind(
    command="fidelity",
    noun="fidelity study",
    parent="fidelity",
    journal="measurements.jsonl",
    events={"training": {**TRAINING, "status": STATUS}},
    may_grow=("architectures", "seeds", "proxies", "references"),
)
MIN_ARCHITECTURES = 4  # for a rank correlation

DEFAULTS: dict[str, Any] = {
    "data": None,
    "space": "efficientnet",
    "evaluator": "proxy_training",
    "architectures": 24,
    "seeds": 2,
    "seed": 0,
    **dict.fromkeys([f"target_{name}" for name in TARGETS]),
    "latency_table": None,
    "resolution": None,
}
_FILES = ("data", "space", "evaluator")
_MINIMA = {"architectures": MIN_ARCHITECTURES, "seeds": 1, "seed": 0, "resolution": 1}


@dataclass(frozen=True, slots=True, kw_only=True)
class FidelityConfig:
    """The options that decide which trainings are done; None and empty where not given."""

    data: str | None = None  # images that proxies are trained on; None for the evaluator's default
    # space, evaluator: a name, or `file.py:Name`; the evaluator is constructed with `proxy=`
    space: str | None = None
    evaluator: str | None = None
    proxies: tuple[str, ...] = ()  # recipes to compare, such as `epochs=2`
    # longer recipes, or names of evaluators, to compare them with
    references: tuple[str, ...] = ()
    architectures: int | None = None
    seeds: int | None = None  # trainings of each architecture by each recipe
    seed: int | None = None
    # as in a run; networks are drawn uniformly from those that keep all targets
    target_flops: float | None = None
    target_latency: float | None = None
    target_memory: float | None = None
    latency_table: str | None = None
    resolution: int | None = None  # of deployment; by default the data's own

    def __post_init__(self) -> None:
        for name, low in _MINIMA.items():
            if (value := getattr(self, name)) is not None:
                check_integer(name, value, low)
        for name in _FILES:
            if (value := getattr(self, name)) is not None:
                absolute = loading.absolute if name == "data" else plugins.absolute
                object.__setattr__(self, name, absolute(value))
        if self.latency_table is not None:
            object.__setattr__(self, "latency_table", str(Path(self.latency_table).resolve()))
        object.__setattr__(self, "references", tuple(map(plugins.absolute, self.references)))

    def over(self, recorded: Mapping[str, Any]) -> Self:
        """Fill in a folder's recorded options, or defaults; recipes and references add up."""
        filled: dict[str, Any] = {
            name: recorded.get(name, default)
            for name, default in DEFAULTS.items()
            if getattr(self, name) is None
        }
        for name in ("proxies", "references"):
            filled[name] = tuple(dict.fromkeys([*recorded.get(name, ()), *getattr(self, name)]))
        return replace(self, **filled)

    @property
    def objective(self) -> Objective | None:
        """What bounds the networks; None where nothing does."""
        given = {name: getattr(self, f"target_{name}") for name in TARGETS}
        bounds = {name: bound for name, bound in given.items() if bound is not None}
        if not bounds:
            return None
        metric = next(iter(bounds))
        return Objective(
            target=bounds.pop(metric),
            metric=metric,
            max_latency=bounds.get("latency"),
            max_memory=bounds.get("memory"),
        )

    def recorded(self, evaluator: Evaluator) -> dict[str, Any]:
        """Return the options for config.json, with content hashes of the user's own files."""
        values = asdict(self)
        values |= {name: list(values[name]) for name in ("proxies", "references")}
        options = {name: name for name in self.references} | values
        return values | content_hashes(options, (*_FILES, *self.references), evaluator)
