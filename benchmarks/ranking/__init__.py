"""What ranks networks as ImageNet does, in seconds: `mnas-search bench ranking`.

Every trial reads values off networks whose ImageNet accuracy is recorded (Accel-NASBench,
arXiv 2404.08005), and is judged by Kendall's tau against counting alone.

    networks     the recorded networks: two disjoint draws
    structure    scores of the plan
    scores       scores of the untrained network
    tasks        procedural images
    trained      short trainings, and a linear classifier on an untrained network
    readings     what a trial reads
    trials       the roster
    running      readings on disk, over processes
    table, report   what is written
"""

from collections.abc import Callable, Sequence
from pathlib import Path

from mnas_search.benchmarks.ranking import networks, report, running, table, trials
from mnas_search.benchmarks.ranking.running import Store, Work
from mnas_search.benchmarks.ranking.trials import Trial
from mnas_search.benchmarks.results import Outcome, write_files
from mnas_search.common.errors import UsageError

__all__ = ["Outcome", "run"]

QUICK = ("log_macs", "log_params", "snip", "zen")
_QUICK_NETWORKS = 8


def run(
    *,
    results: Path,
    quick: bool = False,
    report_only: bool = False,
    only: Sequence[str] = (),
    count: int | None = None,
    processes: int = 1,
    note: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """Compute the readings that `results` lacks, and write the report there.

    Args:
        results: the folder; readings are kept in `readings/` below it.
        quick: cheap scores over 8 networks a draw.
        report_only: take the readings that are there.
        only: names of trials; leave all others out.
        count: networks a draw, instead of each trial's own.
        processes: networks at a time.
        note: hears of progress, a line at a time.
    """
    chosen = trials.chosen(only or (QUICK if quick else ()))
    if count is None and quick:
        count = _QUICK_NETWORKS
    if count is not None:
        networks.sample(networks.DRAWS[0], count)  # a wrong number is told before any work
        chosen = tuple(trials.over(trial, count) for trial in chosen)
    store = Store(folder=results)
    failures: list[str] = []
    if not report_only:
        missing = _missing(store, chosen)
        note(f"{len(missing):,} readings to be had")
        failures = running.compute(store, missing, processes, note)
    rows = [row for draw in networks.DRAWS for row in _rows(store, chosen, draw)]
    if not rows:
        raise UsageError(
            f"no readings in {str(results)!r}" + "".join(f"; {f}" for f in failures[:1])
        )
    note(report.verdict(rows))
    return Outcome(
        records=report.records(rows),
        table=report.table(rows),
        files=write_files(
            results,
            {
                "ranking.md": report.markdown(rows),
                "ranking.json": report.records(rows),
                "ranking-readings.csv.gz": report.raw(chosen, store.read),
                "ranking.png": report.draw(rows),
            },
        ),
        failures=tuple(failures),
    )


def _missing(store: Store, chosen: Sequence[Trial]) -> list[Work]:
    """Work by trial, draw by draw: what is chosen on the first is confirmed on the second."""
    work = []
    for draw in networks.DRAWS:
        for trial in chosen:
            there = store.read(trial)
            for row in trials.asked(trial, draw):
                if row not in there:
                    work.append(Work(trial=trial, row=row))
    return work


def _rows(store: Store, chosen: Sequence[Trial], draw: str) -> list[table.Row]:
    columns = table.columns(chosen, trials.COMBINATIONS, store.read, draw)
    rows = list(table.rows(columns, draw))
    # The yardstick fits thousands of counts: only where there is something to be held against it.
    long = any(row.eligible for row in rows)
    return rows + list(table.rows([table.fitted(draw)], draw)) if long else rows
