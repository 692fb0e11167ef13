"""What the models of memory and latency predict, beside what a GPU does."""

from collections.abc import Iterator

from mnas_search import reference
from mnas_search.architecture.cost.latency.conditions import Conditions
from mnas_search.benchmarks import memory as memory_benchmark
from mnas_search.benchmarks.fidelity.macro.space import NasBenchMacro
from mnas_search.benchmarks.gpu.work import Row, Work, rounded
from mnas_search.evaluators.latency.building import build_table, drawn
from mnas_search.evaluators.latency.measuring import check
from mnas_search.search_spaces.efficientnet import EfficientNetSpace

_CHECKED = 16  # networks
_SEED = 1  # of those; a table is fitted to others
_BATCHES = ((1, 12), (64, 4))  # images, turns


def memory(work: Work) -> Iterator[Row]:
    """Yield a row for each network, in inference and in training."""
    names = work.choose(memory_benchmark.NAMES[-2:-1], memory_benchmark.NAMES)
    # Workspaces of libraries stay, and are no part of the model.
    memory_benchmark.train(reference.architecture("mobilenet_v2"), 2, work.device)
    for architecture in memory_benchmark.architectures(names, quick=work.quick):
        yield from memory_benchmark.compare(architecture, device=work.device)


def latency(work: Work) -> Iterator[Row]:
    """Yield error and tau of a table of the space's parts, for networks that it has not seen."""
    space = NasBenchMacro() if work.quick else EfficientNetSpace()
    for batch, turns in work.choose(((1, 1),), _BATCHES):
        conditions = Conditions(device=work.device, batch_size=batch)
        table = build_table(space, (), conditions, turns=turns)
        networks = drawn(space, work.choose(3, _CHECKED), _SEED)
        found = check(networks, table, turns=turns)
        times = [one.measured.seconds for one in found.networks]
        yield {
            "conditions": str(conditions),
            "parts": len(table.parts),
            "networks": len(networks),
            "median error": rounded(found.error),
            "tau": None if found.tau is None else rounded(found.tau),
            "ms, fastest and slowest": [rounded(1_000 * t) for t in (min(times), max(times))],
            "drift": rounded(found.drift),
        }
