"""Exact cost of whole batches of codes, and the reachable range of a space.

A stagewise space is counted from one table a stage. Walking down the network, all that a stage
needs to know of the earlier ones is its input: the width and the side of the map. Stage i has a
row for each such state that can occur, and a column for each combination of its own choices:

    macs[i][state, local], params[i][state, local], state_bytes[i][state, local],
    peaks[i][state, local], blocks[i][state, local], next_state[i][state, local]

and where there is a table of latencies, latency[i][state, local]; all filled by the same plan
functions as a single network's cost. Counting a batch is then one gather a stage; the smallest and
largest network follow by dynamic programming over the states.
"""

import functools
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, ClassVar, final

import numpy as np
from numpy.typing import NDArray

from mnas_search.architecture.blocks.network import PartPlan, plan_head, plan_stage, plan_stem
from mnas_search.architecture.cost.base import BYTES_PER_ELEMENT
from mnas_search.architecture.cost.count import blocks
from mnas_search.architecture.kind import BlockPlan
from mnas_search.common.errors import InvalidChoices
from mnas_search.nas.space.choices import Codes, Decision, decode, sizes
from mnas_search.nas.space.contract import SearchSpace, StagewiseSpace
from mnas_search.nas.space.cost_model import CostModel

CostArrays = dict[str, NDArray[np.int64 | np.float64]]
State = tuple[int, int]  # width and side of a map

# Rows counted at a time: codes and intermediate results then stay in the processor's cache.
_CHUNK = 4096
_MAX_TABLE = 2**24  # entries; also what float32 counts exactly


@dataclass(frozen=True, slots=True, kw_only=True)
class Range:
    """Smallest and largest cost in a space; `high` is None where it is not known."""

    low: float
    high: float | None


class SpaceCost(ABC):
    """Counts batches of codes of one space.

    Attributes:
        vectorised: whether a batch is counted from tables, not one network after the other.
    """

    vectorised: ClassVar[bool]

    @abstractmethod
    def __call__(self, codes: Codes, /) -> CostArrays:
        """Return the costs [N] of codes [N, D] by name, those that the `CostModel` counts."""

    @abstractmethod
    def blocks(self, codes: Codes, /) -> NDArray[np.int64]:
        """Return the number of blocks [N] of codes [N, D], as `architecture.cost.count.blocks`
        counts them."""

    @abstractmethod
    def feasible_range(self, metric: str = "flops") -> Range | None:
        """Return the exact range of a metric (its name in `METRICS`) over the space; None where
        only counting every network could tell."""


def space_cost(space: SearchSpace, model: CostModel | None = None) -> SpaceCost:
    """Return the fastest exact counter that the space allows, of what `model` counts."""
    model = model or CostModel()
    if isinstance(space, StagewiseSpace):
        return LookupTableCost(space, model)
    return PerNetworkCost(space, model)


@final
class PerNetworkCost(SpaceCost):
    """Counts one network after the other, for any space."""

    vectorised = False

    def __init__(self, space: SearchSpace, model: CostModel | None = None) -> None:
        decisions, counting = space.decisions, model or CostModel()

        @functools.lru_cache(maxsize=65_536)
        def count(row: tuple[int, ...]) -> tuple[dict[str, float], int]:
            network = space.decode(decode(decisions, row))
            return counting.costs(network), blocks(network)

        self._count = count

    def __call__(self, codes: Codes, /) -> CostArrays:
        costs = [self._count(tuple(row))[0] for row in codes.tolist()]
        names = costs[0] if costs else ("macs", "params")
        return {name: np.array([found[name] for found in costs]) for name in names}

    def blocks(self, codes: Codes, /) -> NDArray[np.int64]:
        return np.array([self._count(tuple(row))[1] for row in codes.tolist()], np.int64)

    def feasible_range(self, metric: str = "flops") -> None:
        """Return None: nothing but counting every network could tell."""


