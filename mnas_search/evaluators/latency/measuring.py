"""Timing of whole networks."""

from collections.abc import Callable, Sequence

import torch

from mnas_search.architecture import published
from mnas_search.architecture.cost.latency.conditions import Conditions
from mnas_search.architecture.cost.latency.table import REFERENCE
from mnas_search.architecture.traced_network import Network
from mnas_search.architecture.value import Architecture
from mnas_search.evaluators.latency.devices import prepare, ready
from mnas_search.evaluators.latency.stopwatch import TURNS, Run, Session, measure
from mnas_search.networks import build


def measure_networks(
    networks: Sequence[Network],
    conditions: Conditions,
    *,
    turns: int = TURNS,
    note: Callable[[str], None] = lambda text: None,
) -> Session:
    """Time networks in turns, each freshly initialised and at its own resolution."""
    with ready(conditions):
        runs = []
        for number, one in enumerate(networks):
            note(f"network {number + 1} of {len(networks)} made ready")
            runs.append(network_run(one, conditions))
        return measure(runs, reference_run(conditions), turns=turns, note=note)


def reference_run(conditions: Conditions) -> Run:
    """Return a forward pass of the reference, to which all times are relative."""
    return network_run(published.architecture(REFERENCE), conditions)


def network_run(network: Network, conditions: Conditions) -> Run:
    """Return a forward pass of a network."""
    made = build(network) if isinstance(network, Architecture) else network.build()
    side = network.resolution
    return prepare(made, torch.rand(conditions.batch_size, 3, side, side), conditions)
