"""A whole run: the folder, the search, the end.

`start` and `resume` are what the command line and `mnas_search.search` call. Everything that can
be refused is refused before a folder is made.
"""

import contextlib
import time
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from mnas_search.architecture.cost.latency.table import read_table
from mnas_search.architecture.cost.metrics import METRICS
from mnas_search.common import folders, plugins
from mnas_search.common.errors import RunFolderError, WorkFailed, describe_exception
from mnas_search.common.machine import versions
from mnas_search.experiments.listener import Reporter
from mnas_search.experiments.runners import drive
from mnas_search.experiments.search import folder as run_folder
from mnas_search.experiments.search.config import RunConfig, Setup
from mnas_search.experiments.search.latency import TABLE, table_of
from mnas_search.experiments.search.parts import Parts, assemble
from mnas_search.experiments.search.report.page import page
from mnas_search.experiments.search.result import Result, Timing
from mnas_search.nas.evaluator import Evaluator
from mnas_search.nas.job import JobQueue, SequentialQueue, TimedQueue
from mnas_search.nas.journal import Journal, ReadJournal
from mnas_search.nas.objective import Objective
from mnas_search.nas.trial import Trial

_LONGEST_NAME = 200
_RIVAL = "random.jsonl"  # the journal of the random search
_REWRITE_EVERY = 5.0  # seconds between rewrites of the derived tables during a search


def start(config: RunConfig, output: Path | None, reporter: Reporter | None = None) -> Result:
    """Run a search into a new folder, or go on in one that holds the same run."""
    reporter = reporter or Reporter()
    if output is not None and not folders.is_run(output):
        folders.check_free(output, "run's folder")  # before a table is built, for minutes
    try:
        setup = Setup(config, table_of(config, output, reporter.stage, reporter.note))
    finally:
        reporter.closed()
    if output is None or not folders.is_run(output):
        setup.warm_start()
    if output is None:
        folder = folders.new_folder(Path("runs"), _stem(setup.objective))
    else:
        folder = output
        if folders.is_run(folder):
            recorded = folders.read_config(folder)
            folders.check_same_run(folder, recorded, setup.recorded)
        if len(folder.name) > _LONGEST_NAME:
            raise RunFolderError(
                f"a folder name of {len(folder.name)} characters; allowed: {_LONGEST_NAME}, since "
                "the family's files are named after it"
            )
        folder.mkdir(parents=True, exist_ok=True)
    if not folders.is_run(folder):
        # Before the journal: a folder is a run from here on, whatever happens next.
        try:
            if setup.objective.latency is not None:
                setup.objective.latency.write(folder / TABLE)
            folders.write_config(folder, setup.recorded, versions())
        except BaseException:  # a table alone would be no run, and in the way of the next
            (folder / TABLE).unlink(missing_ok=True)
            raise
    return _run(setup, folder, reporter)


def resume(folder: Path, reporter: Reporter | None = None, **larger: Any) -> Result:
    """Go on where a run stopped, with its own configuration; `larger` budgets and workers may
    be given."""
    return _run(_setup(folder, larger), folder, reporter or Reporter())


def reopen(folder: Path) -> Result:
    """What a run has found so far, by its files: nothing is evaluated or written, nor is a run
    that goes on disturbed. Second opinions, which are predictions, are predicted again."""
    setup = _setup(folder, {})
    journal = ReadJournal(folder / "journal.jsonl")
    # Whether a time budget is spent, only the run itself knows: taken as spent.
    deadline = float("inf") if setup.config.time_budget is None else float("-inf")
    with threadpool_limits(1):
        rival = ReadJournal(folder / _RIVAL) if setup.config.baseline else None
        parts = assemble(setup, journal, rival, deadline, lambda trial: None)
        return Result(setup, folder, parts, None)


def report(folder: Path) -> Path:
    """Write report.html again; fails for a run without a winner, as the run itself does."""
    result = reopen(folder)
    if result.best is None:
        raise WorkFailed(f"no report without a winner: {_why_no_winner(result)}")
    return _write_report(result)


def _setup(folder: Path, larger: dict[str, Any]) -> Setup:
    """A run's own configuration, resolved, with larger budgets where they are given."""
    recorded = folders.read_config(folder)
    if "command" in recorded:
        raise RunFolderError(
            f"{str(folder)!r} holds no run but a `{recorded['command']}`; allowed: the command "
            f"that began it, with --output {folder}"
        )
    names = {f.name for f in fields(RunConfig)}
    known = {name: value for name, value in recorded.items() if name in names}
    given = {name: value for name, value in larger.items() if value is not None}
    try:
        config = RunConfig(**{**known, **given})
    except TypeError as error:
        raise RunFolderError(
            f"{str(folder / 'config.json')!r} is no run's configuration: "
            f"{describe_exception(error)}"
        ) from error
    setup = Setup(config, lambda space: read_table(folder / TABLE))
    folders.check_same_run(folder, recorded, setup.recorded)
    return setup


def _stem(objective: Objective) -> str:
    """The target as a folder's name: 400M, 20ms."""
    if objective.metric == "latency":
        return f"{1e3 * objective.target:g}ms"
    return METRICS[objective.metric].amount(objective.target)


