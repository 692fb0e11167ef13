"""Exact cost of whole batches of codes, and the reachable range of a space.

A stagewise space is counted from one table a stage. Walking down the network, all that a stage
needs to know of the earlier ones is its input: the width and the side of the map. Stage i has a
row for each such state that can occur, and a column for each combination of its own choices:

    macs[i][state, local], params[i][state, local], held[i][state, local],
    peaks[i][state, local], next_state[i][state, local]

and where there is a table of latencies, seconds[i][state, local]; all filled by the same plan
functions as a single network's cost. Counting a batch is then one gather a stage; the smallest and
largest network follow by dynamic programming over the states.
"""

import functools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from mnas_search.architecture.blocks.network import plan_head, plan_stage, plan_stem
from mnas_search.architecture.cost.base import BYTES_PER_ELEMENT, Cost
from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.cost.latency.table import LatencyTable
from mnas_search.common.errors import InvalidChoices, UsageError
from mnas_search.nas.space.choices import Codes, Decision, decode, sizes
from mnas_search.nas.space.contract import SearchSpace, StagewiseSpace

Counts = tuple[NDArray[np.int64], NDArray[np.int64]]

# Rows counted at a time: codes and intermediate results then stay in the processor's cache.
_CHUNK = 4096
_MAX_TABLE = 2**24  # entries; also what float32 counts exactly


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Smallest and largest count in a space."""

    low: float
    high: float


class SpaceCost(Protocol):
    """Counts batches of codes."""

    def __call__(self, codes: Codes, /) -> Counts:
        """Multiply-adds [N] and params [N] of codes [N, D]."""

    def inference_memory(self, codes: Codes, /) -> NDArray[np.int64]:
        """Bytes of fp32 inference at batch 1 [N] of codes [N, D] (`Cost.inference_memory`)."""

    def latency(self, codes: Codes, /) -> NDArray[np.float64]:
        """Seconds [N] of codes [N, D], predicted by the table of latencies."""

    @property
    def vectorised(self) -> bool:
        """Whether a batch is counted from tables, not one network after the other."""

    @property
    def feasible_range(self) -> Range | None:
        """The exact range of multiply-adds; None where only walking the space could tell."""

    @property
    def feasible_params(self) -> Range | None:
        """The same of params."""

    @property
    def min_memory(self) -> int | None:
        """The same of inference memory, its lower end."""

    @property
    def feasible_latency(self) -> Range | None:
        """The same of predicted latency, in seconds."""


def space_cost(space: SearchSpace, latency: LatencyTable | None = None) -> SpaceCost:
    """The fastest exact counter that the space allows; with a table, of latencies too."""
    if isinstance(space, StagewiseSpace):
        return LookupTableCost(space, latency)
    return PerNetworkCost(space, latency)


class PerNetworkCost:
    """Counts one network after the other, for any space."""

    vectorised = False
    feasible_range = feasible_params = min_memory = feasible_latency = None

    def __init__(self, space: SearchSpace, latency: LatencyTable | None = None) -> None:
        decisions = space.decisions
        self._latency = latency

        @functools.lru_cache(maxsize=65_536)
        def count(row: tuple[int, ...]) -> Cost:
            return cost(space.decode(decode(decisions, row)))

        @functools.lru_cache(maxsize=65_536)
        def seconds(row: tuple[int, ...]) -> float:
            return _given(latency).predict(space.decode(decode(decisions, row))).seconds

        self._cost, self._seconds = count, seconds

    def __call__(self, codes: Codes, /) -> Counts:
        """Multiply-adds [N] and params [N] of codes [N, D]."""
        costs = [self._cost(tuple(row)) for row in codes.tolist()]
        return (
            np.array([c.macs for c in costs], dtype=np.int64),
            np.array([c.params for c in costs], dtype=np.int64),
        )

    def inference_memory(self, codes: Codes, /) -> NDArray[np.int64]:
        """Bytes of fp32 inference at batch 1 [N] of codes [N, D]."""
        memory = [self._cost(tuple(row)).inference_memory for row in codes.tolist()]
        if None in memory:
            raise UsageError(
                "the memory of networks that are no chains of stages is not known; allowed: "
                "constraints on FLOPs and params"
            )
        return np.array(memory, dtype=np.int64)

    def latency(self, codes: Codes, /) -> NDArray[np.float64]:
        """Predicted seconds [N] of codes [N, D]."""
        _given(self._latency)
        return np.array([self._seconds(tuple(row)) for row in codes.tolist()])


class LookupTableCost:
    """Counts a stagewise space from one table a stage."""

    vectorised = True

    def __init__(self, space: StagewiseSpace, latency: LatencyTable | None = None) -> None:
        template = space.template
        self._latency = latency
        self._sizes = np.array(sizes(space.decisions))
        activation = template.activation
        stem = plan_stem(template.stem, template.resolution, template.padding, activation)
        self._macs: list[NDArray[np.int64]] = []
        self._params: list[NDArray[np.int64]] = []
        self._held: list[NDArray[np.int64]] = []  # bytes of params and buffers
        self._peaks: list[NDArray[np.int64]] = []  # live bytes, the image among them
        self._seconds: list[NDArray[np.float64]] = []
        self._next: list[NDArray[np.intp]] = []
        states = [(stem.out_channels, stem.out_size)]
        for index, decisions in enumerate(space.stage_decisions):
            states = self._add_stage(space, index, decisions, states)
        heads = [
            plan_head(template.head_channels, template.num_classes, *state, activation)
            for state in states
        ]
        # Stem and head are folded into the last table, so that a batch gathers once a stage.
        last = self._next[-1]
        self._macs[-1] += stem.macs + np.array([head.macs for head in heads])[last]
        self._params[-1] += stem.params + np.array([head.params for head in heads])[last]
        self._held[-1] += stem.state_bytes + np.array([head.state_bytes for head in heads])[last]
        if latency is not None:
            ends = [
                latency.of_end(head, size, activation)
                for head, (_, size) in zip(heads, states, strict=True)
            ]
            first = latency.offset + latency.of_end(stem, template.resolution, activation)
            self._seconds[-1] += first + np.array(ends)[last]
        image = 3 * template.resolution**2  # the stem's own input, which the caller holds
        live = np.array([max(stem.peak, image + head.peak) for head in heads])[last]
        self._peaks[-1] = np.maximum(self._peaks[-1] + image, live)
        self._peaks[:-1] = [peaks + image for peaks in self._peaks[:-1]]
        self._peaks = [BYTES_PER_ELEMENT * peaks for peaks in self._peaks]
        self._radix = _local_radix(space.stage_decisions)

    def _add_stage(
        self,
        space: StagewiseSpace,
        index: int,
        decisions: tuple[Decision, ...],
        states: list[tuple[int, int]],
    ) -> list[tuple[int, int]]:
        """Fill the tables of one stage; returns the states it can leave."""
        columns = math.prod(sizes(decisions))
        if columns * len(states) > _MAX_TABLE:
            raise InvalidChoices(
                f"stage {index} has {columns:,} combinations for {len(states)} inputs; allowed: "
                f"{_MAX_TABLE:,} together (subclass SearchSpace for a space like this)"
            )
        padding = space.template.padding
        local = space.stages_at(index)
        shape = (len(states), columns)
        macs, params, held, peaks = (np.zeros(shape, np.int64) for _ in range(4))
        seconds, following = np.zeros(shape), np.zeros(shape, np.intp)
        out: dict[tuple[int, int], int] = {}
        for row, (channels, size) in enumerate(states):
            for column, stage in enumerate(local):
                blocks = plan_stage(stage, channels, size, padding)
                macs[row, column] = sum(block.macs for block in blocks)
                params[row, column] = sum(block.params for block in blocks)
                held[row, column] = sum(block.state_bytes for block in blocks)
                peaks[row, column] = max(block.peak for block in blocks)
                if self._latency is not None:
                    seconds[row, column] = sum(map(self._latency.of_block, blocks))
                state = (blocks[-1].out_channels, blocks[-1].out_size)
                following[row, column] = out.setdefault(state, len(out))
        self._macs.append(macs)
        self._params.append(params)
        self._held.append(held)
        self._peaks.append(peaks)
        self._seconds.append(seconds)
        self._next.append(following)
        return list(out)

    def __call__(self, codes: Codes, /) -> Counts:
        """Multiply-adds [N] and params [N] of codes [N, D]."""
        codes = np.asarray(codes)
        macs = np.zeros(len(codes), np.int64)
        params = np.zeros(len(codes), np.int64)
        for part in self._parts(codes):
            for stage, entry in enumerate(self._entries(codes[part])):
                macs[part] += self._macs[stage].ravel().take(entry)
                params[part] += self._params[stage].ravel().take(entry)
        return macs, params

    def inference_memory(self, codes: Codes, /) -> NDArray[np.int64]:
        """Bytes of fp32 inference at batch 1 [N] of codes [N, D]."""
        codes = np.asarray(codes)
        held = np.zeros(len(codes), np.int64)
        peaks = np.zeros(len(codes), np.int64)
        for part in self._parts(codes):
            for stage, entry in enumerate(self._entries(codes[part])):
                held[part] += self._held[stage].ravel().take(entry)
                peak = self._peaks[stage].ravel().take(entry)
                np.maximum(peaks[part], peak, out=peaks[part])
        return held + peaks

    def latency(self, codes: Codes, /) -> NDArray[np.float64]:
        """Predicted seconds [N] of codes [N, D]."""
        _given(self._latency)
        codes = np.asarray(codes)
        seconds = np.zeros(len(codes))
        for part in self._parts(codes):
            for stage, entry in enumerate(self._entries(codes[part])):
                seconds[part] += self._seconds[stage].ravel().take(entry)
        return seconds

    def _parts(self, codes: Codes) -> list[slice]:
        if codes.ndim != 2 or codes.shape[1] != len(self._sizes):
            raise InvalidChoices(f"codes of shape {codes.shape}; allowed: (N, {len(self._sizes)})")
        return [slice(start, start + _CHUNK) for start in range(0, len(codes), _CHUNK)]

    def _entries(self, codes: Codes) -> Iterator[NDArray[np.intp]]:
        """Each stage's entries [N] of its flattened tables, down the network."""
        if codes.min(initial=0) < 0 or (codes >= self._sizes).any():
            raise InvalidChoices("codes out of range; allowed: 0 to a decision's options - 1")
        # All stages' table columns in one product; small integers are exact in float32.
        local = (self._radix @ codes.T.astype(np.float32)).astype(np.intp)
        state: NDArray[np.intp] | None = None
        for column, following in zip(local, self._next, strict=True):
            entry = column if state is None else column + state * following.shape[1]
            yield entry
            state = following.ravel().take(entry) if following.any() else None

    @property
    def feasible_range(self) -> Range:
        """The exact range of multiply-adds."""
        return self._range(self._macs)

    @property
    def feasible_params(self) -> Range:
        """The exact range of params."""
        return self._range(self._params)

    @property
    def min_memory(self) -> int:
        """The exact inference memory of the network that needs least.

        Peaks are no sum over stages. But the least weights under a bound on the peak are, and only
        peaks that occur need to be tried as bounds: from the lowest one under which there is a
        network, until the weights that any network has leave nothing to be won.
        """
        fewest = self._range(self._held).low
        least = math.inf
        for bound in np.unique(np.concatenate([peaks.ravel() for peaks in self._peaks])).tolist():
            if bound + fewest >= least:
                break
            tables = [
                np.where(peaks <= bound, held, np.inf)
                for held, peaks in zip(self._held, self._peaks, strict=True)
            ]
            least = min(least, bound + self._extreme(tables, np.min))
        return int(least)

    @property
    def feasible_latency(self) -> Range | None:
        """The range of predicted latency, in seconds."""
        return None if self._latency is None else self._range(self._seconds)

    def _range(self, tables: Sequence[NDArray[Any]]) -> Range:
        low, high = (self._extreme(tables, end) for end in (np.min, np.max))
        return Range(low=low, high=high)

    def _extreme(self, tables: Sequence[NDArray[Any]], end: Callable[..., Any]) -> float:
        """The least or largest sum of entries on any way through the stages, by dynamic
        programming from the last stage back."""
        there: NDArray[Any] = np.zeros(int(self._next[-1].max()) + 1, np.int64)
        for table, following in zip(reversed(tables), reversed(self._next), strict=True):
            there = end(table + there[following], axis=1)
        extreme: float = there[0].item()
        return extreme


def _given(latency: LatencyTable | None) -> LatencyTable:
    if latency is None:
        raise UsageError("latencies without a table of them; allowed: space_cost(space, table)")
    return latency


def _local_radix(stage_decisions: tuple[tuple[Decision, ...], ...]) -> NDArray[np.float32]:
    """Matrix [stages, D] that maps codes to each stage's column (last decision fastest)."""
    width = sum(len(decisions) for decisions in stage_decisions)
    radix = np.zeros((len(stage_decisions), width), np.float32)
    start = 0
    for row, decisions in enumerate(stage_decisions):
        step = 1
        for offset in reversed(range(len(decisions))):
            radix[row, start + offset] = step
            step *= len(decisions[offset].options)
        start += len(decisions)
    return radix
