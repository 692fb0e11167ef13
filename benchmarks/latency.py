"""EfficientNet-B1 against ResNet-152 on one core, as in the EfficientNet paper's Table 4.

Untrained networks, evaluation mode, fp32, batch 1, one thread. Runs of all networks take turns, so
that other load on the machine affects all of them alike; each is timed in both memory formats, and
the faster one counts.
"""

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from mnas_search import reference
from mnas_search.benchmarks.paper.printed import TABLE_4
from mnas_search.benchmarks.results import conditions
from mnas_search.common.machine import one_thread
from mnas_search.networks import build

_WARM_UP = 3
_FORMATS = {"contiguous": torch.contiguous_format, "channels_last": torch.channels_last}
_NOT_BUILT = "not reproduced: GPipe is not built here"


@dataclass(frozen=True, slots=True)
class Timed:
    """A network at a resolution."""

    name: str  # of the reference network
    resolution: int  # side of the image, in pixels
    paper: str  # the network's name in Table 4
    stands_in: bool = False  # whether it only stands in for that, and has no published time


SLOW, FAST, LARGE = "ResNet-152", "EfficientNet-B1", "EfficientNet-B7"
FULL = (
    Timed("efficientnet_b1", 240, FAST),
    Timed("efficientnet_b1", 224, FAST),
    Timed("resnet152", 240, SLOW),
    Timed("resnet152", 224, SLOW),
    Timed("efficientnet_b7", 600, LARGE),
)
# Small stand-ins, to see that everything works.
QUICK = (
    Timed("efficientnet_b0", 40, FAST, stands_in=True),
    Timed("efficientnet_b0", 32, FAST, stands_in=True),
    Timed("resnet50", 40, SLOW, stands_in=True),
    Timed("resnet50", 32, SLOW, stands_in=True),
)


def run(
    timed: tuple[Timed, ...], *, runs: int, note: Callable[[str], None]
) -> dict[str, list[dict[str, Any]]]:
    """Return seconds of each network, and ratios beside the paper's."""
    with one_thread():
        seconds = _seconds(timed, runs, note)
    return {"seconds": [_row(t, seconds[t], runs) for t in timed], "ratios": _ratios(seconds)}


def _seconds(
    timed: tuple[Timed, ...], runs: int, note: Callable[[str], None]
) -> dict[Timed, dict[str, list[float]]]:
    """Time every run, by network and memory format."""
    networks = {(t.name, m): _network(t.name, m) for t in timed for m in _FORMATS}
    images = {
        (t, m): torch.randn(1, 3, t.resolution, t.resolution).contiguous(memory_format=form)
        for t in timed
        for m, form in _FORMATS.items()
    }
    taken: dict[Timed, dict[str, list[float]]] = {t: {n: [] for n in _FORMATS} for t in timed}
    with torch.inference_mode():
        for turn in range(-_WARM_UP, runs):
            note(f"warm-up {turn + _WARM_UP + 1}" if turn < 0 else f"run {turn + 1} of {runs}")
            for (t, name), image in images.items():
                start = time.perf_counter()
                networks[t.name, name](image)
                if turn >= 0:
                    taken[t][name].append(time.perf_counter() - start)
    return taken


def _network(name: str, memory: str) -> torch.nn.Module:
    torch.manual_seed(0)
    network = build(reference.architecture(name)).eval()
    return network.to(memory_format=_FORMATS[memory])  # type: ignore[call-overload, no-any-return]


def _faster(taken: dict[str, list[float]]) -> str:
    return min(taken, key=lambda name: statistics.mean(taken[name]))


def _row(timed: Timed, taken: dict[str, list[float]], runs: int) -> dict[str, Any]:
    best = _faster(taken)
    published = {name: text for pair in TABLE_4 for name, _, text in pair[:2]}
    return {
        "network": timed.name,
        "resolution": timed.resolution,
        "mean, s": statistics.mean(taken[best]),
        "median, s": statistics.median(taken[best]),
        "std, s": statistics.stdev(taken[best]) if runs > 1 else None,
        "memory format": best,
        "in the other format, s": max(statistics.mean(times) for times in taken.values()),
        "paper": None if timed.stands_in else published[timed.paper],
        "runs": runs,
        "threads": 1,
        **conditions("torch"),
    }


def _ratios(seconds: dict[Timed, dict[str, list[float]]]) -> list[dict[str, Any]]:
    """The slow network's mean time over the fast one's: each at the paper's own resolution, and at
    equal ones; the paper's other ratio for the record."""
    means = {t: statistics.mean(taken[_faster(taken)]) for t, taken in seconds.items()}
    (_, _, sooner), (_, _, gpipe) = TABLE_4
    slow = sorted((t for t in means if t.paper == SLOW), key=lambda t: t.resolution)
    fast = sorted((t for t in means if t.paper == FAST), key=lambda t: t.resolution)
    pairs = [(slow[0], fast[-1]), *zip(slow, fast, strict=True)]
    rows: list[dict[str, Any]] = [
        {
            "over": f"{over.name} at {over.resolution}",
            "under": f"{under.name} at {under.resolution}",
            "times faster": means[over] / means[under],
            "paper": None if over.stands_in else sooner,
            "note": "each at its own resolution" if number == 0 else "at one resolution",
        }
        for number, (over, under) in enumerate(pairs)
    ]
    other = {"over": "GPipe", "under": "efficientnet_b7", "times faster": None, "paper": gpipe}
    return [*rows, other | {"note": _NOT_BUILT}]
