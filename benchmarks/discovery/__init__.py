"""Which controller finds good networks in how few evaluations: `mnas-search bench discovery`.

All searchers meet the same problems under the same noise and seeds, on recorded trainings of two
spaces (Accel-NASBench, NAS-Bench-Macro). No controller is started with known networks.

    worlds          models of recorded networks: one tells, one reports
    problems        what is searched, what is told, cost on a device
    searchers       who searches, and one run; ours behind it
    peers/          methods of others
    roster          who takes part, by name
    running         many, over processes
    scoring         held-out rewards of what is recommended, regret
    report          what is written
"""

from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from mnas_search.benchmarks.discovery import report, roster, running
from mnas_search.benchmarks.discovery.problems import DEFINITIONS, given
from mnas_search.benchmarks.discovery.report import Scores
from mnas_search.benchmarks.discovery.running import QUICK, Plan, Runner, Task
from mnas_search.benchmarks.discovery.scoring import Scored
from mnas_search.benchmarks.results import Outcome, write_files
from mnas_search.common.errors import UsageError
from mnas_search.nas.space.choices import sample_codes

__all__ = ["Outcome", "run"]


def run(
    *,
    results: Path,
    quick: bool = False,
    report_only: bool = False,
    processes: int = 1,
    controllers: Sequence[str] = (),
    only_controllers: Sequence[str] = (),
    only_problems: Sequence[str] = (),
    seeds: int = 100,
    evaluations: int = 1_000,
    note: Callable[[str], None] = lambda line: None,
) -> Outcome:
    """Compute the runs that `results` lacks, and write the report there.

    Args:
        results: the folder; runs are kept in `runs/` below it.
        quick: three seeds, 40 evaluations, cheap controllers.
        report_only: take the runs that are there.
        processes: runs at a time.
        controllers: `file.py:Name` of further ones.
        only_controllers, only_problems: leave all others out.
        seeds, evaluations: the most of a controller on a problem.
        note: hears of progress, a line at a time.
    """
    plan = (QUICK if quick else Plan()).limited(seeds, evaluations)
    chosen = _chosen_controllers(only_controllers, controllers, quick=quick)
    wanted = _chosen_problems(only_problems)
    runner = Runner(folder=results, generations=plan.generations)
    tasks = plan.tasks(wanted, chosen)
    note("fitting the models")
    there = [task for task in tasks if runner.kept(task) is not None]
    failures: list[str] = []
    if not report_only:
        note(f"{len(there):,} of {len(tasks):,} runs are there")
        known_tasks = set(there)
        missing = [task for task in tasks if task not in known_tasks]
        failures = running.compute(runner.compute, missing, processes, note)
        there = [task for task in tasks if runner.kept(task) is not None]
    worlds = {runner.best_file(task): task for task in there if runner.best(task) is None}
    if worlds:
        note(f"searching {len(worlds):,} worlds for their best networks")
    failures += running.compute(runner.find_best, [*worlds.values()], processes, note)
    unscored = [task for task in there if runner.scored(task) is None]
    note(f"scoring {len(unscored):,} runs")
    failures += running.compute(runner.score, unscored, processes, note)
    scores = [_scores(name, runner, there) for name in wanted]
    rows = report.records(scores, plan.evaluations)
    if not rows:
        raise UsageError(f"no runs in {str(results)!r}" + "".join(f"; {f}" for f in failures[:1]))
    files = write_files(
        results,
        {
            "discovery.md": report.markdown(scores, rows, plan.evaluations),
            "discovery.json": {"records": rows, "failures": failures},
            "discovery-curves.csv.gz": report.curves(scores),
            **report.draw(scores),
        },
    )
    return Outcome(
        records=rows,
        table=report.table(rows, plan.evaluations),
        files=files,
        failures=tuple(failures),
    )


def _chosen_controllers(
    only: Sequence[str], more: Sequence[str], *, quick: bool
) -> tuple[str, ...]:
    names = only or (n for n in roster.names() if not quick or roster.entry(n).cheap)
    chosen = tuple(dict.fromkeys((*names, *more)))
    for name in chosen:
        roster.entry(name)  # wrong names are told before any work
    return chosen


def _chosen_problems(only: Sequence[str]) -> tuple[str, ...]:
    names = tuple(definition.name for definition in DEFINITIONS)
    for name in only:
        if name not in names:
            raise UsageError(f"problem must be one of {', '.join(names)}, got {name!r}")
    return tuple(n for n in names if n in only) if only else names


def _scores(problem: str, runner: Runner, tasks: Sequence[Task]) -> Scores:
    runs: dict[str, dict[report.Key, Scored]] = {}
    for task in tasks:
        if task.problem == problem and (scored := runner.scored(task)) is not None:
            runs.setdefault(task.name, {})[problem, task.seed] = scored
    told = given(problem)
    draws = sample_codes(told.decisions, 100_000, np.random.default_rng(0))
    return Scores(problem=problem, fraction=float(told.is_feasible(draws).mean()), runs=runs)