@final
class LookupTableCost(SpaceCost):
    """Counts a stagewise space from one table a stage."""

    vectorised = True

    def __init__(self, space: StagewiseSpace, model: CostModel | None = None) -> None:
        self._model = model or CostModel()
        self._latency = self._model.latency_table
        self._sizes = np.array(sizes(space.decisions))
        self._sums = ["macs", "params", "state_bytes"] + ["latency"] * (self._latency is not None)
        kept = (*self._sums, "peaks", "blocks")
        self._tables: dict[str, list[NDArray[Any]]] = {name: [] for name in kept}
        self._next: list[NDArray[np.intp]] = []
        template = space.template
        stem = plan_stem(template.stem, template.resolution, template.padding, template.activation)
        states = [(stem.out_channels, stem.out_size)]
        for index in range(len(space.stage_decisions)):
            states = self._add_stage(space, index, states)
        self._add_ends(space, stem, states)
        self._radix = _local_radix(space.stage_decisions)

    def _add_stage(self, space: StagewiseSpace, index: int, states: list[State]) -> list[State]:
        """Fill the tables of one stage; return the states it can leave."""
        columns = math.prod(sizes(space.stage_decisions[index]))
        if columns * len(states) > _MAX_TABLE:
            raise InvalidChoices(
                f"stage {index} must have at most {_MAX_TABLE:,} combinations of inputs and "
                f"choices, got {columns:,} for {len(states)} inputs (subclass SearchSpace for a "
                "space like this)"
            )
        padding, local = space.template.padding, space.stages_at(index)
        shape = (len(states), columns)
        tables = {
            name: np.zeros(shape, np.float64 if name == "latency" else np.int64)
            for name in self._tables
        }
        following = np.zeros(shape, np.intp)
        out: dict[State, int] = {}
        for row, (channels, size) in enumerate(states):
            for column, stage in enumerate(local):
                plans = plan_stage(stage, channels, size, padding)
                for name, entry in self._entries_of(plans).items():
                    tables[name][row, column] = entry
                state = (plans[-1].out_channels, plans[-1].out_size)
                following[row, column] = out.setdefault(state, len(out))
        for name, table in tables.items():
            self._tables[name].append(table)
        self._next.append(following)
        return list(out)

    def _entries_of(self, plans: Sequence[BlockPlan]) -> dict[str, float]:
        entries: dict[str, float] = {
            "macs": sum(plan.macs for plan in plans),
            "params": sum(plan.params for plan in plans),
            "state_bytes": sum(plan.state_bytes for plan in plans),
            "peaks": max(plan.peak for plan in plans),
            "blocks": sum(not plan.is_shortcut for plan in plans),
        }
        if self._latency is not None:
            entries["latency"] = sum(map(self._latency.of_block, plans))
        return entries

    def _add_ends(self, space: StagewiseSpace, stem: PartPlan, states: list[State]) -> None:
        """Fold stem and head into the last table, so that a batch gathers once a stage."""
        template, last = space.template, self._next[-1]
        heads = [
            plan_head(template.head_channels, template.num_classes, *state, template.activation)
            for state in states
        ]
        ends = {
            "macs": [stem.macs + head.macs for head in heads],
            "params": [stem.params + head.params for head in heads],
            "state_bytes": [stem.state_bytes + head.state_bytes for head in heads],
        }
        for name, added in ends.items():
            self._tables[name][-1] += np.array(added)[last]
        if self._latency is not None:
            table, activation = self._latency, template.activation
            first = table.offset + table.of_end(stem, template.resolution, activation)
            parts = zip(heads, states, strict=True)
            seconds = [table.of_end(head, size, activation) for head, (_, size) in parts]
            self._tables["latency"][-1] += first + np.array(seconds)[last]
        image = 3 * template.resolution**2  # the stem's own input, which the caller holds
        live = np.array([max(stem.peak, image + head.peak) for head in heads])[last]
        peaks = [table + image for table in self._tables["peaks"]]
        peaks[-1] = np.maximum(peaks[-1], live)
        self._tables["peaks"] = [BYTES_PER_ELEMENT * table for table in peaks]

    def __call__(self, codes: Codes, /) -> CostArrays:
        codes = np.asarray(codes)
        memory = "memory" in self._model.metrics
        names = [name for name in self._sums if memory or name != "state_bytes"]
        sums: dict[str, NDArray[Any]] = {
            name: np.zeros(len(codes), self._tables[name][0].dtype) for name in names
        }
        peaks = np.zeros(len(codes), np.int64)
        for part in self._parts(codes):
            for stage, entry in enumerate(self._entries(codes[part])):
                for name in names:
                    sums[name][part] += self._tables[name][stage].ravel().take(entry)
                if memory:
                    peak = self._tables["peaks"][stage].ravel().take(entry)
                    np.maximum(peaks[part], peak, out=peaks[part])
        if memory:
            sums["inference_memory"] = sums.pop("state_bytes") + peaks
        return sums

    def blocks(self, codes: Codes, /) -> NDArray[np.int64]:
        codes = np.asarray(codes)
        counted = np.zeros(len(codes), np.int64)
        for part in self._parts(codes):
            for stage, entry in enumerate(self._entries(codes[part])):
                counted[part] += self._tables["blocks"][stage].ravel().take(entry)
        return counted

    def _parts(self, codes: Codes) -> list[slice]:
        if codes.ndim != 2 or codes.shape[1] != len(self._sizes):
            raise InvalidChoices(
                f"codes must have the shape (N, {len(self._sizes)}), got {codes.shape}"
            )
        return [slice(start, start + _CHUNK) for start in range(0, len(codes), _CHUNK)]

    def _entries(self, codes: Codes) -> Iterator[NDArray[np.intp]]:
        """Yield each stage's entries [N] of its flattened tables, down the network."""
        if codes.min(initial=0) < 0 or (codes >= self._sizes).any():
            raise InvalidChoices("codes must be from 0 to a decision's options - 1")
        # All stages' table columns in one product; small integers are exact in float32.
        local = (self._radix @ codes.T.astype(np.float32)).astype(np.intp)
        state: NDArray[np.intp] | None = None
        for column, following in zip(local, self._next, strict=True):
            entry = column if state is None else column + state * following.shape[1]
            yield entry
            state = following.ravel().take(entry) if following.any() else None

    def feasible_range(self, metric: str = "flops") -> Range | None:
        """Return the exact range of a metric; of memory only its lower end."""
        if metric == "memory":
            return Range(low=self._min_memory(), high=None)
        name = "macs" if metric == "flops" else metric
        if name not in self._tables:
            return None
        low, high = (self._extreme(self._tables[name], end) for end in (np.min, np.max))
        return Range(low=low, high=high)

    def _min_memory(self) -> int:
        """Return the exact inference memory of the network that needs least.

        Peaks are not a sum over stages. But the fewest weight bytes under a bound on the peak are,
        and only peaks that occur need to be tried as bounds, in ascending order, until the bound
        plus the fewest weight bytes of any network is no improvement.
        """
        state_bytes, all_peaks = self._tables["state_bytes"], self._tables["peaks"]
        min_state_bytes = self._extreme(state_bytes, np.min)
        min_memory = math.inf
        for bound in np.unique(np.concatenate([peaks.ravel() for peaks in all_peaks])).tolist():
            if bound + min_state_bytes >= min_memory:
                break
            pairs = zip(state_bytes, all_peaks, strict=True)
            tables = [np.where(peaks <= bound, own, np.inf) for own, peaks in pairs]
            min_memory = min(min_memory, bound + self._extreme(tables, np.min))
        return int(min_memory)

    def _extreme(self, tables: Sequence[NDArray[Any]], end: Callable[..., Any]) -> float:
        """Return the smallest or largest sum of entries on any way through the stages, by dynamic
        programming from the last stage back."""
        there: NDArray[Any] = np.zeros(int(self._next[-1].max()) + 1, np.int64)
        for table, following in zip(reversed(tables), reversed(self._next), strict=True):
            there = end(table + there[following], axis=1)
        extreme: float = there[0].item()
        return extreme


def _local_radix(stage_decisions: tuple[tuple[Decision, ...], ...]) -> NDArray[np.float32]:
    """Return a matrix [stages, D] from codes to each stage's column, last decision fastest."""
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
