"""Run a search: the folder, the stages, the files at the end.

`start` and `resume` are what the command line and `mnas_search.search` call. Everything that can
be refused is refused before a folder is made.
"""

import contextlib
import logging
import time
from collections.abc import Mapping, Sequence
from dataclasses import fields, replace
from functools import partial
from pathlib import Path
from typing import Any

from threadpoolctl import threadpool_limits

from mnas_search.architecture.cost.latency.table import read_table
from mnas_search.architecture.cost.metrics import METRICS
from mnas_search.common import folders, plugins
from mnas_search.common.errors import (
    MnasSearchError,
    RunFolderError,
    WorkFailed,
    describe_exception,
)
from mnas_search.common.files import json_text, make_folder, write_atomically
from mnas_search.common.units import format_latency, format_size
from mnas_search.experiments.experiment import Experiment, ExperimentKind, check_same, existing
from mnas_search.experiments.listener import Listener
from mnas_search.experiments.runners import check_travels, drive
from mnas_search.experiments.runners.limits import TrialLimits, longest_of
from mnas_search.experiments.search import folder as run_folder
from mnas_search.experiments.search.checks import RANDOM
from mnas_search.experiments.search.config import Setup
from mnas_search.experiments.search.latency import TABLE, table_of
from mnas_search.experiments.search.options import RunConfig
from mnas_search.experiments.search.prior.phase import PriorPhase
from mnas_search.experiments.search.prior.readings import (
    Readings,
    prior_text,
    read_plan,
    read_readings,
)
from mnas_search.experiments.search.report.notes import why_no_winner
from mnas_search.experiments.search.report.page import page
from mnas_search.experiments.search.report.recorded import ANSWERS, answers, names_code, stand_ins
from mnas_search.experiments.search.result import Result, Timing
from mnas_search.experiments.search.stages.sequence import Stages, make_stages
from mnas_search.experiments.search.stages.trainings import Stage
from mnas_search.experiments.search.time_limit import TimeLimit, seconds_spent
from mnas_search.nas.event_kinds import ANSWER_EVENTS, SEARCH_EVENTS
from mnas_search.nas.job import SequentialQueue, TimedQueue
from mnas_search.nas.journal import Events, Journal, MemoryJournal, ReadJournal, read_events
from mnas_search.nas.objective import Objective
from mnas_search.nas.space.contract import first_network
from mnas_search.nas.trial import Evaluation, Trial

RUN = ExperimentKind(
    command="run",
    noun="run",
    parent="runs",
    events=SEARCH_EVENTS,
    may_grow=("trials", "time_budget"),
)
_LOG = logging.getLogger(__name__)
_RANDOM = "random.jsonl"  # the journal of the random search
_REWRITE_EVERY = 5.0  # seconds between rewrites of the derived tables during a search


def start(config: RunConfig, output: Path | None, listener: Listener | None = None) -> Result:
    """Run a search into a new folder, or resume one that holds the same run."""
    listener, begun = listener or Listener(), time.monotonic()
    experiment = Experiment(RUN, output)  # before a table is built, for minutes
    recorded = experiment.recorded if experiment.resumed else None
    setup = Setup(config, table_of(config, output, listener), recorded)
    workers, resources = setup.config.workers, setup.evaluator.resources
    check_travels(setup.config.evaluator, setup.evaluator, resources, workers)
    check_travels(setup.config.space, first_network(setup.space), resources, workers)
    if not experiment.resumed:
        setup.warm_start()
        _plan_prior(setup, listener)
    table = setup.cost_model.latency_table
    files = {} if table is None else {TABLE: json_text(table.to_dict())}
    experiment.make(setup.recorded, _stem(setup.objective), files)
    return _run(setup, experiment, listener, begun)


