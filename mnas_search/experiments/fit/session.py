"""A fit: the folder and the phases. `start`, `resume` and `plan_only` are what commands call.

config.json       the options, with versions
plan.json         the plan, made before anything was trained
latency.json      the table of latencies, where latency is bounded
journal.jsonl     sessions, the baselines' trainings and which was chosen, the end of the search,
                  the length of the last training
run/              the search and its comparison (`mnas-search run`), if the plan has one
training/         the last training (`mnas-search train`)
export/           the trained network: files of the training's export; onnx/ if onnx is installed
recommended.json  the network, with the accuracies of the last training
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import RunFolderError, WorkFailed, describe_exception
from mnas_search.common.files import json_text, read_json, refuse_link
from mnas_search.common.folders import holds_experiment
from mnas_search.experiments.experiment import (
    Experiment,
    ExperimentKind,
    check_same,
    content_hashes,
    existing,
)
from mnas_search.experiments.fit.baselines import CHOSEN, EVENT, choose_baseline
from mnas_search.experiments.fit.clock import Clock, FitListener, PhaseListener
from mnas_search.experiments.fit.config import FitConfig
from mnas_search.experiments.fit.exports import write_exports
from mnas_search.experiments.fit.measuring import Prospect, training_config
from mnas_search.experiments.fit.plan import LATEST, Plan
from mnas_search.experiments.fit.preparing import (
    Prepared,
    describe,
    find_prospects,
    prepare,
    resolve_target,
)
from mnas_search.experiments.fit.result import FitResult
from mnas_search.experiments.search import run as search_run
from mnas_search.experiments.search.checks import NONE
from mnas_search.experiments.search.latency import TABLE, Remeasured
from mnas_search.experiments.search.recommendation import (
    Recommendation,
    read_recommended,
    write_recommended,
)
from mnas_search.experiments.training import session as training_session
from mnas_search.nas.event_kinds import (
    COUNT,
    LATENCY,
    OBJECT,
    SEARCH_EVENTS,
    SECONDS,
    TEXT,
    TRAINING,
    optional,
)
from mnas_search.nas.journal import Events, Journal, read_events

PLAN = "plan.json"
_RUN, _TRAINING, _EXPORT = "run", "training", "export"
_LENGTH = "training"  # the event that fixes the length of the last training
_SEARCHED = "searched"  # the event after a search and its comparison
FIT = ExperimentKind(
    command="fit",
    noun="fit",
    parent="fit",
    events={
        "session": {"spent": SECONDS},
        EVENT: {**TRAINING, "network": TEXT},
        CHOSEN: {"network": TEXT, "resolution": COUNT},
        _SEARCHED: {"seconds": SECONDS, "comparison": optional(OBJECT)},
        _LENGTH: {"epochs": COUNT, "network": TEXT},
        "latency": LATENCY,
    },
)


def plan_only(config: FitConfig, listener: FitListener) -> Prepared:
    """Measure and plan; nothing is written."""
    try:
        return prepare(config, listener, time.monotonic())
    finally:
        listener.on_end()


def start(
    config: FitConfig, output: Path | None, listener: FitListener | None = None
) -> FitResult:
    """Fit in a new folder, or resume the same fit in one that holds it.

    Raises:
        UsageError: what was asked for is refused; nothing was written.
        WorkFailed: a phase failed; what it has done is kept in the folder.
    """
    begun, listener = time.monotonic(), listener or FitListener()
    experiment = Experiment(FIT, output)
    if experiment.resumed:
        return _resume(config, experiment, listener, begun)
    try:
        prepared = prepare(config, listener, begun)
    finally:
        listener.on_end()
    files = {PLAN: json_text(prepared.plan.to_dict())}
    if prepared.table is not None:
        files[TABLE] = json_text(prepared.table.to_dict())
    recorded = _recorded(config, prepared.prospects)
    experiment.make(recorded, config.stem, files)
    return _run(prepared, recorded, experiment, listener, begun)


def resume(
    folder: Path,
    listener: FitListener | None = None,
    changes: Mapping[str, Any] | None = None,
    *,
    trust_code: bool = False,
) -> FitResult:
    """Resume a fit with its own options and plan; `changes` may name workers, GPUs and the
    address of a cluster; `trust_code` as in `experiments.trust`."""
    experiment = existing(FIT, folder, trust_code=trust_code)
    given = {name: value for name, value in (changes or {}).items() if value is not None}
    try:
        config = FitConfig.from_dict(experiment.recorded | given)
    except TypeError as error:
        raise RunFolderError(
            f"{str(folder / 'config.json')!r} is no fit's configuration: "
            f"{describe_exception(error)}"
        ) from error
    return _resume(config, experiment, listener or FitListener(), time.monotonic())


def _resume(
    config: FitConfig, experiment: Experiment, listener: FitListener, begun: float
) -> FitResult:
    folder = experiment.folder
    check_same(FIT, folder, experiment.recorded, config.to_dict())
    plan = read_plan(folder)
    complete, _ = resolve_target(config)
    complete = _with_table(complete, folder)
    prospects = find_prospects(complete, listener, plan.resolutions)
    recorded = _recorded(config, prospects)
    experiment.make(recorded, "")
    prepared = Prepared(
        config=complete,
        plan=plan,
        prospects=prospects,
        notes=(),
        images=0,
        table=prospects[0].setup.cost_model.latency_table,
    )
    return _run(prepared, recorded, experiment, listener, begun)


def read_plan(folder: Path) -> Plan:
    """Read plan.json; raises `RunFolderError` for another file."""
    path = folder / PLAN
    try:
        return Plan.from_dict(read_json(path))
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise RunFolderError(f"{str(path)!r} holds no plan: {error}") from error


def _recorded(config: FitConfig, prospects: tuple[Prospect, ...]) -> dict[str, Any]:
    options = config.to_dict()
    evaluator = prospects[0].setup.evaluator
    return options | content_hashes(options, ("space", "controller", "data"), evaluator)


def _with_table(config: FitConfig, folder: Path) -> FitConfig:
    """Return the configuration that reads latencies from the fit's own table, if it has one."""
    table = folder / TABLE
    return replace(config, latency_table=str(table)) if table.is_file() else config


