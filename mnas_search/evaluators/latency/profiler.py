"""Seconds of one forward pass, measured on this machine."""

from collections.abc import Mapping, Sequence
from typing import final

from mnas_search.architecture.cost.latency import Conditions
from mnas_search.architecture.traced_network import Network
from mnas_search.nas.evaluator import Profiler

_MS = 1e3


@final
class LatencyMeter(Profiler):
    """Whole networks in turns with EfficientNet-B0, untrained, batch 1, fp32, one thread.

    Args:
        device: one of `mnas_search.architecture.cost.latency.DEVICES`; None for `cpu`.
    """

    def __init__(self, *, device: str | None = None) -> None:
        self._conditions = Conditions(device=device or "cpu")

    def measure(self, networks: Sequence[Network]) -> list[Mapping[str, str | float]]:
        """Return each network's median in milliseconds, with a 95% interval."""
        from mnas_search.evaluators.latency.measuring import measure_networks

        return [
            {
                "latency_ms": round(_MS * one.seconds, 4),
                "low_ms": round(_MS * one.low, 4),
                "high_ms": round(_MS * one.high, 4),
                "conditions": str(self._conditions),
            }
            for one in measure_networks(networks, self._conditions).latencies()
        ]
