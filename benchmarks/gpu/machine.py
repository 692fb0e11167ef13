"""The card and its two ceilings: bandwidth of its memory, arithmetic in bfloat16."""

from collections.abc import Iterator

import torch

from mnas_search.architecture.cost.latency.conditions import Conditions, machine
from mnas_search.benchmarks.gpu.work import Row, Work, rounded, seconds_of
from mnas_search.benchmarks.results import versions
from mnas_search.common.machine import cpu_count


def run(work: Work) -> Iterator[Row]:
    """Yield what it is, then its ceilings."""
    conditions = Conditions(device=work.device)
    row: Row = {**versions("numpy"), "cpus": cpu_count(), **machine(conditions)}
    if work.device == "cuda":
        card = torch.cuda.get_device_properties(0)
        row |= {
            "memory, GiB": rounded(card.total_memory / 2**30),
            "multiprocessors": card.multi_processor_count,
            "cuda": torch.version.cuda,
            "cudnn": torch.backends.cudnn.version(),
        }
    yield row
    yield {"copy, GB/s": rounded(bandwidth(work) / 1e9)}
    side = work.choose(256, 8192)
    one = torch.randn(side, side, device=work.device, dtype=torch.bfloat16)
    one @ one
    seconds = seconds_of(lambda: one @ one, work.choose(1, 20))
    yield {"bfloat16 matrix product, TFLOP/s": rounded(2 * side**3 / seconds / 1e12)}


def bandwidth(work: Work) -> float:
    """Return the bytes a second, read and written, of a copy within the device's memory."""
    one = torch.randn(work.choose(2**20, 2**28), device=work.device)
    two = torch.empty_like(one)
    two.copy_(one)
    return 2 * one.nbytes / seconds_of(lambda: two.copy_(one), work.choose(2, 20))
