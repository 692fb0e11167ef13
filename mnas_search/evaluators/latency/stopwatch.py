"""How long runs take, in turns with a reference that meets the same machine.

What else a machine does slows everything down, for seconds or for minutes. So each turn times the
reference before and after, and counts in its time: the median over many turns of a run's share is
stable where its seconds are not. Seconds are that share of the reference's median.
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from statistics import median

import numpy as np

from mnas_search.architecture.cost.latency.table import Latency
from mnas_search.common.statistics import median_bounds

Run = Callable[[], object]
TURNS = 12
_PER_TURN = 5
_WARM_UP = 2
_OFTEN = 0.15  # seconds of runs between two of the reference


@dataclass(frozen=True, slots=True, kw_only=True)
class Session:
    """What was measured together."""

    reference: float  # the reference's median, in seconds
    # of each run, the median, low and high of its time over the reference's [N, 3]
    shares: np.ndarray

    def latencies(self, reference: float | None = None) -> list[Latency]:
        """Return each run's latency; with `reference`, on a machine where the reference takes that
        many seconds."""
        scale = self.reference if reference is None else reference
        rows = (self.shares * scale).tolist()
        return [Latency(seconds=middle, low=low, high=high) for middle, low, high in rows]


def measure(
    runs: Sequence[Run],
    reference: Run,
    *,
    turns: int = TURNS,
    note: Callable[[str], None] = lambda text: None,
) -> Session:
    """Time all runs, one after the other, `turns` times."""
    for _ in range(_WARM_UP):
        reference()
    seen: list[float] = []  # of the reference
    shares = np.empty((len(runs), turns))
    for turn in range(turns):
        note(f"turn {turn + 1} of {turns}")
        before = _reference(reference, seen)
        waiting: dict[int, float] = {}
        spent = 0.0
        for index, run in enumerate(runs):
            start = time.perf_counter()
            waiting[index] = _timed(run)
            spent += time.perf_counter() - start
            if spent >= _OFTEN or index == len(runs) - 1:
                after = _reference(reference, seen)
                for number, seconds in waiting.items():
                    shares[number, turn] = seconds / ((before + after) / 2)
                before, waiting, spent = after, {}, 0.0
    low, high = median_bounds(turns)
    ordered = np.sort(shares, axis=1)
    columns = (np.median(shares, axis=1), ordered[:, low], ordered[:, high])
    return Session(reference=median(seen), shares=np.stack(columns, axis=1))


def _timed(run: Run) -> float:
    for _ in range(_WARM_UP):
        run()
    return median(_once(run) for _ in range(_PER_TURN))


def _reference(run: Run, seen: list[float]) -> float:
    run()  # another network has been in the caches
    taken = [_once(run), _once(run)]
    seen += taken
    return sum(taken) / len(taken)


def _once(run: Run) -> float:
    start = time.perf_counter()
    run()
    return time.perf_counter() - start