def resume(
    folder: Path, listener: Listener | None = None, *, trust_code: bool = False, **larger: Any
) -> Result:
    """Resume a run with its own configuration; `larger` budgets and workers may be given.

    Files of code that the folder names are run where this user has run them before, or with
    `trust_code`."""
    begun = time.monotonic()
    experiment = existing(RUN, folder, trust_code=trust_code)
    setup = _setup(experiment, larger)
    return _run(setup, experiment, listener or Listener(), begun)


def reopen(folder: Path) -> Result:
    """Read what a run has found so far; nothing is evaluated or written, and a run under way is
    not disturbed. The user's code is run only where the journal does not have its answers."""
    experiment = existing(RUN, folder, runs_code=False)
    journals, answered = _journals(folder), MemoryJournal()
    if (folder / ANSWERS).exists():
        answered.events += read_events(folder / ANSWERS, ANSWER_EVENTS)
    replacing = stand_ins(experiment.recorded, _events(journals), answered.events)
    if replacing is None:
        existing(RUN, folder)  # checks the code
    with threadpool_limits(1), plugins.replaced(replacing or {}):
        setup = _setup(experiment, {}, same=not replacing, evaluates=False)
        journal = journals[RUN.journal]
        # Only the run itself knows whether a time budget is spent; it is taken as spent here.
        seconds = None if setup.config.time_budget is None else float("-inf")
        limit = TimeLimit(seconds, journal, workers=1, begun=time.monotonic())
        if setup.prior is not None and (readings := read_readings(journal)) is not None:
            setup.take_readings(readings)
        drawn = journals[_RANDOM] if setup.config.baseline == RANDOM else None
        stages = make_stages(setup, journal, drawn, limit, answers=answered)
        return Result(setup, folder, stages)


def _journals(folder: Path) -> dict[str, ReadJournal]:
    """Read the journals of a run, by name."""
    names = (RUN.journal, *([_RANDOM] if (folder / _RANDOM).exists() else []))
    return {name: ReadJournal(folder / name, SEARCH_EVENTS) for name in names}


def _events(journals: Mapping[str, ReadJournal]) -> list[dict[str, Any]]:
    return [event for journal in journals.values() for event in journal.events]


def report(folder: Path) -> Path:
    """Write report.html again; fails for a run without a winner, as the run itself does."""
    result = reopen(folder)
    if result.best is None:
        raise WorkFailed(f"no report without a winner: {why_no_winner(result)}")
    return _write_report(result)


def _setup(
    experiment: Experiment, larger: dict[str, Any], *, same: bool = True, evaluates: bool = True
) -> Setup:
    """Resolve a run's own configuration, with larger budgets where they are given; `same` where
    it has to be the same with today's files, `evaluates` as in `Setup`."""
    folder, recorded = experiment.folder, experiment.recorded
    options = {f.name: recorded[f.name] for f in fields(RunConfig) if f.name in recorded}
    options |= {name: value for name, value in larger.items() if value is not None}
    try:
        config = RunConfig(**options)
    except TypeError as error:
        raise RunFolderError(
            f"{str(folder / 'config.json')!r} is no run's configuration: "
            f"{describe_exception(error)}"
        ) from error
    setup = Setup(config, lambda space: read_table(folder / TABLE), recorded, evaluates=evaluates)
    if same:
        check_same(RUN, folder, recorded, setup.recorded)
    return setup


def _stem(objective: Objective) -> str:
    """Return the target as a folder's name: 400M, 20ms."""
    if objective.metric == "latency":
        return f"{1e3 * objective.target:g}ms"
    return METRICS[objective.metric].amount(objective.target)


