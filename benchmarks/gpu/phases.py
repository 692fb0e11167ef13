"""The phases, in order of value."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from mnas_search.benchmarks.gpu import (
    candidates,
    checks,
    launches,
    machine,
    models,
    supernets,
    trainings,
)
from mnas_search.benchmarks.gpu.work import Row, Work
from mnas_search.common.checks import check_choice


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase:
    """A part of the benchmark.

    Attributes:
        run: yields what is found, row by row.
        least, most: seconds: it does not start with less, and is stopped after the most.
    """

    name: str
    run: Callable[[Work], Iterator[Row]]
    least: float
    most: float


PHASES = (
    Phase(name="machine", run=machine.run, least=5, most=20),
    Phase(name="tests", run=checks.run, least=20, most=150),
    Phase(name="launches", run=launches.run, least=15, most=60),
    Phase(name="candidates", run=candidates.compare, least=60, most=150),
    Phase(name="scratch", run=trainings.scratch, least=40, most=95),
    Phase(name="finetuning", run=trainings.finetuning, least=120, most=240),
    Phase(name="macro", run=supernets.macro, least=100, most=240),
    Phase(name="memory", run=models.memory, least=5, most=60),
    Phase(name="latency", run=models.latency, least=15, most=120),
    Phase(name="processes", run=candidates.processes, least=25, most=60),
    Phase(name="own-space", run=supernets.own_space, least=240, most=3_600),
)


def named(names: tuple[str, ...]) -> tuple[Phase, ...]:
    """Return the phases of these names in their order, or all."""
    for name in names:
        check_choice("--only", name, [phase.name for phase in PHASES])
    return tuple(phase for phase in PHASES if not names or phase.name in names)
