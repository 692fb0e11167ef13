"""Latency of a network as a sum over its parts.

    seconds(network) = offset + factor * sum of seconds(part) over stem, blocks and head

Measured parts have their measured time; others are estimated by rates (seconds per multiply-add of
a 1x1 convolution, ...) fitted to the measured ones. Offset and factor are fitted to whole
networks: a part that runs alone repeatedly has its weights and input in cache.
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
from mnas_search.common.errors import UnknownName, UsageError, reason_of, single_line
from mnas_search.common.files import read_json, write_json


@dataclass(frozen=True, slots=True, kw_only=True)
class Latency:
    """Measured seconds of one forward pass."""

    seconds: float  # the median
    # low, high: a distribution-free 95 % interval of the median; the range if there are fewer than
    # six measurements
    low: float
    high: float


REFERENCE = "efficientnet_b0"  # at its own resolution
_PARTS_PER_RATE = 3  # measured parts that a fitted rate requires
_MIN_NETWORKS = 3  # that a fitted line requires
_MIN_SPREAD = 1.1  # largest over smallest sum, below which a slope cannot be fitted
_MIN_FACTOR = 0.1  # a smaller factor is fitted to noise
_MIN_SECONDS, _MAX_SECONDS = 1e-12, 1e6  # a plausible range, which keeps arithmetic finite
_MAX_WORK = 1e18  # of a part, or seconds per unit of it
_FORMAT = "mnas-search latency table 1"


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedPart:
    """A measured part: its latency when it runs alone, and its amounts of `WORK`."""

    latency: Latency
    work: Work


@dataclass(frozen=True, slots=True, kw_only=True)
class TimedNetwork:
    """A measured network, for the fit of offset and factor."""

    parts: float  # sum of the seconds of its parts
    seconds: float  # seconds of the whole network


@dataclass(frozen=True, slots=True, kw_only=True)
class Prediction:
    """The predicted latency of a network."""

    seconds: float  # of one forward pass
    timed: float  # the share of its parts' seconds that was measured; rates estimate the rest


@dataclass(frozen=True, slots=True, kw_only=True)
class LatencyTable:
    """The measurements of one device.

    read_table(Path("latency.json")).predict(reference.architecture("efficientnet_b0")).seconds
    """

    conditions: Conditions  # device, threads and batch size
    machine: Mapping[str, str]  # processor and packages, by name
    reference: float  # seconds of `REFERENCE`, measured in turns with the parts
    parts: Mapping[str, TimedPart]  # measured parts by key
    # measured networks by fingerprint
    whole: Mapping[str, TimedNetwork] = field(default_factory=dict)
    # seconds per unit of each `WORK`; None if too few parts were measured to fit them
    rates: tuple[float, ...] | None = None
    offset: float = 0.0  # seconds of a whole network beside its parts
    # by how much parts take longer within a network; None in an unfinished table
    factor: float | None = None

    def predict(self, network: Network) -> Prediction:
        """Predict the latency of an `Architecture`. Raises `UsageError` if the network is not a
        chain of stages, or has parts that the table can neither look up nor estimate."""
        if not isinstance(network, Architecture):
            raise UsageError(
                f"the latency of {network.label!r} can only be measured: a prediction requires a "
                "chain of stages"
            )
        parts = parts_of(network)
        seconds = [self._of(part.key, part.plan) for part in parts]
        timed = sum(s for s, part in zip(seconds, parts, strict=True) if part.key in self.parts)
        if not (total := sum(seconds)):
            raise UsageError(
                f"the table predicts 0 seconds for {network.label!r}: it needs more measured parts"
            )
        return Prediction(seconds=self.offset + total, timed=timed / total)

    def fit(self) -> "LatencyTable":
        """Return the table with rates fitted to its parts, and offset and factor to its networks,
        of which it needs at least one."""
        pairs = [(one.parts, one.seconds) for one in self.whole.values()]
        offset, factor = fit_line(*zip(*pairs, strict=True))
        rates = fit_rates(list(self.parts.values()))
        return replace(self, rates=rates, offset=offset, factor=factor)

    def sum_of_parts(self, network: Architecture) -> float:
        """Sum the seconds of the parts of a network, all of which are in the table."""
        return sum(self.parts[part.key].latency.seconds for part in parts_of(network))

    def of_block(self, block: BlockPlan) -> float:
        """Predict the seconds of a block in a network."""
        return self._of(block_key(block), block)

    def of_end(self, part: PartPlan, size: int, activation: str) -> float:
        """Predict the seconds of a stem or head with an input of side `size` in a network."""
        return self._of(end_key(part, size, activation), part)

    def _of(self, key: str, part: BlockPlan | PartPlan) -> float:
        if self.factor is None:
            raise UsageError(
                "the latency table is not finished: run `mnas-search latency build` to its end"
            )
        if key in self.parts:
            return self.factor * self.parts[key].latency.seconds
        if self.rates is None:
            raise UsageError(
                f"the table has no part {key!r}, and its {len(self.parts)} parts are too few to "
                "estimate it (`mnas-search latency build ARCH` adds parts)"
            )
        work = work_of(part, self.conditions.batch_size)
        return self.factor * sum(r * w for r, w in zip(self.rates, work, strict=True))

    @property
    def sha256(self) -> str:
        """SHA-256 of the content, as JSON without a checksum."""
        return hashlib.sha256((json.dumps(self.to_dict(), indent=1) + "\n").encode()).hexdigest()

    def write(self, path: Path) -> Path:
        """Write the table as JSON; all times are in seconds."""
        return write_json(path, self.to_dict())

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
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


def read_table(path: Path) -> LatencyTable:
    """Read a table; raises `UsageError` if the file is not a latency table."""
    try:
        return _table(read_json(path))
    except OSError as error:
        raise UnknownName(f"cannot read {str(path)!r}: {reason_of(error)}") from None
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise UsageError(
            f"{str(path)!r} must be a file written by `mnas-search latency build`, got "
            f"{type(error).__name__}: {str(error)[:80]}"
        ) from None


def _table(value: Any) -> LatencyTable:
    if value["format"] != _FORMAT:
        raise ValueError(f"format must be {_FORMAT!r}, got {value['format']!r}")
    if value["reference"]["network"] != REFERENCE:
        raise ValueError(f"reference must be {REFERENCE!r}, got {value['reference']['network']!r}")
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
        offset=_number(value["offset"], _MAX_SECONDS),
        factor=None if value["factor"] is None else _positive(value["factor"]),
    )


def _positive(value: Any) -> float:
    number = _number(value, _MAX_SECONDS)
    if number < _MIN_SECONDS:
        raise ValueError(f"a time must be {_MIN_SECONDS:g} seconds or more, got {value!r}")
    return number


def _number(value: Any, maximum: float) -> float:
    number = float(value)
    if not 0 <= number <= maximum:
        raise ValueError(f"a number must be from 0 to {maximum:g}, got {value!r}")
    return number


def _numbers(values: Iterable[Any]) -> tuple[float, ...]:
    numbers = tuple(_number(value, _MAX_WORK) for value in values)
    if len(numbers) != len(WORK):
        raise ValueError(f"work must have {len(WORK)} amounts, got {numbers!r}")
    return numbers


def fit_line(sums: Sequence[float], seconds: Sequence[float]) -> tuple[float, float]:
    """Fit seconds [N] = offset + factor * sums [N] by least squares of relative errors.

    The offset is not negative. It is 0 for fewer than three networks, and for networks that are
    too similar to determine both.
    """
    from scipy.optimize import nnls

    rows = np.array([(1 / t, s / t) for s, t in zip(sums, seconds, strict=True)])
    if len(sums) >= _MIN_NETWORKS and max(sums) >= _MIN_SPREAD * min(sums):
        (offset, factor), _ = nnls(rows, np.ones(len(rows)))
        if factor >= _MIN_FACTOR:
            return float(offset), float(factor)
    shares = rows[:, 1]
    return 0.0, float(shares.sum() / (shares @ shares))


def fit_rates(parts: Sequence[TimedPart]) -> tuple[float, ...] | None:
    """Fit non-negative seconds per unit of each `WORK`, by least squares of relative errors; None
    for too few parts."""
    from scipy.optimize import nnls

    if len(parts) < _PARTS_PER_RATE * len(WORK):
        return None
    seconds = np.array([part.latency.seconds for part in parts])
    rows = np.array([part.work for part in parts]) / seconds[:, None]
    scale = np.maximum(rows.max(axis=0), np.finfo(float).tiny)  # amounts differ by 10^8
    found, _ = nnls(rows / scale, np.ones(len(parts)))
    return tuple((found / scale).tolist())


def matches_this_machine(table: LatencyTable) -> bool:
    """Tell whether a table was measured on this machine with the same packages."""
    return dict(table.machine) == machine(table.conditions)
