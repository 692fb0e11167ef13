"""Compares the events of searches with those of an earlier commit, on one machine.

    python tests/events_of_commit.py                   run both, compare case by case
    python tests/events_of_commit.py --record FOLDER   keep the earlier commit's journals
    python tests/events_of_commit.py --compare FOLDER  compare with journals that were kept

The earlier code is taken from git and imported ahead of the installed package. Both are run by
the command line only, so that the package may be rearranged freely. Exit code 1: events differ.
"""

import argparse
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import tempfile
import time
import tomllib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Any

# The last commit that changed events on purpose; a refactoring keeps them.
BASE = "b0087b9"
JOURNALS = ("journal.jsonl", "random.jsonl")  # the search's, and its random baseline's

# What may differ: fields that hold clock times, checksums, which the base has not, and words that
# were renamed since the base.
TIME_FIELDS = frozenset({"time", "seconds", "checksum"})
RENAMED_FIELDS: dict[str, str] = {}  # old name: new name, as in "duplicate_of": "original"
RENAMED_VALUES: dict[str, dict[str, str]] = {  # by old field, as in {"seed noise": "replicates"}
    "event": {},
    "phase": {},
    "status": {},
}

# Every controller of the base but ppo, whose draws may change.
CONTROLLERS = ("random_search", "evolution", "tpe", "nsga2", "bayesian")
_COMMON = ("--target-flops", "400M", "--seed", "0")
_RECORDED = ("--evaluator", "accel_nasbench", "--trials")
_TRIALS = {"evolution": "100"}  # whose first 50 are random; for the others, 40 show all they do
_DIGITS = ("--data", "digits", "--trials", "8")
_IN_PROCESS, _OVER_RAY = ("--workers", "0"), ("--workers", "1")
_SMALL, _SMALLER = "epochs=2,resolution=8", "epochs=1,resolution=8,fraction=0.25"
_ASHA = ("--early-stopping", "asha", "--proxy", "epochs=3,resolution=8,fraction=0.5")

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Case:
    """One search.

    Attributes:
        options: of `mnas-search run`.
        last: how many events of each kind (the base's word) are enough: the run is interrupted
            there. The trainings at the end of a run take most of its time. None: the whole run.
    """

    options: tuple[str, ...]
    last: Mapping[str, int] | None = None


def _cases() -> Iterator[tuple[str, Case]]:
    finals, verdict = {"final": 2}, {"verdict": 2}
    for name in CONTROLLERS:
        # Controllers do not depend on the runner: one of them over Ray, the others in process.
        chosen = ("--controller", name, *(_OVER_RAY if name == "bayesian" else _IN_PROCESS))
        recorded = (*_RECORDED, _TRIALS.get(name, "40"), *chosen)
        yield f"accel_nasbench-{name}", Case(recorded, None if name == "bayesian" else finals)
        yield f"digits-{name}", Case((*_DIGITS, *chosen, "--proxy", _SMALL), verdict)
    yield "max-params", Case((*_RECORDED, "40", *_IN_PROCESS, "--max-params", "4M"), finals)
    yield "asha", Case((*_DIGITS, *_OVER_RAY, *_ASHA), verdict)
    yield "asha-in-process", Case((*_DIGITS, *_IN_PROCESS, *_ASHA), verdict)
    rival = ("--baseline", "random", "--proxy", _SMALLER)
    yield "baseline-random", Case((*_DIGITS, *_OVER_RAY, *rival))


CASES = dict(_cases())


# -- comparing ------------------------------------------------------------------------------------


def without_times(event: Mapping[str, Any]) -> Event:
    """Return the event without the fields that hold clock times."""
    return {name: value for name, value in event.items() if name not in TIME_FIELDS}


def renamed(event: Mapping[str, Any]) -> Event:
    """Return an event of the base in today's words."""
    return {
        RENAMED_FIELDS.get(name, name): RENAMED_VALUES[name].get(value, value)
        if name in RENAMED_VALUES
        else value
        for name, value in event.items()
    }


