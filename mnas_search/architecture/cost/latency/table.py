"""Seconds of a network's parts, added up.

    seconds(network) = offset + factor * sum of seconds(part) over stem, blocks and head

A part of the table counts as it was timed, another by rates (seconds a multiply-add of a 1x1
convolution, ...) fitted to those that were. Offset and factor are fitted to whole networks: a part
that runs alone, again and again, finds its weights and its input nearer by.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import numpy as np

from mnas_search.architecture.blocks import BlockPlan, PartPlan
from mnas_search.architecture.cost.latency.conditions import Conditions, machine
from mnas_search.architecture.cost.latency.parts import (
    WORK,
    Work,
    block_key,
    end_key,
    parts_of,
    work_of,
)
from mnas_search.architecture.traced_network import Network
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import UnknownName, UsageError, single_line
from mnas_search.common.files import read_json, write_atomically


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Seconds of one run.

    Attributes:
        seconds: the median.
        low, high: a 95% interval of the median, from the order of the turns (no distribution is
            assumed); their range where turns are fewer than six.
    """

    seconds: float
    low: float
    high: float


REFERENCE = "efficientnet_b0"  # at its own resolution
_PER_RATE = 3  # timed parts that a fitted rate needs
_PER_LINE = 3  # networks that a fitted line needs
_ALIKE = 1.1  # the largest sum over the least, below which they tell no slope
_LEAST_FACTOR = 0.1  # below, the line goes by noise
_SHORTEST, _LONGEST = 1e-12, 1e6  # seconds that arithmetic can still work with
_MOST_WORK = 1e18  # of a part, or seconds a unit of it: the same
_FORMAT = "mnas-search latency table 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedPart:
    """A part of the table.

    Attributes:
        latency: of it alone.
        work: its amounts of `WORK`.
    """

    latency: Latency
    work: Work


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedNetwork:
    """A whole network of the table, for offset and factor.

    Attributes:
        parts: seconds of its parts alone, added up.
        seconds: of it.
    """

    parts: float
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """What a table says of a network.

    Attributes:
        seconds: of one forward pass.
        timed: the share of its parts' seconds that comes from the table, the rest from rates.
    """

    seconds: float
    timed: float


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyTable:
    """What was timed on one device.

    Attributes:
        conditions: under which.
        machine: processor and packages, by name.
        reference: seconds of `REFERENCE` meanwhile.
        parts: by key.
        whole: networks, by fingerprint.
        rates: seconds a unit of each `WORK`; None where too few parts were timed to fit them.
        offset: seconds that a whole network takes beside its parts.
        factor: how much longer parts take in a whole network; None in an unfinished table.
    """

    conditions: Conditions
    machine: Mapping[str, str]
    reference: float
    parts: Mapping[str, TimedPart]
    whole: Mapping[str, TimedNetwork] = field(default_factory=dict)
    rates: tuple[float, ...] | None = None
    offset: float = 0.0
    factor: float | None = None

    def predict(self, network: Network) -> Prediction:
        """Of a network that is a chain of stages."""
        if not isinstance(network, Architecture):
            raise UsageError(
                f"the latency of {network.label!r}, which is no chain of stages, cannot be "
                "predicted; allowed: to measure it"
            )
        parts = parts_of(network)
        seconds = [self._of(part.key, part.plan) for part in parts]
        timed = sum(s for s, part in zip(seconds, parts, strict=True) if part.key in self.parts)
        if not (total := sum(seconds)):
            raise UsageError(
                f"the table's rates leave no seconds to {network.label!r}; allowed: a table that "
                "knows some of its parts"
            )
        return Prediction(seconds=self.offset + total, timed=timed / total)

    def fit(self) -> "LatencyTable":
        """With rates of what was timed, offset and factor of the whole networks, of which there
        has to be one."""
        pairs = [(one.parts, one.seconds) for one in self.whole.values()]
        offset, factor = fit_line(*zip(*pairs, strict=True))
        rates = fit_rates(list(self.parts.values()))
        return replace(self, rates=rates, offset=offset, factor=factor)

    def alone(self, network: Architecture) -> float:
        """Seconds of a network's parts, all of which were timed, added up."""
        return sum(self.parts[part.key].latency.seconds for part in parts_of(network))

    def of_block(self, block: BlockPlan) -> float:
        """Seconds that a block adds to a network."""
        return self._of(block_key(block), block)

    def of_end(self, part: PartPlan, size: int, activation: str) -> float:
        """Seconds that a stem or head, whose input has sides of `size`, adds to a network."""
        return self._of(end_key(part, size, activation), part)

    def _of(self, key: str, part: BlockPlan | PartPlan) -> float:
        if self.factor is None:
            raise UsageError("a latency table that is not finished; allowed: build it to its end")
        if key in self.parts:
            return self.factor * self.parts[key].latency.seconds
        if self.rates is None:
            raise UsageError(
                f"the table's {len(self.parts)} parts have no {key!r} and are too few to estimate "
                "it; allowed: networks of these parts (`mnas-search latency build ARCH` adds some)"
            )
        work = work_of(part, self.conditions.batch_size)
        return self.factor * sum(r * w for r, w in zip(self.rates, work, strict=True))

    @property
    def sha256(self) -> str:
        """Of the table's content."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    def write(self, path: Path) -> Path:
        """As JSON; seconds throughout."""
        return write_atomically(path, self.to_json())

    def to_json(self) -> str:
        """The text of the file."""
        value = {
            "format": _FORMAT,
            "unit": "seconds",
            "conditions": asdict(self.conditions),
            "machine": dict(self.machine),
            "reference": {"network": REFERENCE, "seconds": self.reference},
            "offset": self.offset,
            "factor": self.factor,
            "rates": None if self.rates is None else dict(zip(WORK, self.rates, strict=True)),
            "parts": {
                key: [*asdict(part.latency).values(), list(part.work)]
                for key, part in self.parts.items()
            },
            "networks": {key: [one.parts, one.seconds] for key, one in self.whole.items()},
        }
        return json.dumps(value, indent=1) + "\n"


def read_table(path: Path) -> LatencyTable:
    """The table of a file; raises `UsageError` for one that is none."""
    try:
        value = read_json(path)
    except OSError as error:
        raise UnknownName(f"cannot read {str(path)!r}: {error.strerror}") from None
    except ValueError as error:
        raise UsageError(f"{str(path)!r} is no latency table: {error}") from None
    try:
        return _table(value)
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise UsageError(
            f"{str(path)!r} is no latency table ({type(error).__name__}: {str(error)[:80]}); "
            "allowed: a file of `mnas-search latency build`"
        ) from None


def _table(value: Any) -> LatencyTable:
    if value["format"] != _FORMAT:
        raise ValueError(f"format {value['format']!r}; allowed: {_FORMAT!r}")
    if value["reference"]["network"] != REFERENCE:
        raise ValueError(f"reference {value['reference']['network']!r}")
    parts = {
        key: TimedPart(
            latency=Latency(seconds=_positive(s), low=_positive(low), high=_positive(high)),
            work=_numbers(work),
        )
        for key, (s, low, high, work) in value["parts"].items()
    }
    return LatencyTable(
        conditions=Conditions(**value["conditions"]),
        machine={name: single_line(str(text)) for name, text in value["machine"].items()},
        reference=_positive(value["reference"]["seconds"]),
        parts=parts,
        whole={
            key: TimedNetwork(parts=_positive(parts), seconds=_positive(seconds))
            for key, (parts, seconds) in value.get("networks", {}).items()
        },
        rates=None
        if value["rates"] is None
        else _numbers([value["rates"][name] for name in WORK]),
        offset=_number(value["offset"], _LONGEST),
        factor=None if value["factor"] is None else _positive(value["factor"]),
    )


def _positive(value: Any) -> float:
    number = _number(value, _LONGEST)
    if number < _SHORTEST:
        raise ValueError(f"{value!r} seconds")
    return number


def _number(value: Any, most: float) -> float:
    number = float(value)
    if not 0 <= number <= most:
        raise ValueError(f"{value!r}; allowed: a number from 0 to {most:g}")
    return number


def _numbers(values: Iterable[Any]) -> tuple[float, ...]:
    numbers = tuple(_number(value, _MOST_WORK) for value in values)
    if len(numbers) != len(WORK):
        raise ValueError(f"{numbers!r} for {len(WORK)} kinds of work")
    return numbers


def fit_line(sums: Sequence[float], seconds: Sequence[float]) -> tuple[float, float]:
    """Offset from 0 and factor above it, from the sums of networks' parts [N] to their seconds
    [N], by least squares of relative errors; a factor alone for fewer than three networks, and for
    those that are too much alike to tell both."""
    from scipy.optimize import nnls

    rows = np.array([(1 / t, s / t) for s, t in zip(sums, seconds, strict=True)])
    if len(sums) >= _PER_LINE and max(sums) >= _ALIKE * min(sums):
        (offset, factor), _ = nnls(rows, np.ones(len(rows)))
        if factor >= _LEAST_FACTOR:
            return float(offset), float(factor)
    shares = rows[:, 1]
    return 0.0, float(shares.sum() / (shares @ shares))


def fit_rates(parts: Sequence[TimedPart]) -> tuple[float, ...] | None:
    """Seconds a unit of each `WORK`, none negative, by least squares of relative errors."""
    from scipy.optimize import nnls

    if len(parts) < _PER_RATE * len(WORK):
        return None
    seconds = np.array([part.latency.seconds for part in parts])
    rows = np.array([part.work for part in parts]) / seconds[:, None]
    scale = np.maximum(rows.max(axis=0), np.finfo(float).tiny)  # amounts differ by 10^8
    found, _ = nnls(rows / scale, np.ones(len(parts)))
    return tuple((found / scale).tolist())


def matches_this_machine(table: LatencyTable) -> bool:
    """Whether a table is of this machine and its packages."""
    return dict(table.machine) == machine(table.conditions)