def _run(
    prepared: Prepared,
    recorded: dict[str, Any],
    experiment: Experiment,
    listener: FitListener,
    begun: float,
) -> FitResult:
    folder = experiment.folder
    for name in (_RUN, _TRAINING, _EXPORT):
        refuse_link(folder / name, "a folder")
    prepared = replace(prepared, config=_with_table(prepared.config, folder))
    with experiment.session(recorded) as journal:
        spent = _spent(journal, folder)
        before = spent + time.monotonic() - begun  # of this session, too
        journal.append({"event": "session", "spent": round(before, 3)})
        listener.on_start(folder)
        if not experiment.resumed:
            for line in describe(prepared):
                listener.on_note(line)
        clock = Clock(prepared.plan.seconds, spent=spent, begun=begun)
        listener.on_clock(clock)
        phases = _Phases(prepared, folder, journal, PhaseListener(listener, clock), clock)
        try:
            return phases.run()
        finally:
            listener.on_end()


def _spent(journal: Journal, folder: Path) -> float:
    """Compute the seconds of earlier sessions. The last one began after `spent` seconds, and
    ended with the last sign of life of its run or training."""
    events = [event for event in journal.events if event["event"] == "session"]
    if not events:
        return 0.0
    last = events[-1]
    signs = [journal.events[-1]["time"]]
    run, metrics = folder / _RUN / "journal.jsonl", folder / _TRAINING / "metrics.jsonl"
    if run.is_file():
        signs += [event["time"] for event in read_events(run, SEARCH_EVENTS)[-1:]]
    if metrics.is_file():
        signs.append(metrics.stat().st_mtime)
    return float(last["spent"] + max(0.0, max(signs) - last["time"]))


