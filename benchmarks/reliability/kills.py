"""Kills commands with `kill -9` at random moments, resumes them, and compares what they have done.

Each case is a command line. It is carried out once without a kill; then it is begun again and
killed at a moment drawn from as much time, alone or with all of its workers, and resumed. A kill
has done no harm where

- the resumed command ends with code 0;
- every whole line that a journal or `metrics.jsonl` had is in it afterwards, in its place;
- nothing that a journal had as done is done again: by the journal, and by the evaluator's own log;
- the first proposal after the kill is the one that the events before it give anew;
- with one worker, the journals are those of the command without a kill, but for times.
"""

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import Any, final

import numpy as np
from PIL import Image

from mnas_search.benchmarks.reliability import slow_subject, subject
from mnas_search.benchmarks.reliability.verdicts import outcome
from mnas_search.benchmarks.results import Outcome
from mnas_search.common.errors import WorkFailed
from mnas_search.common.folders import read_record
from mnas_search.experiments.search.config import Setup
from mnas_search.experiments.search.options import RunConfig
from mnas_search.experiments.search.prior.readings import read_readings
from mnas_search.nas.core import Search
from mnas_search.nas.journal import CLOCK, MemoryJournal

_JOURNALS = ("*.jsonl", "run/*.jsonl", "training/*.jsonl")
_PATIENCE = 3_600.0  # seconds of a command on a busy machine
_ORPHANS = 60.0  # seconds that workers of a killed command have to end
_COMMAND = (sys.executable, "-c", "from mnas_search.cli import main; main()")
_SPACE = ("--space", f"{subject.__file__}:Space", "--resolution", "32")
_TARGET = ("--target-flops", "2.2M")
_TOY = (*_SPACE, *_TARGET, "--evaluator", f"{slow_subject.__file__}:slow")
_DIGITS = ("--data", "digits", "--seed", "0")
_PHOTOS = "PHOTOS"  # stands for the folder of images
_TINY = "epochs=2,resolution=8,fraction=0.2"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A command that is killed.

    Attributes:
        arguments: without workers and output.
        workers: as the command takes them.
        over_ray: whether these are workers of Ray.
        repeats: whether its journals are the same each time: not those of several workers, and of
            plans by measured times.
    """

    name: str
    arguments: tuple[str, ...]
    workers: int
    over_ray: bool
    repeats: bool = True

    def command(self, folder: Path, photos: Path) -> list[str]:
        """Return the command line that begins it; `photos` are images for fits."""
        words = [str(photos) if word == _PHOTOS else word for word in self.arguments]
        return [*_COMMAND, *words, "--workers", str(self.workers), "--output", str(folder)]

    def resume(self, folder: Path) -> list[str]:
        """Return the command line that resumes it."""
        if self.arguments[0] == "fidelity":
            return [*_COMMAND, "fidelity", "--workers", str(self.workers), "--output", str(folder)]
        return [*_COMMAND, "resume", str(folder)]


def _cases() -> Iterator[Case]:
    toy = ("run", *_TOY, "--trials", "14", "--controller")
    for controller in ("bayesian", "tpe", "ppo"):
        yield from _in_process_and_over_ray(f"run {controller}", (*toy, controller))
    two = (*toy, "evolution")
    yield Case(
        name="run evolution, 2 over Ray", arguments=two, workers=2, over_ray=True, repeats=False
    )
    line = ("run", *_SPACE, *_DIGITS, *_TARGET, "--proxy", _TINY, "--trials", "4")
    yield from _in_process_and_over_ray("run on digits", line)
    recipe = "members=2,steps=20,networks=8,batch_size=16,reading_images=50"
    prior = (*line, "--prior", "supernet", "--prior-recipe", recipe)
    yield from _in_process_and_over_ray("run with a prior", prior)
    recipes = ("--proxy", "epochs=1,resolution=8,fraction=0.1", "--reference", _TINY)
    study = ("fidelity", *_SPACE, *_DIGITS, *recipes, "--architectures", "5")
    yield from _in_process_and_over_ray("fidelity", study)
    fit = ("fit", _PHOTOS, *_SPACE, *_TARGET, "--time", "60s")
    yield from _in_process_and_over_ray("fit", fit, repeats=False)
    train = ("train", subject.NETWORK, *_DIGITS, "--resolution", "8", "--epochs", "6")
    yield Case(name="train, in process", arguments=train, workers=1, over_ray=False)
    yield Case(name="train, 2 over Ray", arguments=train, workers=2, over_ray=True, repeats=False)


def _in_process_and_over_ray(
    name: str, arguments: tuple[str, ...], repeats: bool = True
) -> Iterator[Case]:
    for workers, where in ((0, "in process"), (1, "1 over Ray")):
        yield Case(
            name=f"{name}, {where}",
            arguments=arguments,
            workers=workers,
            over_ray=bool(workers),
            repeats=repeats,
        )


CASES = tuple(_cases())


def run(
    *, count: int, seed: int, note: Callable[[str], None], cases: Sequence[Case] = CASES
) -> Outcome:
    """Kill and resume `count` commands, half of them over Ray where the cases have such."""
    groups = [[c for c in cases if c.over_ray is over_ray] for over_ray in (False, True)]
    groups = [group for group in groups if group]
    found, failures = Counter[tuple[str, str]](), list[str]()
    with tempfile.TemporaryDirectory(prefix="mnas-search-") as name:
        photos = _make_photos(Path(name) / "photos")
        references: dict[Case, _Reference] = {}
        for number in range(count):
            if not groups:
                break
            rng = np.random.default_rng((seed, number))
            group = groups[number % len(groups)]
            case = group[rng.integers(len(group))]
            if case not in references:
                place = Path(name) / f"whole-{len(references)}"
                try:
                    references[case] = _reference(case, place, photos)
                except WorkFailed as error:  # a fit has too little time on a slow machine
                    failures.append(str(error))
                    note(f"failed: {error}")
                    group.remove(case)
                    groups = [one for one in groups if one]
                    continue
            kill = _Kill(
                moment=float(rng.uniform(0, references[case].seconds)), alone=rng.random() < 0.5
            )
            said = _try(case, kill, references[case], Path(name) / "killed", photos)
            verdict = "unharmed" if said is None else "harmed"
            found[case.name, verdict] += 1
            if said is not None:
                failures.append(f"{case.name}, killed {kill.text}: {said}")
                note(f"failed: kill {number}: {failures[-1]}")
            note(f"{number + 1} of {count} kills")
    tried = {name for name, _ in found}
    kinds = [one.name for one in cases if one.name in tried]
    return outcome(found, "case", kinds, ("unharmed", "harmed"), failures)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class _Reference:
    """A command without a kill: its seconds, and its journals without times, by name."""

    seconds: float
    journals: dict[str, list[Any]] = field(repr=False)


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class _Kill:
    """Seconds after the start, and whether the command alone is killed, or its workers too."""

    moment: float
    alone: bool

    @property
    def text(self) -> str:
        return f"after {self.moment:.2f} s, {'alone' if self.alone else 'with its workers'}"


def _make_photos(folder: Path) -> Path:
    """Write images of 32 pixels: of two classes, one of them darker."""
    rng = np.random.default_rng(0)
    for name, level in (("dark", 80), ("light", 170)):
        (folder / name).mkdir(parents=True)
        for number in range(30):
            pixels = np.clip(rng.normal(level, 60, (32, 32, 3)), 0, 255).astype(np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number}.png")
    return folder


def _reference(case: Case, folder: Path, photos: Path) -> _Reference:
    begun = time.monotonic()
    done = _call(case.command(folder, photos), folder.with_suffix(".log"))
    seconds = time.monotonic() - begun
    if done.returncode:
        raise WorkFailed(f"{case.name} failed: {done.stderr.strip()[-500:]}")
    return _Reference(seconds=seconds, journals=_journals(folder))


def _try(case: Case, kill: _Kill, whole: _Reference, place: Path, photos: Path) -> str | None:
    """Kill a command, resume it, and return what is wrong then; None where nothing is."""
    shutil.rmtree(place, ignore_errors=True)
    place.mkdir()
    folder, log = place / "run", place / "log"
    _kill(case.command(folder, photos), log, kill)
    if not (folder / "config.json").exists():  # killed before there was anything
        done = _call(case.command(folder, photos), log)
        return _compare(case, folder, whole, {}) if done.returncode == 0 else done.stderr[-500:]
    before = {file: _whole_lines(file) for file in _files(folder)}
    trained = _trained(log)
    told = _told(before.get(folder / "journal.jsonl", b""))
    done = _call(case.resume(folder), log)
    if done.returncode:
        return f"resume ended with {done.returncode}: {done.stderr.strip()[-500:]}"
    again = [one for one in _trained(log)[len(trained) :] if one in told]
    if again:
        return f"trained again: {again}"
    if case.arguments[0] == "run":
        asked = sum(map(_is_ask, _events(before.get(folder / "journal.jsonl", b""))))
        events = _events(_whole_lines(folder / "journal.jsonl"))
        places = [number for number, event in enumerate(events) if _is_ask(event)]
        for place_of_ask in places[asked : asked + 1]:  # the first after the kill
            found, made = next_ask(folder, events[:place_of_ask]), events[place_of_ask]
            if found["choices"] != made["choices"]:
                return f"the next proposal is {made['choices']}, not {found['choices']}"
    return _compare(case, folder, whole, before)


def _compare(case: Case, folder: Path, whole: _Reference, before: dict[Path, bytes]) -> str | None:
    """Return what is wrong with a resumed folder; None where nothing is."""
    for file, content in before.items():
        if not file.exists() or not file.read_bytes().startswith(content):
            return f"{file.name} has lost lines"
    journals = _journals(folder)
    for name, events in journals.items():
        keys = [_key(event) for event in events if isinstance(event, dict) and _is_done(event)]
        if len(keys) != len(set(keys)):
            return f"{name} has something twice"
    if case.repeats and journals != whole.journals:
        return "the journals are not those of the command without a kill"
    return None


def next_ask(folder: Path, events: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the next proposal of a run after these events of its journal, as one process by
    itself makes it."""
    recorded = read_record(folder).config
    options = {f.name: recorded[f.name] for f in fields(RunConfig) if f.name in recorded}
    setup, journal = Setup(RunConfig(**options), begun=recorded), MemoryJournal()
    journal.events.extend(dict(event) for event in events)
    readings = read_readings(journal) if setup.prior is not None else None
    if readings is not None:
        setup.take_readings(readings)
    search = Search(
        space=setup.space,
        objective=setup.objective,
        cost_model=setup.cost_model,
        controller=setup.controller(),
        trials=len(events) + 1_000,
        seed=setup.config.seed,
        journal=journal,
    )
    while not (made := [event for event in journal.events[len(events) :] if _is_ask(event)]):
        search.next()  # what was in flight first
    return made[0]  # a repeated network is told at once, and followed by another proposal


