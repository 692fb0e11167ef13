"""What decides the readings and the rows of a table.

`confirm.json` beside this module has the settings by which the part `confirm` is read, once.
"""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from importlib.resources import files
from typing import Any, Self, final

import numpy as np
from numpy.typing import NDArray

from mnas_search.benchmarks.fidelity.macro.recorded import SPLITS
from mnas_search.common.checks import check_choice, check_integer, check_number
from mnas_search.common.errors import UsageError

MACRO = "nas-bench-macro"
CONFIRM = "confirm.json"
MACRO_TARGETS = (50e6, 60e6, 70e6, 80e6, 90e6)
# Functions of `benchmarks.ranking.scores`, which loads torch.
SCORES = (
    "snip",
    "grad_norm",
    "synflow",
    "zen",
    "nwot",
    "jacob_cov",
    "expressivity",
    "progressivity",
    "trainability",
    "zico",
    "meco",
)
_NETWORKS = 40  # of another space
_QUANTILES = (1 / 6, 2 / 6, 3 / 6, 4 / 6, 5 / 6)
_MINIMA = {
    "networks": 4,
    "trained": 4,
    "supernets": 1,
    "images": 1,
    "tuned": 0,
    "draws": 1,
    "seed": 0,
}


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """The networks, and what is read of them.

    Attributes:
        space: `nas-bench-macro`, or the name of a search space, whose networks have no recorded
            accuracy and are trained instead (`reference_seconds`).
        split: part of NAS-Bench-Macro, `choose` or `confirm`.
        band: multiply-adds, (lowest, highest), of the networks of another space.
        networks: number that zero-cost scores and supernets read; of another space, all there are.
        trained: number that proxies train.
        scores: zero-cost scores.
        proxies: changes to the default proxy recipe, such as `epochs=1`.
        trainings: CPU seconds of a network's training by the default recipe at other lengths.
        reference_seconds, reference_seeds: CPU seconds and number of the trainings of each network
            of another space, whose mean accuracy stands for a recorded one.
        supernet: changes to the recipe of supernets, such as `width=0.5`.
        budgets: CPU seconds of a supernet's training, without its readings.
        supernets: number of each budget.
        images: that a supernet reads networks on.
        tuned: steps for which slices of a supernet are trained further; 0 for none.
        told: numbers of recorded trainings on top of a prior.
        total: CPU seconds of a prior and the affordable trainings on top of it together.
        draws: random choices of the networks that are trained.
        targets: multiply-adds under which the best network is looked for; empty for five of
            NAS-Bench-Macro, or quantiles of another space's networks.
        seed: of networks and trainings.
    """

    space: str = MACRO
    split: str = "choose"
    band: tuple[float, float] | None = None
    networks: int = 300
    trained: int = 24
    scores: tuple[str, ...] = SCORES[:5]
    proxies: tuple[str, ...] = ("epochs=1", "epochs=4", "width=0.5,epochs=1", "width=0.5,epochs=4")
    trainings: tuple[float, ...] = (50.0, 100.0, 200.0)
    reference_seconds: float = 150.0
    reference_seeds: int = 2
    supernet: str = ""
    budgets: tuple[float, ...] = (75.0, 150.0, 300.0)
    supernets: int = 4
    images: int = 500
    tuned: int = 25
    told: tuple[int, ...] = (6, 12, 25)
    total: float = 1_200.0
    draws: int = 20
    targets: tuple[float, ...] = ()
    seed: int = 0

    def __post_init__(self) -> None:
        if self.split not in SPLITS:
            raise UsageError(f"split must be one of {', '.join(SPLITS)}, got {self.split!r}")
        for name, low in _MINIMA.items():
            check_integer(name, getattr(self, name), low)
        for name in ("trainings", "budgets", "targets"):
            for value in getattr(self, name):
                check_number(name, value, "(0, inf)")
        for value in self.told:
            check_integer("told", value, 2)
        for name in self.scores:
            check_choice("score", name, SCORES)
        if self.band is not None and (len(self.band) != 2 or self.band[0] > self.band[1]):
            raise UsageError(f"band must be two numbers, the lower first, got {self.band}")

    @property
    def is_macro(self) -> bool:
        """Whether the networks are NAS-Bench-Macro's, with recorded accuracies."""
        return self.space == MACRO

    @classmethod
    def of(cls, given: Mapping[str, Any]) -> Self:
        """Return the settings with the values that are given, those that are not None. The number
        of networks of another space than NAS-Bench-Macro is 40 by default."""
        known = {name: value for name, value in given.items() if value is not None}
        if known.get("space", MACRO) != MACRO:
            known = {"networks": _NETWORKS, **known}
        return cls(**known)

    def targets_of(self, macs: NDArray[np.int64]) -> tuple[float, ...]:
        """Return the targets for networks of these multiply-adds [N]."""
        if self.targets:
            return self.targets
        return MACRO_TARGETS if self.is_macro else tuple(np.quantile(macs, _QUANTILES).tolist())

    def to_json(self) -> str:
        """Return the settings as JSON."""
        return json.dumps(asdict(self), indent=1) + "\n"

    @classmethod
    def from_json(cls, text: str) -> Self:
        """Read what `to_json` has written."""
        values: dict[str, Any] = json.loads(text)
        names = {field.name for field in fields(cls)}
        if unknown := sorted(values.keys() - names):
            raise UsageError(f"settings must have known names, got {unknown[0]!r}")
        lists = {name: tuple(v) for name, v in values.items() if isinstance(v, list)}
        return cls(**values | lists)


def confirm_settings() -> Settings:
    """Return the settings of the part `confirm`, which were fixed before it was read."""
    return Settings.from_json((files(__package__) / CONFIRM).read_text())
