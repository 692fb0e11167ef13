"""A whole run: configuration, search, end.

`start` and `resume` are what the command line and `mnas_search.search` call. Everything that can
be refused is refused before a folder is made.
"""

import hashlib
import inspect
import os
import platform
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields, replace
from functools import cached_property
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mnas_search import plugins, run_folder
from mnas_search.architecture import Architecture
from mnas_search.cost import CONVENTION, Cost, cost
from mnas_search.errors import RunFolderError, UsageError, WorkFailed
from mnas_search.interfaces import Controller, Evaluator, Network, SearchSpace
from mnas_search.objective import Objective
from mnas_search.repeats import Repeats
from mnas_search.scaling import PUBLISHED, published_family
from mnas_search.runners.in_process import run_in_process
from mnas_search.search import Search, problem
from mnas_search.trials import Journal, Trial
from mnas_search.units import format_size
from mnas_search.work import Chain, Timed

DEFAULT_EVALUATOR = "proxy_training"
DEFAULT_DATA = "digits"
_PACKAGES = ("mnas-search", "torch", "numpy", "optuna", "ray", "scikit-learn")
_REWRITE_EVERY = 5.0  # seconds between rewrites of the derived tables during a search


def cpu_count() -> int:
    """CPUs that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


@dataclass(frozen=True, slots=True, kw_only=True)
class RunConfig:
    """Everything that decides a run.

    Attributes:
        target_flops: T, in multiply-adds at the deployment resolution.
        space, controller, evaluator: names of plug-ins, or `file.py:Name`.
        data: what the evaluator trains on; None for its own default.
        objective, exponent: see `mnas_search.objective`.
        trials: distinct networks to finish.
        time_budget: seconds after which nothing more is asked, over all sessions; None for no end.
        workers: evaluations at a time, over Ray; 0 evaluates in this process.
        gpus_per_trial: GPUs a worker takes; None for the evaluator's own wish.
        ray_address: of a cluster to join; None for a private Ray on this machine.
        seed: of everything random.
        resolution, num_classes: of the deployed network.
    """

    target_flops: float
    space: str = "efficientnet"
    controller: str = "tpe"
    evaluator: str = DEFAULT_EVALUATOR
    data: str | None = None
    objective: str = "soft"
    exponent: float | None = None
    trials: int = 48
    time_budget: float | None = None
    workers: int | None = None
    gpus_per_trial: float | None = None
    ray_address: str | None = None
    seed: int = 0
    resolution: int = 224
    num_classes: int | None = None

    def __post_init__(self) -> None:
        for name, low in (("trials", 1), ("workers", 0), ("seed", 0), ("num_classes", 1)):
            value = getattr(self, name)
            if value is not None and value < low:
                raise UsageError(f"{name} is {value}; allowed: {low} or more")
        for name in ("time_budget", "gpus_per_trial"):
            value = getattr(self, name)
            if value is not None and value < 0:
                raise UsageError(f"{name} is {value:g}; allowed: 0 or more")


class Setup:
    """A configuration with all its names resolved and checked."""

    def __init__(self, config: RunConfig) -> None:
        from mnas_search.evaluators.function import as_evaluator

        evaluator = plugins.load("evaluators", config.evaluator)
        self.evaluator: Evaluator = as_evaluator(evaluator, data=config.data)
        if config.num_classes is None:
            config = replace(config, num_classes=_classes(config, self.evaluator))
        if config.workers is None:
            config = replace(config, workers=cpu_count() if self.evaluator.resources else 0)
        self.space = make_space(config)
        self.objective = Objective(
            target=config.target_flops, kind=config.objective, exponent=config.exponent
        )
        self.config = replace(config, exponent=self.objective.exponent)
        self.problem = problem(self.space, self.objective)
        self._check_reachable()
        controller = plugins.load("controllers", config.controller)
        if not (isinstance(controller, type) and issubclass(controller, Controller)):
            raise UsageError(f"controller {config.controller!r}; allowed: a Controller class")
        self._controller: type[Controller] = controller

    def controller(self) -> Controller:
        """A controller that knows nothing yet."""
        return self._controller(self.problem)  # type: ignore[call-arg]

    def _check_reachable(self) -> None:
        reachable = self.problem.cost.reachable  # type: ignore[attr-defined]
        target = self.objective.target
        if reachable is not None and target < reachable.low:
            raise UsageError(
                f"target {format_size(target)} FLOPs cannot be reached; allowed: space "
                f"{self.config.space!r} goes from {format_size(reachable.low)} to "
                f"{format_size(reachable.high)} at {self.config.resolution} pixels ({CONVENTION})"
            )

    @property
    def recorded(self) -> dict[str, Any]:
        """The configuration as config.json holds it, with the content of the user's own files."""
        recorded = asdict(self.config)
        for name in ("space", "controller", "evaluator", "data"):
            value = recorded[name]
            if value is not None and plugins.is_file_reference(value):
                content = Path(value.rpartition(":")[0]).read_bytes()
                recorded[f"{name}_sha256"] = hashlib.sha256(content).hexdigest()
        return recorded


