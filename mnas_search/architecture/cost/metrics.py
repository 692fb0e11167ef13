"""Metrics that can be a target or a limit: FLOPs, params, memory, latency."""

from collections.abc import Callable
from dataclasses import dataclass

from mnas_search.common.units import format_bytes, format_latency, format_size


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """A metric of a network's cost."""

    name: str  # its name in text
    count: str  # its name in costs, trials and journals
    amount: Callable[[float], str]  # formats a value with its unit
    words: str = "{}"  # template of an amount within a sentence

    def text(self, count: float) -> str:
        """Format an amount for a sentence: 400M FLOPs."""
        return self.words.format(self.amount(count))


METRICS = {
    "flops": Metric(name="FLOPs", count="macs", amount=format_size, words="{} FLOPs"),
    "params": Metric(name="params", count="params", amount=format_size, words="{} params"),
    "memory": Metric(
        name="memory", count="inference_memory", amount=format_bytes, words="{} of memory"
    ),
    "latency": Metric(name="latency", count="latency", amount=format_latency),
}
TARGETS = ("flops", "latency", "memory")
