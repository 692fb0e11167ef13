"""Refuses what no network of a space keeps, as far as that is known before a search."""

from collections.abc import Callable

from mnas_search.cost import CONVENTION, MEMORY_CONVENTION
from mnas_search.errors import UsageError
from mnas_search.objective import METRICS, Objective
from mnas_search.space_cost import Range, SpaceCost


def check_reachable(objective: Objective, counter: SpaceCost, space: str) -> None:
    """Raise `UsageError` for a target or limit that lies below all networks of the space called
    `space`; says what they have."""
    for name, most in objective.bounds.items():
        found = _REACHABLE[name](counter)
        if found is None or most >= found.low:
            continue
        amount, text = METRICS[name].amount, METRICS[name].text
        ends = text(found.low)
        if found.high > found.low:
            ends = f"{amount(found.low)} to {text(found.high)}"
        exact = "" if name == "latency" else f", from {found.low:,} exactly"
        raise UsageError(
            f"at most {text(most)} cannot be reached; allowed: space {space!r} goes from "
            f"{ends}{exact} ({_CONVENTIONS[name]})"
        )


def _memory(counter: SpaceCost) -> Range | None:
    least = counter.least_memory  # the most is not known
    return None if least is None else Range(low=least, high=least)


_REACHABLE: dict[str, Callable[[SpaceCost], Range | None]] = {
    "flops": lambda counter: counter.reachable,
    "params": lambda counter: counter.reachable_params,
    "memory": _memory,
    "latency": lambda counter: counter.reachable_latency,
}
_CONVENTIONS = {
    "flops": CONVENTION,
    "params": "trainable parameters",
    "memory": MEMORY_CONVENTION,
    "latency": "predicted by the table of latencies",
}