def _classes(config: RunConfig, evaluator: Evaluator) -> int:
    """The user's own data says how many classes are deployed; the embedded digits do not."""
    if config.data in (None, DEFAULT_DATA):
        return 1000
    classes = getattr(evaluator, "num_classes", None)
    return classes if isinstance(classes, int) else 1000


def make_space(config: RunConfig) -> SearchSpace:
    """The search space of a configuration."""
    target = plugins.load("search_spaces", config.space)
    if isinstance(target, SearchSpace):
        return target
    if not (isinstance(target, type) and issubclass(target, SearchSpace)):
        raise UsageError(f"space {config.space!r}; allowed: a SearchSpace class")
    accepted = inspect.signature(target).parameters
    given = {"resolution": config.resolution, "num_classes": config.num_classes}
    defaults = {"resolution": 224, "num_classes": 1000}
    for name, value in given.items():
        if name not in accepted and value != defaults[name]:
            raise UsageError(
                f"{name} {value} with space {config.space!r}; allowed: none, the space fixes it"
            )
    return target(**{name: value for name, value in given.items() if name in accepted})


@dataclass(frozen=True, slots=True, kw_only=True)
class Timing:
    """Where a session's time went, in seconds.

    Attributes:
        startup: until the first evaluation began.
        search: from the first ask to the last tell.
        repeats: the trainings that measure the seed noise.
        busy: share of the search time that the workers spent evaluating.
    """

    startup: float
    search: float
    repeats: float
    busy: float


class Result:
    """What a run has found."""

    def __init__(
        self, setup: Setup, folder: Path, search: Search, repeats: Repeats, timing: Timing | None
    ) -> None:
        self.config, self.objective = setup.config, setup.objective
        self.folder, self.timing = folder, timing
        self.trials = search.trials
        self.asked, self.exhausted = search.asked, search.exhausted
        self.repeats = repeats.pairs
        self.seed_noise = repeats.noise
        self._search = search

    @property
    def name(self) -> str:
        """The run's name: its folder's."""
        return self.folder.resolve().name

    @cached_property
    def networks(self) -> Mapping[int, Network]:
        """The network of every trial, by number."""
        return {trial.number: self._search.network(trial) for trial in self.trials}

    @cached_property
    def good(self) -> tuple[Trial, ...]:
        """Trials with a reward, best first."""
        good = [t for t in self.trials if t.reward is not None]
        return tuple(sorted(good, key=lambda t: (-(t.reward or 0.0), t.macs, t.number)))

    @property
    def best(self) -> Trial | None:
        """The winner: the largest reward within the target."""
        return self.best_under(self.objective.target)

    def best_under(self, macs: float) -> Trial | None:
        """The largest reward with at most so many multiply-adds."""
        return next((t for t in self.good if t.macs <= macs), None)

    @cached_property
    def pareto(self) -> tuple[Trial, ...]:
        """Trials that no other beats in both accuracy and multiply-adds, cheapest first."""
        front: list[Trial] = []
        for trial in sorted(self.good, key=lambda t: (t.macs, -(t.accuracy or 0.0))):
            if not front or (trial.accuracy or 0.0) > (front[-1].accuracy or 0.0):
                front.append(trial)
        return tuple(front)

    @property
    def architecture(self) -> Architecture | None:
        """The winner's architecture, named after the run; None where it is no chain of stages."""
        network = None if self.best is None else self.networks[self.best.number]
        return replace(network, name=self.name) if isinstance(network, Architecture) else None

    @cached_property
    def family(self) -> tuple[tuple[Architecture, Cost], ...]:
        """The winner scaled by EfficientNet's published coefficients, with each member's cost."""
        if self.architecture is None:
            return ()
        names = tuple(f"{self.name}-b{i}" for i in range(len(PUBLISHED)))
        return tuple((member, cost(member)) for member in published_family(self.architecture, names))


class Reporter:
    """Hears how a run goes. This one says nothing."""

    def opened(self, folder: Path, resumed: int) -> None:
        """The folder is there; `resumed` trials were finished before."""

    def progress(self, done: int, total: int, best: Trial | None) -> None:
        """A trial has finished, or the search begins."""

    def closed(self) -> None:
        """The search has ended, however."""


