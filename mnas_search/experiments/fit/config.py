"""What a fit is asked for: the options, and the runs and trainings that they mean."""

from collections.abc import Mapping
from dataclasses import dataclass, fields
from typing import Any, Self, final

from mnas_search.architecture.cost.metrics import TARGETS
from mnas_search.common.checks import check_number
from mnas_search.data import loading
from mnas_search.experiments.search.options import RunConfig

DEFAULT_TIME = 1800.0  # seconds
WINNER = "winner"  # a `network`
_STAND_IN = {"target_flops": 1e18}  # a target that binds nothing, where none is given yet


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class FitConfig:
    """The options of a fit; those that are a run's have its meaning.

    Attributes:
        data: the images, as `--data` names them.
        time: seconds for everything.
        network: what is trained in the end: by default what the comparison recommends; `winner`,
            that of a search, which then takes place even where its time is short; or the name of a
            baseline such as `efficientnet_b0`, which then has the whole time.
        objective: `hard` by default: accuracy within the target. With the papers' `soft` reward
            NAS-Bench-Macro's best network within 90M FLOPs has 34M and 2.4 points less accuracy.
    """

    data: str
    time: float = DEFAULT_TIME
    network: str | None = None
    target_flops: float | None = None
    target_latency: float | None = None
    target_memory: float | None = None
    device: str | None = None
    latency_table: str | None = None
    max_params: float | None = None
    max_memory: float | None = None
    space: str = "efficientnet"
    controller: str = "bayesian"
    init: str | None = None
    lite: bool = False
    objective: str = "hard"
    exponent: float | None = None
    workers: int | None = None
    gpus_per_trial: float | None = None
    ray_address: str | None = None
    seed: int = 0
    resolution: int | None = None

    def __post_init__(self) -> None:
        check_number("time", self.time, "(0, inf)")
        object.__setattr__(self, "data", loading.absolute(self.data))
        canonical = self.run(**({} if self.has_target else _STAND_IN))
        for name in ("space", "controller", "latency_table"):
            object.__setattr__(self, name, getattr(canonical, name))

    @property
    def searches(self) -> bool:
        """Whether a search takes place in any case."""
        return self.network == WINNER

    @property
    def named(self) -> str | None:
        """The baseline to train, if its name was given."""
        return None if self.searches else self.network

    @property
    def has_target(self) -> bool:
        """Whether a target was given."""
        return any(getattr(self, f"target_{name}") is not None for name in TARGETS)

    def run(self, **changes: Any) -> RunConfig:
        """Return the configuration of a run with these options, some of them changed."""
        return RunConfig(**{name: getattr(self, name) for name in _SHARED} | changes)

    def to_dict(self) -> dict[str, Any]:
        """Return the options by name, as config.json holds them."""
        return {one.name: getattr(self, one.name) for one in fields(self)}

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> Self:
        """Read what `to_dict` has returned, from JSON; other names are left out."""
        return cls(**{one.name: value[one.name] for one in fields(cls) if one.name in value})

    @property
    def stem(self) -> str:
        """The name of the data, for the folder."""
        return loading.stem(self.data)


_RUN = {one.name for one in fields(RunConfig)}
_SHARED = [one.name for one in fields(FitConfig) if one.name in _RUN]
