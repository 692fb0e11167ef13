"""The figures that the EfficientNet paper prints (Tan & Le 2019, arXiv 1905.11946).

They are kept in `printed.json` as text, with the digits that are printed, since that says how
exact they are.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

_FIGURE = re.compile(r"(-?\d+)(?:\.(\d+))?([%xsKMB]?)")
_UNITS = {"K": 1e3, "M": 1e6, "B": 1e9}


@dataclass(frozen=True, slots=True)
class Printed:
    """A figure as it is printed."""

    # digits and unit: `%` (points), `x` (times), `s` (seconds), `K`, `M`, `B` (10^9), or none
    text: str

    def __post_init__(self) -> None:
        if _FIGURE.fullmatch(self.text) is None:
            raise ValueError(f"a figure must be such as 5.3M, 0.39B or 77.1%, got {self.text!r}")

    @property
    def value(self) -> float:
        """The number: params and FLOPs as they are, percent in points, times in seconds."""
        return float(self.text.rstrip("%xsKMB")) * self._unit

    @property
    def half(self) -> float:
        """Half a unit of the last digit: what rounding may have taken or added."""
        match = _FIGURE.fullmatch(self.text)
        assert match is not None  # checked when it was made
        return 0.5 * 10.0 ** -len(match[2] or "") * self._unit

    @property
    def _unit(self) -> float:
        return _UNITS.get(self.text[-1], 1.0)

    def rounds(self, value: float) -> bool:
        """Return whether a value, rounded to the digits that are printed, is this figure."""
        return abs(value - self.value) <= self.half * (1 + 1e-9)

    def follows(self, over: "Printed", under: "Printed") -> bool:
        """Whether two printed figures, within their rounding, can have this one as their ratio."""
        low = (over.value - over.half) / (under.value + under.half)
        high = (over.value + over.half) / (under.value - under.half)
        return low <= self.value + self.half and high >= self.value - self.half


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A row of Table 2: ImageNet accuracies and size."""

    # name, cited: the network, and the source of a network of others
    name: str
    cited: str
    top1: Printed
    top5: Printed
    params: Printed
    flops: Printed | None
    # params_ratio, flops_ratio: to `against`, the EfficientNet of the same group
    params_ratio: Printed
    flops_ratio: Printed | None
    against: str
    # earlier_top1, earlier_top5: in versions 1 to 3 where known and different
    earlier_top1: Printed | None
    earlier_top5: Printed | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaled:
    """A row of Table 3 or 7: a network, scaled."""

    # base, change: the network, and what was done to it
    base: str
    change: str
    # depth, width, resolution: the multipliers
    depth: float
    width: float
    resolution: float
    told: bool  # whether the paper prints them
    flops: Printed
    top1: Printed
    earlier: Printed | None  # top-1 in the text of versions 1 to 3 where different


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """A row of one half of Table 5: accuracy after transfer to another data set."""

    data: str  # name of the data set
    # model, accuracy, params: the best network before
    model: str
    accuracy: Printed
    params: Printed | None
    # ours, our_accuracy, our_params: the EfficientNet beside it
    ours: str
    our_accuracy: Printed
    our_params: Printed | None
    ratio: Printed | None  # of the params


_DATA: dict[str, Any] = json.loads(Path(__file__).with_name("printed.json").read_text())


def _cell(value: Any) -> Any:
    is_figure = isinstance(value, str) and _FIGURE.fullmatch(value)
    return Printed(value) if is_figure else value


def _typed(name: str) -> list[dict[str, Any]]:
    """Return the rows of a table by column, figures as `Printed`."""
    columns, rows = _DATA[name]["columns"], _DATA[name]["rows"]
    return [dict(zip(columns, map(_cell, row), strict=True)) for row in rows]


def _plain(name: str) -> tuple[Any, ...]:
    """Return the rows of a table, figures as text."""
    return tuple(_DATA[name]["rows"])


ABOUT: dict[str, Any] = _DATA["tables"]  # titles and notes of tables
PAPER: str = _DATA["paper"]
TABLE_1: tuple[tuple[str, str, str, str], ...] = _plain("table_1")
TABLE_2 = tuple(Network(**row) for row in _typed("table_2"))
TABLE_3 = tuple(Scaled(**row) for row in _typed("table_3"))
TABLE_7 = tuple(Scaled(**row) for row in _typed("table_7"))
# (name, top-1, seconds) of a slower and of a faster network, and how many times faster it is.
_Timed = tuple[str, str, str]
TABLE_4: tuple[tuple[_Timed, _Timed, str], ...] = _plain("table_4")
TABLE_5_AVAILABLE = tuple(Transfer(**row) for row in _typed("table_5_available"))
TABLE_5_REPORTED = tuple(Transfer(**row) for row in _typed("table_5_reported"))
GEOMETRIC_MEANS = tuple(Printed(text) for text in _DATA["geometric_means"])
# Depth, width, resolution.
FIGURE_3: tuple[tuple[float, float, float], ...] = _plain("figure_3")
FIGURE_4: tuple[tuple[float, float, float], ...] = _plain("figure_4")
CONSTANTS: dict[str, str] = dict(_plain("constants"))
CLAIMS: dict[str, str] = dict(_plain("claims"))
GPIPE_IN_SHORT = Printed(_DATA["gpipe_in_short"])  # params
BEFORE: tuple[tuple[str, str, str], ...] = _plain("before")  # name, top-1, params