def start(config: RunConfig, output: Path | None, reporter: Reporter | None = None) -> Result:
    """Run a search into a new folder, or go on in one that holds the same run."""
    setup = Setup(config)
    if output is None:
        folder = run_folder.new_folder(Path("runs"), format_size(config.target_flops))
    else:
        folder = output
        if folder.exists() and not folder.is_dir():
            raise RunFolderError(f"{str(folder)!r} is a file; allowed: a new folder, or a run's")
        if run_folder.is_run(folder):
            recorded = run_folder.read_config(folder)
            run_folder.check_same_run(folder, recorded, setup.recorded)
        elif folder.exists() and any(folder.iterdir()):
            raise RunFolderError(f"{str(folder)!r} is no run's folder, and not empty")
        folder.mkdir(parents=True, exist_ok=True)
    return _run(setup, folder, reporter or Reporter())


def resume(folder: Path, reporter: Reporter | None = None, **larger: Any) -> Result:
    """Go on where a run stopped, with its own configuration; `larger` budgets and workers may
    be given."""
    recorded = run_folder.read_config(folder)
    names = {f.name for f in fields(RunConfig)}
    known = {name: value for name, value in recorded.items() if name in names}
    given = {name: value for name, value in larger.items() if value is not None}
    setup = Setup(RunConfig(**{**known, **given}))
    run_folder.check_same_run(folder, recorded, setup.recorded)
    return _run(setup, folder, reporter or Reporter())


def _run(setup: Setup, folder: Path, reporter: Reporter) -> Result:
    config = setup.config
    with Journal(folder / "journal.jsonl") as journal:
        run_folder.write_config(folder, setup.recorded, _versions())
        budget = float("inf") if config.time_budget is None else config.time_budget
        deadline = time.monotonic() + budget - _spent(journal)
        journal.append({"event": "session", "phase": "start-up"})
        written = time.monotonic()

        def on_trial(trial: Trial) -> None:
            nonlocal written
            reporter.progress(len(search.trials), config.trials, result().best)
            if time.monotonic() - written > _REWRITE_EVERY:
                _write_tables(result())
                written = time.monotonic()

        search = Search(
            space=setup.space,
            objective=setup.objective,
            controller=setup.controller(),
            trials=config.trials,
            seed=config.seed,
            journal=journal,
            deadline=deadline,
            on_trial=on_trial,
        )
        # One trial in six, so that the noise costs little beside the search.
        count = max(2, min(8, config.trials // 6)) if setup.evaluator.noisy else 0
        repeats = Repeats(search, count=count, seed=config.seed, journal=journal)

        def result(timing: Timing | None = None) -> Result:
            return Result(setup, folder, search, repeats, timing)

        reporter.opened(folder, len(search.trials))
        reporter.progress(len(search.trials), config.trials, result().best)
        try:
            timing = _drive(setup, search, repeats)
        finally:
            reporter.closed()
            _write_tables(result())
        final = result(timing)
        _finish(final)
        return final


def _drive(setup: Setup, search: Search, repeats: Repeats) -> Timing | None:
    start = time.monotonic()
    searching, repeating = Timed(search), Timed(repeats)
    work = Chain([searching, repeating])
    if work.finished:
        return None
    config = setup.config
    if not config.workers or setup.evaluator.resources is None:
        run_in_process(work, setup.evaluator)
    else:
        from mnas_search.runners.ray_tune import run_on_ray

        run_on_ray(
            work,
            setup.evaluator,
            workers=config.workers,
            gpus_per_trial=config.gpus_per_trial,
            address=config.ray_address,
        )
    if searching.first is None:
        return None
    return Timing(
        startup=searching.first - start,
        search=searching.elapsed,
        repeats=repeating.elapsed,
        busy=searching.busy / (max(1, config.workers or 0) * max(searching.elapsed, 1e-9)),
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


def _versions() -> dict[str, str]:
    return {"python": platform.python_version()} | {name: version(name) for name in _PACKAGES}


def _write_tables(result: Result) -> None:
    run_folder.write_trials(result.folder, result.trials, result.networks, result.pareto)
    if result.best is not None:
        network = result.architecture or result.networks[result.best.number]
        run_folder.write_best(result.folder, result.name, result.best, network)


def _finish(result: Result) -> None:
    if result.best is None:
        raise WorkFailed(_why_no_winner(result))
    if result.architecture is None:
        return
    run_folder.write_family(result.folder, result.family)
    export = result.folder / "export"
    export.mkdir(exist_ok=True)
    plugins.load("exporters", "pytorch")().export(result.architecture, None, export)


def _why_no_winner(result: Result) -> str:
    failed = [t for t in result.trials if t.status == "failed"]
    if failed and len(failed) == len(result.trials):
        return f"all {len(failed)} candidates failed; the first one: {failed[0].error}"
    if not result.trials:
        return "no candidate was finished"
    cheapest = min(t.macs for t in result.trials)
    return (
        f"none of {len(result.trials)} candidates is within {format_size(result.objective.target)} "
        f"FLOPs (the cheapest has {format_size(cheapest)}); `mnas-search resume` with more "
        "--trials goes on"
    )
