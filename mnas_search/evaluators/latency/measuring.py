"""Latencies of whole networks: measured, and beside those that a table predicts."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import torch

from mnas_search.architecture import published
from mnas_search.architecture.cost.latency.conditions import Conditions
from mnas_search.architecture.cost.latency.table import REFERENCE, Latency, LatencyTable
from mnas_search.architecture.traced_network import Network
from mnas_search.architecture.value import Architecture
from mnas_search.common.statistics import kendall_tau
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Checked:
    """A network's predicted and measured latency."""

    predicted: float  # seconds
    measured: Latency  # at the speed that the machine had when the table was built

    @property
    def error(self) -> float:
        """Relative error of the prediction."""
        return self.predicted / self.measured.seconds - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """The check of several networks."""

    networks: tuple[Checked, ...]  # each, in the order given
    drift: float  # how much longer the reference takes now than when the table was built

    @property
    def error(self) -> float:
        """Median absolute relative error."""
        return median(abs(one.error) for one in self.networks)

    @property
    def tau(self) -> float | None:
        """Kendall's tau-b of predictions and measurements; None below three networks."""
        if len(self.networks) < 3:
            return None
        pairs = [(one.predicted, one.measured.seconds) for one in self.networks]
        return kendall_tau(*zip(*pairs, strict=True))

    @property
    def notes(self) -> list[str]:
        """Lines to print below the rows."""
        error = f"median error {self.error:.1%}"
        if self.tau is not None:
            error += f", Kendall's tau {self.tau:.3f} over {len(self.networks)} networks"
        drift = (
            f"the reference network takes {self.drift:.2f} times what it took when the table was "
            "built, which is taken off the measured times"
        )
        return [error, drift]


def check(
    networks: Sequence[Network],
    table: LatencyTable,
    *,
    turns: int | None = None,
    note: Callable[[str], None] = lambda text: None,
) -> Check:
    """Measure networks under the table's conditions, on this machine."""
    session = measure_networks(networks, table.conditions, turns=turns or TURNS, note=note)
    rows = zip(networks, session.latencies(table.reference), strict=True)
    return Check(
        networks=tuple(
            Checked(predicted=table.predict(network).seconds, measured=measured)
            for network, measured in rows
        ),
        drift=session.reference / table.reference,
    )
