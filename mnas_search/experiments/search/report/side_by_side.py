"""Runs side by side, from their files alone; repetitions with other seeds are one setting."""

import json
import statistics
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

from mnas_search.common.errors import RunFolderError, UsageError
from mnas_search.common.files import read_json
from mnas_search.common.folders import read_record
from mnas_search.common.render.tables import print_table
from mnas_search.common.units import (
    format_bytes,
    format_duration,
    format_latency,
    format_size,
    parse_bytes,
    parse_duration,
    parse_latency,
    parse_size,
)
from mnas_search.experiments.search import recommendation
from mnas_search.experiments.search.options import run_options
from mnas_search.experiments.search.recommendation import Recommendation, read_recommended
from mnas_search.experiments.search.time_limit import seconds_spent
from mnas_search.nas.event_kinds import SEARCH_EVENTS
from mnas_search.nas.journal import ReadJournal

_SAME = ("seed", "workers", "gpus_per_trial", "ray_address", "trial_timeout")  # within a setting
_FORMATS: dict[Any, Callable[[float], str]] = {
    parse_size: format_size,
    parse_bytes: format_bytes,
    parse_duration: format_duration,
    parse_latency: format_latency,
}
_FIGURES = ("accuracy", "macs", "params", "trials", "seconds")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """A run as its files describe it.

    Attributes:
        config: its options.
        winner: of the search, by its trial; None, like accuracy, macs and params, before there is
            one.
        accuracy: as best.json gives it.
        trials: distinct networks finished, without those stopped early.
        seconds: of all its sessions.
        recommended: None without a recommended.json.
    """

    folder: str
    config: Mapping[str, Any]
    seed: int
    winner: str | None
    accuracy: float | None
    macs: int | None
    params: int | None
    trials: int
    seconds: float
    recommended: Recommendation | None


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Setting:
    """Runs that differ in nothing but the seed, and which options set them apart from others."""

    differs: Mapping[str, Any]
    runs: tuple[Run, ...]

    def spread(self, figure: str) -> tuple[float | None, float | None]:
        """Return mean and standard deviation of a figure over the runs that have it."""
        values = [value for run in self.runs if (value := getattr(run, figure)) is not None]
        mean = statistics.fmean(values) if values else None
        return mean, statistics.stdev(values) if len(values) > 1 else None

    @property
    def label(self) -> str:
        """The options that set it apart, as text."""
        return ", ".join(f"{name} {_shown(name, v)}" for name, v in self.differs.items())


def compare_runs(folders: Sequence[Path]) -> list[Setting]:
    """Read runs, and group those that differ in nothing but the seed, in the order given.

    Raises:
        RunFolderError: a folder holds no run.
        UsageError: a folder is given twice.
    """
    resolved = [folder.resolve() for folder in folders]
    for folder, path in zip(folders, resolved, strict=True):
        if resolved.count(path) > 1:
            raise UsageError(f"each RUN must be another folder, got {str(folder)!r} twice")
    groups: dict[str, list[Run]] = {}
    for folder in folders:
        run = read_run(folder)
        groups.setdefault(json.dumps(_setting(run), sort_keys=True), []).append(run)
    settings = [_setting(runs[0]) for runs in groups.values()]
    names = [name for name in _ordered(settings) if _differ(one.get(name) for one in settings)]
    return [
        Setting(
            differs={name: setting.get(name) for name in names},
            runs=tuple(sorted(runs, key=lambda run: run.seed)),
        )
        for setting, runs in zip(settings, groups.values(), strict=True)
    ]