def _kill(command: Sequence[str], log: Path, kill: _Kill) -> None:
    process = subprocess.Popen(
        command,
        env=_environment(log),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    try:
        process.wait(kill.moment)
    except subprocess.TimeoutExpired:
        (os.kill if kill.alone else os.killpg)(process.pid, signal.SIGKILL)
        process.wait()
    patience = time.monotonic() + _ORPHANS
    while time.monotonic() < patience and _group_lives(process.pid):
        time.sleep(0.1)


def _group_lives(group: int) -> bool:
    try:
        os.killpg(group, 0)
    except ProcessLookupError:
        return False
    return True


def _call(command: Sequence[str], log: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        env=_environment(log),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=_PATIENCE,
        check=False,
    )


def _environment(log: Path) -> dict[str, str]:
    # Ray's workers give way to every other process unless told otherwise.
    return {**os.environ, slow_subject.LOG: str(log), "RAY_worker_niceness": "0"}


def _trained(log: Path) -> list[tuple[str, int]]:
    """Return (fingerprint, seed) of what the evaluator has trained to its end."""
    lines = log.read_text().splitlines() if log.exists() else []
    return [(name, int(seed)) for name, seed in map(str.split, lines)]


def _files(folder: Path) -> list[Path]:
    return sorted(file for pattern in _JOURNALS for file in folder.glob(pattern))


def _whole_lines(file: Path) -> bytes:
    content = file.read_bytes()
    return content[: content.rfind(b"\n") + 1]


def _events(lines: bytes) -> list[Any]:
    return [json.loads(line) for line in lines.splitlines()]


def _journals(folder: Path) -> dict[str, list[Any]]:
    """Return the events of all journals without times and sessions, by the journal's name."""
    return {
        str(file.relative_to(folder)): _timeless(
            [e for e in _events(_whole_lines(file)) if e.get("event") != "session"]
        )
        for file in _files(folder)
    }


def _timeless(events: Sequence[Any]) -> list[Any]:
    return [{k: v for k, v in one.items() if k not in (*CLOCK, "checksum")} for one in events]


def _is_ask(event: dict[str, Any]) -> bool:
    return bool(event["event"] == "ask")


def _is_done(event: dict[str, Any]) -> bool:
    """Whether an event says that something is done, once for all."""
    return "event" not in event or (event["event"] == "tell" or event.get("accuracy") is not None)


def _key(event: dict[str, Any]) -> str:
    names = ("event", "trial", "fingerprint", "seed", "recipe", "rung", "member", "epoch")
    return json.dumps([event.get(name) for name in names])


def _told(lines: bytes) -> set[tuple[str, int]]:
    """Return (fingerprint, seed) of the trainings whose outcome is in a journal."""
    events = _events(lines)
    asked = {e["trial"]: (e["fingerprint"], e["seed"]) for e in events if _is_ask(e)}
    told = {asked[e["trial"]] for e in events if e["event"] == "tell"}
    return told | {
        (e["fingerprint"], e["seed"])
        for e in events
        if e.get("accuracy") is not None and "seed" in e and "fingerprint" in e and not _is_ask(e)
    }