def first_difference(old: Sequence[Event], new: Sequence[Event]) -> str | None:
    """Describe the first event in which two journals differ; None where they are equal."""
    before = [without_times(renamed(event)) for event in old]
    after = [without_times(event) for event in new]
    for number, (one, two) in enumerate(zip_longest(before, after), start=1):
        # As text: 1, 1.0 and true are equal in Python, and different in a journal.
        if _text(one) != _text(two):
            names = sorted(n for n in {*(one or ()), *(two or ())} if _field(one, n, two))
            return f"event {number}: {', '.join(names)}\n  old: {_text(one)}\n  new: {_text(two)}"
    return None


def _field(one: Event | None, name: str, two: Event | None) -> bool:
    """Return whether a field differs, or is there in one of two events only."""
    there = [event is not None and name in event for event in (one, two)]
    return not all(there) or _text((one or {})[name]) != _text((two or {})[name])


def _text(value: Any) -> str:
    return "no event" if value is None else json.dumps(value, sort_keys=True)


# -- running --------------------------------------------------------------------------------------


def checkout(commit: str, folder: Path) -> Path:
    """Lay out a commit's package and its entry points in `folder`, to be imported from there.

    Nothing is built or downloaded: packages are copied as pyproject.toml lists them.
    """
    source, site = folder / "source", folder / "site"
    with tarfile.open(fileobj=io.BytesIO(_git("archive", "--format=tar", commit))) as archive:
        archive.extractall(source, filter="data")
    described = tomllib.loads((source / "pyproject.toml").read_text())
    project, places = described["project"], described["tool"]["setuptools"]["package-dir"]
    site.mkdir()
    for package, place in sorted(places.items()):  # a package before those in it
        target = site.joinpath(*package.split("."))
        if not target.exists():  # where it has not come with the package around it
            (source / place).rename(target)
    info = site / f"{project['name'].replace('-', '_')}-{project['version']}.dist-info"
    info.mkdir()
    (info / "METADATA").write_text(
        f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    )
    lines = []
    for group, entries in project["entry-points"].items():
        lines += [f"[{group}]", *(f"{name} = {place}" for name, place in entries.items())]
    (info / "entry_points.txt").write_text("\n".join(lines) + "\n")
    where = [sys.executable, "-c", "import mnas_search; print(mnas_search.__file__)"]
    found = subprocess.run(where, env=_environment(site), cwd=site, capture_output=True, text=True)
    if not Path(found.stdout.strip()).is_relative_to(site):
        raise SystemExit(f"{commit} is not what is imported: {found.stdout}{found.stderr}")
    return site


def available(commit: str) -> bool:
    """Return whether the tests lie in a git repository that holds the commit."""
    try:
        _git("cat-file", "-e", f"{commit}^{{commit}}")
    except (OSError, subprocess.CalledProcessError):
        return False
    return True


def journals(case: Case, site: Path | None = None) -> dict[str, list[Event]]:
    """Run a case; return its events by journal. `site`: of the base; None for today's code."""
    last = dict(case.last or {})
    if site is None:
        last = {RENAMED_VALUES["event"].get(word, word): count for word, count in last.items()}
    with tempfile.TemporaryDirectory() as folder:
        run = Path(folder) / "run"
        _run([*_COMMON, *case.options, "--output", str(run)], run, last, _environment(site))
        found = read(run)
    return {name: events[: _end(events, last)] for name, events in found.items()}


def _git(*arguments: str) -> bytes:
    here = Path(__file__).resolve().parent
    ask = ["git", "-C", str(here), "rev-parse", "--show-toplevel"]
    top = subprocess.run(ask, check=True, capture_output=True, text=True).stdout.strip()
    done = subprocess.run(["git", "-C", top, *arguments], check=True, capture_output=True)
    return done.stdout


def _environment(site: Path | None) -> dict[str, str]:
    paths = [*([] if site is None else [str(site)]), os.environ.get("PYTHONPATH", "")]
    # Ray's workers give way to every other process unless told otherwise.
    ours = {"PYTHONPATH": os.pathsep.join(filter(None, paths)), "RAY_worker_niceness": "0"}
    return {**os.environ, **ours}