@final
@dataclass(frozen=True, slots=True)
class _Phases:
    """The phases of one session, those that are done already included."""

    prepared: Prepared
    folder: Path
    journal: Events
    listener: PhaseListener
    clock: Clock

    def run(self) -> FitResult:
        """Carry out all phases."""
        config, plan = self.prepared.config, self.prepared.plan
        self.clock.begin("baselines")
        if plan.seeds:
            self.listener.on_stage("training baselines for a short time")
        entry, seconds = choose_baseline(
            self.prepared.prospects,
            count=plan.baselines,
            seeds=plan.seeds,
            seed=config.seed,
            deadline=time.monotonic() + LATEST * plan.seconds["baselines"],
            journal=self.journal,
            listener=self.listener,
        )
        side = entry.prospect.resolution
        recommended = Recommendation(
            name=entry.network.label,
            source="baseline",
            architecture=entry.network,
            validation=entry.mean if entry.validation else None,
        )
        report = None
        if plan.trials:
            recommended, report, seconds = self._search(side)
        network = recommended.architecture
        if network is None:
            raise WorkFailed(f"{recommended.name} is no network of stages, and cannot be trained")
        if recommended.source == "winner":  # named after the run
            network = replace(network, name=self.folder.resolve().name)
        trained = self._train(network, side, seconds)
        self.clock.begin("finish")
        self.listener.on_stage("exporting")
        for note in write_exports(self.folder / _TRAINING, self.folder / _EXPORT):
            self.listener.on_note(note)
        final = replace(
            recommended,
            name=network.label,
            architecture=network,
            validation=trained.accuracy,
            test=trained.test.top1,
            interval=trained.test.interval,
            weights=str(self.folder / _TRAINING),
        )
        write_recommended(final, self.folder)
        return FitResult(
            recommended=final,
            trained=trained,
            folder=self.folder,
            seconds=self.clock.elapsed,
            comparison=report,
            latency=entry.prospect.setup.cost_model.costs(network).get("latency"),
            measured=self._latency(network),
        )

    def _latency(self, network: Architecture) -> float | None:
        """Measure the network on the device, where latency is bounded; return the seconds, at the
        machine's speed when the table was built."""
        if (table := self.prepared.table) is None:
            return None
        self.listener.on_stage("measuring the network on the device")
        remeasured = Remeasured(self.journal)
        remeasured.measure([network], table)
        found = remeasured.of(network)
        return None if found is None else found.seconds

    def _search(self, side: int) -> tuple[Recommendation, dict[str, Any] | None, float]:
        """Search at a resolution; return what the run recommends, its comparison as plain values,
        and the mean seconds of a candidate. A run that has ended is not entered again: there could
        be time for one more candidate."""
        plan = self.prepared.plan
        ended = [event for event in self.journal.events if event["event"] == _SEARCHED]
        if ended:
            recommended = read_recommended(self.folder / _RUN)
            return recommended, ended[0]["comparison"], ended[0]["seconds"]
        self.clock.begin("search")
        config, folder = self.prepared.config, self.folder / _RUN
        if holds_experiment(folder):  # with its own time, and its own table of latencies
            result = search_run.resume(
                folder,
                self.listener,
                workers=config.workers,
                gpus_per_trial=config.gpus_per_trial,
                ray_address=config.ray_address,
            )
        else:
            budget = plan.search_budget(self.clock.elapsed)
            wanted = config.run(
                resolution=side,
                trials=plan.trials,
                time_budget=budget,
                baseline=NONE if config.searches else None,
            )
            result = search_run.start(wanted, folder, self.listener)
        trained = [trial.seconds for trial in result.trials if trial.status == "ok"]
        seconds = round(sum(trained) / max(1, len(trained)), 3)
        compared = None
        if result.comparison is not None:
            test = None if result.test is None else result.test.summary()
            compared = result.comparison.summary() | {"test": test}
        event = {"event": _SEARCHED, "seconds": seconds, "comparison": compared}
        self.journal.append(event, sync=True)
        return read_recommended(self.folder / _RUN), compared, seconds

    def _train(
        self, network: Architecture, side: int, seconds: float
    ) -> training_session.TrainingResult:
        """Train by the recipe, as long as there is time: the number of epochs is in the journal
        before the first one, and becomes smaller where the machine becomes slower."""
        plan, output = self.prepared.plan, self.folder / _TRAINING
        found = [event for event in self.journal.events if event["event"] == _LENGTH]
        if found:
            epochs = int(found[0]["epochs"])
        else:
            slowdown = seconds / plan.proxy_seconds(side)
            left = plan.sizes.time - self.clock.elapsed
            epochs = plan.remaining_epochs(side, left=left, slowdown=slowdown)
            self.journal.append(
                {"event": _LENGTH, "epochs": epochs, "network": network.label}, sync=True
            )
        self.clock.begin("training", plan.training_seconds(side, epochs))
        self.listener.on_stage(f"training {network.label} for {epochs} epochs")
        config = training_config(self.prepared.config, network, epochs)
        config = replace(config, workers=plan.sizes.training_workers)
        end = time.monotonic() + plan.sizes.time - self.clock.elapsed
        deadline = plan.deadline(side, end=end)
        return training_session.start(config, output, self.listener, deadline)
