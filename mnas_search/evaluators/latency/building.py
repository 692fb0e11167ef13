"""Building latency tables of search spaces or networks by timing every part that occurs.

Parts are timed in lots, and the table is handed to the caller after each lot, so an interruption
loses at most one lot. At the end whole networks are timed, to fit offset and factor. The table
keeps them too: those of one space still count when another space is added.
"""

import logging
from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch

from mnas_search.architecture.blocks.network import plan_head, plan_stage, plan_stem
from mnas_search.architecture.cost.latency.conditions import Conditions, describe, machine
from mnas_search.architecture.cost.latency.parts import (
    Part,
    block_part,
    end_part,
    parts_of,
    work_of,
)
from mnas_search.architecture.cost.latency.table import LatencyTable, TimedNetwork, TimedPart
from mnas_search.architecture.traced_network import Network
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import UsageError
from mnas_search.evaluators.latency.devices import module_of, prepare, ready
from mnas_search.evaluators.latency.measuring import network_run, reference_run
from mnas_search.evaluators.latency.stopwatch import TURNS, Session, measure
from mnas_search.nas.space.choices import sample
from mnas_search.nas.space.contract import SearchSpace, StagewiseSpace

_LOG = logging.getLogger(__name__)
_LOT = 32  # parts that are in memory together
_WHOLE = 12  # networks that are timed for offset and factor
CALIBRATION_SEED = 0  # of those; checks of a table draw with other ones


def build_table(
    space: SearchSpace | None,
    architectures: Sequence[Architecture],
    conditions: Conditions,
    *,
    begun: LatencyTable | None = None,
    turns: int = TURNS,
    note: Callable[[str], None] = lambda text: None,
    keep: Callable[[LatencyTable], object] = lambda table: None,
) -> LatencyTable:
    """Time what `begun` does not have of a space and of further architectures.

    Args:
        keep: called with the table as it grows; one that is begun anew is finished the last time.
    """
    if space is not None and not isinstance(space, StagewiseSpace):
        raise UsageError(
            "a latency table requires a StagewiseSpace or a list of architectures, "
            f"got {type(space).__name__}"
        )
    parts = parts_of_space(space) if space is not None else []
    parts = distinct([*parts, *(part for one in architectures for part in parts_of(one))])
    whole = [] if space is None else drawn(space, _WHOLE, CALIBRATION_SEED)
    chains = [one for one in whole if isinstance(one, Architecture)]  # all, of a StagewiseSpace
    with ready(conditions):
        if begun is not None:
            _check_same(begun, conditions)
        table = begun
        reference = reference_run(conditions)
        missing = [p for p in parts if table is None or p.key not in table.parts]
        for start in range(0, len(missing), _LOT):
            lot = missing[start : start + _LOT]
            place = f"parts {start + 1} to {start + len(lot)} of {len(missing)}"
            runs = [
                prepare(
                    module_of(part), torch.randn(conditions.batch_size, *part.shape), conditions
                )
                for part in lot
            ]
            session = measure(runs, reference, turns=turns, note=_prefixed(note, place))
            table = _extended(table, lot, session, conditions)
            keep(table)
            _LOG.info("measured %s on %s", place, conditions)
        if table is None:
            raise UsageError("a latency table requires a space or at least one architecture")
        networks = {n.fingerprint: n for n in [*chains, *architectures]}
        networks = {key: n for key, n in networks.items() if key not in table.whole}
        runs = [network_run(one, conditions) for one in networks.values()]
        session = measure(runs, reference, turns=turns, note=_prefixed(note, "whole networks"))
    new = {
        key: TimedNetwork(parts=table.sum_of_parts(network), seconds=latency.seconds)
        for (key, network), latency in zip(
            networks.items(), session.latencies(table.reference), strict=True
        )
    }
    table = replace(table, whole={**table.whole, **new}).fit()
    keep(table)
    return table


def drawn(space: SearchSpace, count: int, seed: int) -> list[Network]:
    """Return networks of a space, each choice drawn uniformly."""
    rng = np.random.default_rng(seed)
    return [space.decode(sample(space.decisions, rng)) for _ in range(count)]


def _extended(
    table: LatencyTable | None, lot: Sequence[Part], session: Session, conditions: Conditions
) -> LatencyTable:
    """Add what a session has timed to the table, at the speed of the first session."""
    table = table or LatencyTable(
        conditions=conditions, machine=machine(conditions), reference=session.reference, parts={}
    )
    new = {
        part.key: TimedPart(latency=latency, work=work_of(part.plan, conditions.batch_size))
        for part, latency in zip(lot, session.latencies(table.reference), strict=True)
    }
    return replace(table, parts={**table.parts, **new})


def _check_same(table: LatencyTable, conditions: Conditions) -> None:
    """Refuse to mix devices, machines or packages in one table."""
    here = machine(conditions)
    if table.conditions != conditions or dict(table.machine) != here:
        raise UsageError(
            f"the conditions must be the table's ({table.conditions} on "
            f"{describe(table.machine)}), got {conditions} on {describe(here)}"
        )


def _prefixed(note: Callable[[str], None], place: str) -> Callable[[str], None]:
    return lambda text: note(f"{place}: {text}")


def parts_of_space(space: StagewiseSpace) -> list[Part]:
    """Return the distinct parts that occur in a space, stage by stage."""
    template = space.template
    activation, padding = template.activation, template.padding
    stem = plan_stem(template.stem, template.resolution, padding, activation)
    parts = [end_part("stem", stem, template.resolution, template)]
    states = {(stem.out_channels, stem.out_size)}
    for index in range(len(space.stage_decisions)):
        planned = [
            plan_stage(stage, *state, padding)
            for stage in space.stages_at(index)
            for state in sorted(states)
        ]
        parts += [block_part(block, template) for blocks in planned for block in blocks]
        states = {(blocks[-1].out_channels, blocks[-1].out_size) for blocks in planned}
    for channels, size in sorted(states):
        head = plan_head(template.head_channels, template.num_classes, channels, size, activation)
        parts.append(end_part("head", head, size, template))
    return distinct(parts)


def distinct(parts: list[Part]) -> list[Part]:
    """Keep one part per key, in order."""
    return list({part.key: part for part in parts}.values())