def read_run(folder: Path) -> Run:
    """Read a run's files."""
    record = read_record(folder)
    if record.command != "run":
        raise RunFolderError(f"{str(folder)!r} holds a `{record.command}`, not a `run`")
    journal, best = ReadJournal(folder / "journal.jsonl", SEARCH_EVENTS), folder / "best.json"
    try:
        winner = read_json(best) if best.is_file() else None
        found = {name: None if winner is None else winner[name] for name in _FIGURES[:3]}
        trial = None if winner is None else f"trial {winner['trial']}"
        seed, trials = record.config["seed"], _finished(journal.events)
    except (ValueError, LookupError, TypeError) as error:
        raise RunFolderError(f"{str(folder)!r} holds no run that can be read: {error}") from error
    recommended = (folder / recommendation.FILE).is_file()
    return Run(
        folder=str(folder),
        config=record.config,
        seed=seed,
        winner=trial,
        trials=trials,
        seconds=seconds_spent(journal),
        recommended=read_recommended(folder) if recommended else None,
        **found,
    )


def to_json(settings: Sequence[Setting]) -> list[dict[str, Any]]:
    """Return the settings with their runs as plain JSON values."""
    return [
        {
            "setting": dict(one.differs),
            "seeds": [run.seed for run in one.runs],
            **{f: dict(zip(("mean", "std"), one.spread(f), strict=True)) for f in _FIGURES},
            "runs": [_run_json(run) for run in one.runs],
        }
        for one in settings
    ]


def print_settings(settings: Sequence[Setting]) -> None:
    """Print a row a run, and a row a setting where one has several runs."""
    several = len(settings) > 1
    rows = []
    for one in settings:
        for run in one.runs:
            cells = [_text(figure, getattr(run, figure)) for figure in _FIGURES]
            name = "-" if run.recommended is None else run.recommended.name
            label = [one.label] * several
            rows.append([run.folder, *label, str(run.seed), run.winner or "-", *cells, name])
    figures = ("accuracy", "FLOPs", "params", "trials", "time")
    print_table(
        ("run", *["setting"] * several, "seed", "winner", *figures, "recommended"),
        rows,
        title="runs",
    )
    if any(len(one.runs) > 1 for one in settings):
        rows = [
            [
                *[one.label] * several,
                str(len(one.runs)),
                _text("accuracy", one.spread("accuracy")[0]),
                _text("accuracy", one.spread("accuracy")[1]),
                *(_text(figure, one.spread(figure)[0]) for figure in _FIGURES[1:]),
            ]
            for one in settings
        ]
        columns = ("seeds", "accuracy", "standard deviation", *figures[1:])
        print_table((*["setting"] * several, *columns), rows, title="means over seeds")


def _finished(events: Sequence[Mapping[str, Any]]) -> int:
    """Count distinct networks that were finished, of this run's own."""
    first = {e["trial"] for e in events if e["event"] == "ask" and e["duplicate_of"] is None}
    told = [e for e in events if e["event"] == "tell" and e["status"] != "stopped"]
    return sum(event["trial"] in first for event in told)


def _setting(run: Run) -> dict[str, Any]:
    """Return the options that are given; runs that are older than an option lack it."""
    options = {n: v for n, v in run.config.items() if n not in _SAME}
    return {n: v for n, v in options.items() if v is not None and v is not False}


def _ordered(settings: Sequence[Mapping[str, Any]]) -> list[str]:
    """Return the names of all options, in the order of the first setting that has each."""
    return list(dict.fromkeys(name for setting in settings for name in setting))


def _differ(values: Iterable[Any]) -> bool:
    return len({json.dumps(value) for value in values}) > 1


def _run_json(run: Run) -> dict[str, Any]:
    found = asdict(run) | {"config": dict(run.config)}
    if run.recommended is not None:
        found["recommended"] = run.recommended.to_dict()
    return found


def _shown(name: str, value: Any) -> str:
    if value is None:
        return "none"
    parse = next((option.parse for one, _, _, option in run_options() if one == name), None)
    if parse is not None:
        return _FORMATS[parse](value)
    if isinstance(value, list):
        return " ".join(map(str, value)) or "none"
    return str(value)[:12] if name.endswith("_sha256") else str(value)


def _text(figure: str, value: float | None) -> str:
    if value is None:
        return "-"
    if figure == "accuracy":
        return f"{value:.4f}"
    if figure == "seconds":
        return format_duration(value)
    return f"{value:g}" if figure == "trials" else format_size(value)
