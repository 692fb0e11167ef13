"""What can be a target or a limit: FLOPs, params, memory, latency."""

from collections.abc import Callable
from dataclasses import dataclass

from mnas_search.common.units import format_bytes, format_latency, format_size


@dataclass(frozen=True, slots=True, kw_only=True)
class Metric:
    """Something that a network costs.

    Attributes:
        name: for people.
        count: its name in counts, trials and journals.
        amount: a figure with its unit.
        words: the same within a sentence.
    """

    name: str
    count: str
    amount: Callable[[float], str]
    words: str = "{}"

    def text(self, count: float) -> str:
        """An amount within a sentence: 400M FLOPs."""
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