def _run(setup: Setup, folder: Path, reporter: Reporter) -> Result:
    config = setup.config
    trials = config.trials
    assert trials is not None  # Setup leaves nothing open
    with contextlib.ExitStack() as files:
        journal = files.enter_context(Journal(folder / "journal.jsonl"))
        rival = None
        if config.baseline is not None:
            rival = files.enter_context(Journal(folder / _RIVAL))
        folders.write_config(folder, setup.recorded, versions())
        budget = float("inf") if config.time_budget is None else config.time_budget
        deadline = time.monotonic() + budget - _spent(journal)
        written = time.monotonic()

        def on_trial(trial: Trial) -> None:
            nonlocal written
            reporter.progress(search.done, trials, search.best)
            if time.monotonic() - written > _REWRITE_EVERY:
                _write_tables(result())
                written = time.monotonic()

        parts = assemble(setup, journal, rival, deadline, on_trial)
        search = parts.search

        def result(timing: Timing | None = None) -> Result:
            return Result(setup, folder, parts, timing)

        fresh = not any(event["event"] in ("ask", "warm start") for event in journal.events)
        journal.append({"event": "session", "phase": "start-up"})
        if fresh and config.start_from:
            search.warm_start(*setup.warm_start())
        reporter.opened(folder, search.done)
        reporter.progress(search.done, trials, search.best)
        try:
            # Linear algebra beside busy workers collapses with a thread a core.
            with threadpool_limits(1):
                timing = _drive(setup, parts)
            if search.best is not None:
                reporter.closed()
                seconds = _train(setup, parts, reporter)
                if seconds:
                    idle = Timing(startup=0.0, search=0.0, repeats=0.0, busy=0.0)
                    timing = replace(timing or idle, finals=seconds)
                if setup.objective.latency is not None:
                    reporter.stage("measuring the best networks on the device")
                    leading = tuple(result().leading.values())
                    parts.remeasured.measure(leading, setup.objective.latency)
        finally:
            reporter.closed()
            _write_tables(result())
        final = result(timing)
        _finish(final)
        return final


def _drive(setup: Setup, parts: Parts) -> Timing | None:
    start = time.monotonic()
    searching, repeating = TimedQueue(parts.search), TimedQueue(parts.repeats.trainings)
    work = SequentialQueue([searching, repeating, *([] if parts.rival is None else [parts.rival])])
    if work.finished:
        return None
    workers = _evaluate(setup.config, work, setup.evaluator)
    if searching.first is None:
        return None
    return Timing(
        startup=searching.first - start,
        search=searching.elapsed,
        repeats=repeating.elapsed,
        busy=searching.busy / (max(1, workers) * max(searching.elapsed, 1e-9)),
    )


def _train(setup: Setup, parts: Parts, reporter: Reporter) -> float:
    """Train what decides at the end; the seconds it took."""
    start = time.monotonic()
    if parts.finals is not None:
        reporter.stage("second opinions on the finalists")
        with threadpool_limits(1):
            finished = parts.finals.trainings.finished  # asks for the opinions, which are kept
        if not finished and setup.trainer is not None:
            reporter.stage("training the finalists, to see that they train")
            _evaluate(setup.config, parts.finals.trainings, setup.trainer)
    elif parts.verdict is not None and setup.tested is not None:
        if not parts.verdict.trainings.finished:
            reporter.stage("training the best candidates and the baselines, with other seeds")
            _evaluate(setup.config, parts.verdict.trainings, setup.tested)
    else:
        return 0.0
    return time.monotonic() - start


def _evaluate(config: RunConfig, source: JobQueue, evaluator: Evaluator) -> int:
    """Drive a source as the configuration says; the number of workers."""
    return drive(
        source,
        evaluator,
        workers=config.workers or 0,
        gpus_per_trial=config.gpus_per_trial,
        address=config.ray_address,
    )


def _spent(journal: Journal) -> float:
    """Seconds of earlier sessions, each from its start to its last event."""
    spent, session, last = 0.0, None, 0.0
    for event in [*journal.events, {"event": "session", "time": 0.0}]:
        if event["event"] == "session":
            spent += 0.0 if session is None else last - session
            session = event["time"]
        last = event["time"]
    return spent


def _write_tables(result: Result) -> None:
    run_folder.write_trials(result.folder, result.trials, result.networks, result.pareto)
    if result.best is not None:
        network = result.architecture or result.networks[result.best.number]
        run_folder.write_best(
            result.folder,
            result.name,
            result.best,
            network,
            opinion=result.opinion,
            verdict=result.verdict,
        )
    else:
        run_folder.remove_winner(result.folder)  # of a search that went on, and lost it


def _finish(result: Result) -> None:
    if result.best is None:
        raise WorkFailed(_why_no_winner(result))
    if result.architecture is not None:
        export = result.folder / "export"
        export.mkdir(exist_ok=True)
        plugins.load("exporters", "pytorch")().export(result.architecture, None, export)
        run_folder.write_family(result.folder, result.family)
    _write_report(result)


def _write_report(result: Result) -> Path:
    versions = folders.read_versions(result.folder)
    return run_folder.write_report(result.folder, page(result, versions))


def _why_no_winner(result: Result) -> str:
    failed = [t for t in result.trials if t.status == "failed"]
    if result.finalists:
        return f"none of the {len(result.finalists)} finalists can be trained; see journal.jsonl"
    if failed and not result.good:
        rest = f", {len(result.stopped)} were stopped early" if result.stopped else ""
        return f"all {len(failed)} candidates failed{rest}; the first one: {failed[0].error}"
    if not result.good:
        return "no candidate was finished"
    more = "`mnas-search resume` with more --trials goes on"
    return (
        f"none of {len(result.good)} candidates is within {result.objective.constraint} "
        f"({_least(result)}); {'the space is exhausted' if result.exhausted else more}"
    )


def _least(result: Result) -> str:
    """The least that candidates need of what is bounded, one of this and another of that."""
    least = {}
    for name in result.objective.bounds:
        counts = [getattr(t, METRICS[name].count) or 0 for t in result.good]
        least[name] = METRICS[name].text(min(counts))
    if len(least) == 1:
        return f"the cheapest has {''.join(least.values())}"
    return f"the least that any of them has: {', '.join(least.values())}"