def _run(setup: Setup, experiment: Experiment, listener: Listener, begun: float) -> Result:
    config, folder = setup.config, experiment.folder
    trials = config.trials
    assert trials is not None  # Setup leaves nothing open
    with contextlib.ExitStack() as files:
        journal = files.enter_context(experiment.session(setup.recorded))
        drawn = None
        if config.baseline == RANDOM:
            drawn = files.enter_context(Journal(folder / _RANDOM, SEARCH_EVENTS))
        limit = TimeLimit(config.time_budget, journal, workers=config.workers or 0, begun=begun)
        readings = None if setup.prior is None else read_readings(journal)
        trains_prior = setup.prior is not None and readings is None
        begin = partial(_begin, setup, folder, journal, listener, begun)
        if trains_prior:  # before there is a search
            begin()
            files.callback(listener.on_end)
            readings = _train_prior(setup, folder, journal, listener, begun)
        if readings is not None:
            setup.take_readings(readings)
        written = time.monotonic()

        def on_trial(trial: Trial) -> None:
            nonlocal written
            listener.on_progress(search.done, trials, _best_text(search.best))
            if time.monotonic() - written > _REWRITE_EVERY:
                run_folder.write_tables(Result(setup, folder, stages))
                written = time.monotonic()
            listener.on_trial(trial)

        def on_rung(trial: int, evaluation: Evaluation) -> None:
            assert evaluation.rung is not None
            listener.on_rung(trial, evaluation.rung, evaluation.accuracy)

        answered: Events = MemoryJournal()
        if setup.check is not None or names_code(setup.recorded):
            answered = files.enter_context(Journal(folder / ANSWERS, ANSWER_EVENTS))
        stages = make_stages(setup, journal, drawn, limit, on_trial, on_rung, answered)
        search = stages.search
        fresh = not any(event["event"] in ("ask", "warm start") for event in journal.events)
        if not trains_prior:
            begin()
            files.callback(listener.on_end)
        limits = TrialLimits(
            config.trial_timeout,
            longest=longest_of(journal.events),
            cut_off=limit.cut_off,
            folder=folder,
        )
        files.callback(limits.close)
        if fresh and config.start_from:
            search.warm_start(*setup.warm_start())
        if fresh and setup.evaluator.resources is not None:
            listener.on_note(limits.text)
        if search.done:
            listener.on_note(f"{search.done} trials were finished before")
        listener.on_progress(search.done, trials, _best_text(search.best))
        try:
            timing = _run_stages(config, stages, listener, limits)
            table = setup.cost_model.latency_table
            if search.best is not None and table is not None:
                listener.on_stage("measuring the best networks on the device")
                leading = tuple(Result(setup, folder, stages).leading.values())
                stages.remeasured.measure(leading, table)
            _note_what_is_left_out(stages, folder, listener)
        except BaseException:
            with contextlib.suppress(MnasSearchError):  # the reason is what ended the run
                _end(limits, listener, Result(setup, folder, stages))
            raise
        result = Result(setup, folder, stages, timing)
        _end(limits, listener, result)
        if stages.check is not None:
            stages.check.keep_opinions()
        if names_code(setup.recorded):
            event = answers(setup, result, _events(_journals(folder)), answered.events)
            if event is not None:
                answered.append(event, sync=True)
        _finish(result)
        return result


def _end(limits: TrialLimits, listener: Listener, result: Result) -> None:
    for note in limits.notes():
        listener.on_note(note)
    run_folder.write_tables(result)


def _begin(setup: Setup, folder: Path, journal: Journal, listener: Listener, begun: float) -> None:
    """Begin a session, whose `time.monotonic()` was `begun`: in the journal, and for the
    listener."""
    before = round(time.monotonic() - begun, 3)
    journal.append({"event": "session", "seconds": before, "phase": "start-up"})
    listener.on_start(folder)
    for note in setup.notes:
        listener.on_note(note)
    if setup.pretrained is not None:
        listener.on_note(setup.pretrained.text)


def _plan_prior(setup: Setup, listener: Listener) -> None:
    """Plan the training of a prior, if any, before a folder is made: it may be refused."""
    if setup.prior is not None:
        if setup.prior.will_measure:
            listener.on_stage("measuring training steps of the prior")
        setup.plan_prior()