def _run(
    options: Sequence[str], run: Path, last: Mapping[str, int], environment: Mapping[str, str]
) -> None:
    command = [sys.executable, "-m", "mnas_search", "run", *options]
    with tempfile.TemporaryFile("w+") as said:
        process = subprocess.Popen(
            command, cwd=run.parent, env=environment, stdout=said, stderr=subprocess.STDOUT
        )
        interrupted = False
        try:
            while process.poll() is None and not interrupted:
                time.sleep(0.2)
                interrupted = _end(_events(run / JOURNALS[0]), last) is not None
            if interrupted:
                process.send_signal(signal.SIGINT)
            process.wait(timeout=1_800)
        finally:
            process.kill()
            process.wait()
        if process.returncode and not interrupted:
            said.seek(0)
            raise SystemExit(f"{' '.join(command)} failed:\n{said.read()[-3000:]}")


def _events(journal: Path) -> list[Event]:
    text = journal.read_text() if journal.exists() else ""
    return [json.loads(line) for line in text[: text.rfind("\n") + 1].splitlines()]


def _end(events: Sequence[Event], last: Mapping[str, int]) -> int | None:
    """Return how many events there are up to the last that is wanted; None where it is missing."""
    left = dict(last)
    for number, event in enumerate(events, start=1):
        if event["event"] in left:
            left[event["event"]] -= 1
            if max(left.values()) <= 0:
                return number
    return None


# -- the command line -----------------------------------------------------------------------------


def write(found: Mapping[str, Sequence[Event]], folder: Path) -> None:
    """Keep a case's events in `folder`, a file a journal."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, events in found.items():
        (folder / name).write_text("".join(json.dumps(event) + "\n" for event in events))


def read(folder: Path) -> dict[str, list[Event]]:
    """Return the events of a case that were kept in `folder`, by journal."""
    found = {name: _events(folder / name) for name in JOURNALS if (folder / name).exists()}
    if not found:
        raise SystemExit(f"{str(folder)!r} must hold recorded journals: see --record")
    return found


def differences(
    old: Mapping[str, Sequence[Event]], new: Mapping[str, Sequence[Event]]
) -> list[str]:
    """Describe the first difference of each journal of a case."""
    found = {n: first_difference(old.get(n, ()), new.get(n, ())) for n in sorted({*old, *new})}
    return [f"{name}, {text}" for name, text in found.items() if text is not None]


def main() -> int:
    """Run, record or compare the cases; return the exit code."""
    for ended in (signal.SIGINT, signal.SIGTERM):  # also where a shell's background ignores them
        signal.signal(ended, signal.default_int_handler)
    asked = _arguments()
    differ = 0
    with tempfile.TemporaryDirectory() as folder:
        site = None if asked.compare else checkout(asked.base, Path(folder))
        for name in asked.case or CASES:
            start = time.monotonic()
            old = read(asked.compare / name) if asked.compare else journals(CASES[name], site)
            if asked.record:
                write(old, asked.record / name)
                said = []
            else:
                said = differences(old, journals(CASES[name]))
            differ += bool(said)
            word = "recorded" if asked.record else "DIFFERENT" if said else "equal"
            counts = " + ".join(str(len(events)) for events in old.values())
            seconds = time.monotonic() - start
            print(f"{name}: {word}, {counts} events, {seconds:.0f} s", *said, sep="\n", flush=True)
    return 1 if differ else 0


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--base", default=BASE, help="the earlier commit [default: %(default)s]")
    parser.add_argument("--case", action="append", choices=CASES, help="may be repeated [all]")
    kept = parser.add_mutually_exclusive_group()
    kept.add_argument("--record", type=Path, metavar="FOLDER", help="only run the earlier commit")
    kept.add_argument("--compare", type=Path, metavar="FOLDER", help="compare with its journals")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
