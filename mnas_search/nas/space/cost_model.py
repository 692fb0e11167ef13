"""Counting of single networks, by metric."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import final

from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.cost.latency.table import LatencyTable
from mnas_search.architecture.traced_network import Network
from mnas_search.common.errors import UsageError

Costs = Mapping[str, float]  # by name: macs, params, inference_memory, latency


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class CostModel:
    """Counts networks: multiply-adds and params always, memory and latency where asked for.

    Attributes:
        metrics: names in `METRICS` of what is counted besides.
        latency_table: predicts latencies; required for them.
    """

    metrics: tuple[str, ...] = ()
    latency_table: LatencyTable | None = None

    def __post_init__(self) -> None:
        if "latency" in self.metrics and self.latency_table is None:
            raise UsageError("a bound on latency requires a latency table")

    def costs(self, network: Network) -> dict[str, float]:
        """Return a network's costs: `macs`, `params`, `inference_memory` in bytes (fp32, batch 1)
        and the predicted `latency` in seconds, as far as they are counted."""
        counted = cost(network)
        costs: dict[str, float] = {"macs": counted.macs, "params": counted.params}
        if "memory" in self.metrics:
            if counted.inference_memory is None:
                raise UsageError(
                    "a bound on memory requires networks of stages, whose memory is known, got "
                    f"{network.label!r}"
                )
            costs["inference_memory"] = counted.inference_memory
        if self.latency_table is not None:
            costs["latency"] = self.latency_table.predict(network).seconds
        return costs