def _train_prior(
    setup: Setup, folder: Path, journal: Journal, listener: Listener, begun: float
) -> Readings:
    """Train the prior, in a session whose `time.monotonic()` was `begun`."""
    assert setup.prior is not None
    if read_plan(journal) is None:
        _plan_prior(setup, listener)
    phase = PriorPhase(
        setup.prior.evaluator,
        setup.plan_prior,
        space=setup.space,
        allows=setup.near_target,
        seed=setup.config.seed,
        folder=folder,
        journal=journal,
        on_status=listener.on_status,
    )
    _drive(setup.config, phase.stages, listener)
    readings = phase.finish(seconds_spent(journal) + time.monotonic() - begun)
    listener.on_note(prior_text(readings))
    return readings


def _best_text(best: Trial | None) -> str:
    if best is None:
        return "no candidate yet"
    costs = [f"{format_size(best.macs)} FLOPs"]
    if "latency" in best.costs:
        costs.append(format_latency(best.costs["latency"]))
    return f"best {best.accuracy:.4f} at {', '.join(costs)}, reward {best.reward:.4f}"


def _run_stages(
    config: RunConfig, stages: Stages, listener: Listener, limits: TrialLimits
) -> Timing | None:
    """Run the stages in sequence; return None where nothing was left to do."""
    start, timing = time.monotonic(), None
    stages.limit.start()
    workers, (searching, replicating, *later) = _drive(config, stages.searching, listener, limits)
    if searching.first is not None:
        timing = Timing(
            startup=searching.first - start,
            search=searching.elapsed,
            replicates=replicating.elapsed,
            final=0.0 if stages.comparison is None else later[-1].elapsed,
            busy=searching.busy / (max(1, workers) * max(searching.elapsed, 1e-9)),
        )
    if stages.search.best is None:
        return timing
    for stage in stages.final:
        begun = time.monotonic()
        _drive(config, [stage], listener, limits)
        timing = timing or Timing()
        timing = replace(timing, final=timing.final + time.monotonic() - begun)
    return timing


def _note_what_is_left_out(stages: Stages, folder: Path, listener: Listener) -> None:
    """Say what the time budget did not suffice for; without its comparison with baselines, the
    search's winner is recommended."""
    compared, test = stages.comparison, stages.test
    if compared is None or test is None or stages.search.best is None:
        return
    if not compared.complete:
        stages.limit.leave_out_comparison()
        what = "comparison with baselines: the search's winner is recommended as it is"
    elif test.queue.remaining and test.of(compared.recommended) is None:
        what = "test of what is recommended"
    else:
        return
    listener.on_left_out(what, folder)


def _drive(
    config: RunConfig,
    stages: Sequence[Stage],
    listener: Listener,
    limits: TrialLimits | None = None,
) -> tuple[int, list[TimedQueue[Any]]]:
    """Run stages that share an evaluator in one session of its workers; return the number of
    workers, and the stages' queues with their times."""

    def announced(stage: Stage) -> TimedQueue[Any]:
        return TimedQueue(stage.queue, partial(_announce, stage.title, listener))

    queues, evaluator = [announced(stage) for stage in stages], stages[0].evaluator
    work = SequentialQueue(queues)
    # Linear algebra with one thread per core is very slow beside busy workers.
    with threadpool_limits(1):
        if work.finished or evaluator is None:
            return 0, queues
        workers, gpus = config.workers or 0, config.gpus_per_trial
        address = config.ray_address
        workers = drive(
            work,
            evaluator,
            workers=workers,
            gpus_per_trial=gpus,
            address=address,
            limits=limits,
        )
    return workers, queues


def _announce(title: str, listener: Listener) -> None:
    if title:
        _LOG.info("stage: %s", title)
        listener.on_stage(title)


def _finish(result: Result) -> None:
    if result.best is None:
        raise WorkFailed(why_no_winner(result))
    if (network := result.recommended) is not None:
        export = make_folder(result.folder / "export")
        plugins.load("exporters", "pytorch")().export(network, None, export)
        run_folder.write_family(result)
    _write_report(result)


def _write_report(result: Result) -> Path:
    versions = folders.read_record(result.folder).versions
    return write_atomically(result.folder / "report.html", page(result, versions))
