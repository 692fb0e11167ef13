"""Flips a bit in a file of a run or training, or cuts its end off, and calls what reads it.

A command has to refuse the file in one line, with exit code 2, or to have the same result as
before. Of a journal, `time` and `seconds` are left out: no checksum covers them.
"""

import csv
import io
import json
import shutil
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from mnas_search.benchmarks.reliability import subject
from mnas_search.benchmarks.reliability.calling import Called, call, must
from mnas_search.benchmarks.reliability.verdicts import outcome
from mnas_search.benchmarks.results import Outcome
from mnas_search.nas.journal import CLOCK

_CUT = 0.25  # the share of damages that cut a file
_LONG = 500  # damages from which on there is a run on data, too
_JOURNALS = (".jsonl",)
_PLUGIN = Path(subject.__file__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Target:
    """A file of a folder, and the commands that read it; `folder` is where the commands work."""

    folder: Path
    file: Path
    commands: tuple[tuple[object, ...], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Damage:
    """A bit that is flipped, or where a file is cut off."""

    bit: int | None
    cut: int | None

    def of(self, content: bytes) -> bytes:
        """Return the damaged content."""
        if self.bit is None:
            return content[: self.cut]
        changed = bytearray(content)
        changed[self.bit // 8] ^= 1 << (self.bit % 8)
        return bytes(changed)

    @property
    def text(self) -> str:
        """What was done, and where."""
        return f"cut to {self.cut} bytes" if self.bit is None else f"bit {self.bit} flipped"


def run(*, count: int, seed: int, note: Callable[[str], None]) -> Outcome:
    """Damage files of a run and of trainings `count` times; see `try_damages`."""
    with tempfile.TemporaryDirectory(prefix="mnas-search-") as name:
        place = Path(name).resolve()
        note("making runs and trainings")
        targets = make_targets(place / "work", trains=count >= _LONG)
        shutil.copytree(place / "work", place / "kept")
        return try_damages(place, targets, count=count, seed=seed, note=note)


def try_damages(
    place: Path, targets: Sequence[Target], *, count: int, seed: int, note: Callable[[str], None]
) -> Outcome:
    """Damage a file drawn at random `count` times, and count what the commands that read it did.

    Args:
        place: whose `work` the targets are in, and whose `kept` is a copy of it.
    """
    wanted = {target: _results(target, place) for target in targets}
    found, failures = Counter[tuple[str, str]](), list[str]()
    for number in range(count):
        rng = np.random.default_rng((seed, number))
        target = targets[int(rng.integers(len(targets)))]
        damage = draw_damage(target.file.read_bytes(), rng)
        verdict, said = try_damage(target, damage, wanted[target], place)
        kind = str(target.file.relative_to(place / "work"))
        found[kind, verdict] += 1
        if verdict not in _GOOD:
            failures.append(f"{kind}, {damage.text}: {verdict}: {said}")
            note(f"failed: damage {number}: {failures[-1]}")
        if (number + 1) % max(1, count // 20) == 0:
            note(f"{number + 1:,} of {count:,} damages")
    kinds = sorted({kind for kind, _ in found})
    return outcome(found, "file", kinds, (*_GOOD, *_BAD), failures)


_GOOD = ("refused", "same result")
_BAD = ("another result", "failed otherwise")


def draw_damage(content: bytes, rng: np.random.Generator) -> Damage:
    """Draw a bit to flip, or a place to cut at."""
    if rng.random() < _CUT:
        return Damage(bit=None, cut=int(rng.integers(len(content))))
    return Damage(bit=int(rng.integers(8 * len(content))), cut=None)


def make_targets(work: Path, *, trains: bool = False) -> list[Target]:
    """Make runs, a grid search and trainings in a folder; return their files with what reads them.

    Args:
        trains: whether there is a run that trains its candidates and a random search's, too.
    """
    work.mkdir()
    ran, on_data, grid = work / "run", work / "run-on-data", work / "grid-search"
    trained, unfinished = work / "training", work / "unfinished"
    search: tuple[object, ...] = ("run", "--space", f"{_PLUGIN}:Space", "--resolution", 32)
    search += ("--target-flops", "2.2M")
    search += ("--controller", "random_search", "--workers", 0)
    score = ("--evaluator", f"{_PLUGIN}:score")
    must(*search, *score, "--target-latency", "1s", "--trials", 8, "--output", ran)
    if trains:
        proxy = ("--data", "digits", "--proxy", "epochs=1,resolution=8", "--baseline", "random")
        must(*search, *proxy, "--trials", 4, "--output", on_data)
    scale = ("scale", subject.NETWORK, "--grid-search", *score, "--workers", 0, "--output", grid)
    must(*scale)
    training = ("--data", "digits", "--resolution", 8, "--epochs", 2, "--batch-size", 256)
    must("train", subject.NETWORK, *training, "--output", trained)
    shutil.copytree(trained, unfinished)  # as it was before its test
    (unfinished / "result.json").unlink()
    shutil.rmtree(unfinished / "export")
    image = work / "image.png"
    Image.fromarray(np.arange(192, dtype=np.uint8).reshape(8, 8, 3)).save(image)
    targets = [*_of_run(ran), *_of_training(trained, image), *_of_unfinished(unfinished)]
    for name in ("config.json", "measurements.jsonl"):
        command = (*scale, "--format", "json")
        targets.append(Target(folder=grid, file=grid / name, commands=(command,)))
    if trains:
        for name in ("journal.jsonl", "random.jsonl"):
            commands = (("resume", on_data), ("report", on_data))
            targets.append(Target(folder=on_data, file=on_data / name, commands=commands))
    return targets


def _of_run(folder: Path) -> Iterator[Target]:
    resume, report = ("resume", folder), ("report", folder)
    profile, compare = ("profile", folder), ("compare", folder)
    as_json = ("--format", "json")
    files = {
        "config.json": (resume, report, (*compare, *as_json)),
        "journal.jsonl": (resume, report),
        "answers.jsonl": (resume, report),
        "latency.json": (resume, report),
        "best.json": ((*compare, *as_json), ("profile", folder / "best.json", *as_json)),
        "recommended.json": ((*profile, *as_json), (*compare, *as_json)),
    }
    for name, commands in files.items():
        yield Target(folder=folder, file=folder / name, commands=commands)
    for member in sorted((folder / "family").iterdir())[:3]:
        yield Target(folder=folder, file=member, commands=(("profile", member, *as_json),))


def _of_training(folder: Path, image: Path) -> Iterator[Target]:
    predict, out = ("predict", folder, image, "--format", "json"), folder.parent / "out"
    export = folder / "export"
    given = ("--weights", export / "weights.safetensors")
    files = {
        folder / "config.json": (("resume", folder), predict),
        folder / "result.json": (("resume", folder),),
        export / "weights.pt": (predict,),
        export / "weights.json": (predict, ("export", folder, "--to", "pytorch", "-o", out)),
        export / "weights.safetensors": (
            ("export", folder, "--to", "pytorch", *given, "-o", out),
        ),
    }
    for file, commands in files.items():
        yield Target(folder=folder, file=file, commands=commands)


def _of_unfinished(folder: Path) -> Iterator[Target]:
    for name in ("config.json", "checkpoint-last.pt", "checkpoint-best.pt", "metrics.jsonl"):
        yield Target(folder=folder, file=folder / name, commands=(("resume", folder),))


def _results(target: Target, place: Path) -> list[Any]:
    """Return the results of a target's commands on whole files."""
    found = []
    for command in target.commands:
        found.append(_result(must(*command), target, place, command))
        _restore(place)
    return found


def try_damage(
    target: Target, damage: Damage, wanted: Sequence[Any], place: Path
) -> tuple[str, str]:
    """Damage a file, call the commands that read it, and put everything back; return the verdict
    with the command and what it said."""
    before, verdict = target.file.read_bytes(), "refused"
    try:
        for command, expected in zip(target.commands, wanted, strict=True):
            if damage.bit is None and target.file.suffix in _JOURNALS and command[0] == "report":
                continue  # a shorter journal is one of a run under way
            target.file.write_bytes(damage.of(before))
            called = call(*command)
            said = f"{command[0]}: exit code {called.code}: {called.err.strip()[-600:]}"
            if not called.is_refusal and (called.code != 0 or called.has_traceback):
                return "failed otherwise", said
            if not called.is_refusal:
                if not _is_same(_result(called, target, place, command), expected, target):
                    return "another result", said
                verdict = "same result"
            _restore(place)
        return verdict, ""
    finally:
        _restore(place)


def _is_same(result: Any, expected: Any, target: Target) -> bool:
    if result == expected:
        return True
    own = target.file.suffix in _JOURNALS  # a page shows its times
    return own and {**result, "report": ""} == {**expected, "report": ""}


def _restore(place: Path) -> None:
    """Put back all files as they were."""
    shutil.rmtree(place / "work")
    shutil.copytree(place / "kept", place / "work")


def _result(called: Called, target: Target, place: Path, command: Sequence[object]) -> Any:
    """Return what a command printed and wrote, without times."""
    folder = place / "work" / "out" if command[0] == "export" else target.folder
    report = folder / "report.html"
    patterns = ("best.json", "recommended.json", "result.json", "*.csv", "family/*.json")
    files = [file for pattern in patterns for file in folder.glob(pattern)]
    files += [
        f for f in folder.glob("**/weights.*") if f.suffix != ".json" or folder != target.folder
    ]
    return {
        "printed": _printed(called.out) if "json" in command else "",
        "report": report.read_text() if command[0] == "report" else "",
        **{str(f.relative_to(folder)): _content(f) for f in files if f != target.file},
    }


def _printed(text: str) -> Any:
    try:
        return _timeless(json.loads(text))
    except ValueError:
        return text


def _content(file: Path) -> Any:
    if file.suffix == ".json":
        return _timeless(json.loads(file.read_text()))
    if file.suffix == ".csv":
        return [_timeless(row) for row in csv.DictReader(io.StringIO(file.read_text()))]
    return file.read_bytes()


def _timeless(value: Any) -> Any:
    """Return JSON without its times, and without the checksums that cover them."""
    if isinstance(value, dict):
        left_out = (*CLOCK, "checksum")
        return {name: _timeless(v) for name, v in value.items() if name not in left_out}
    return [_timeless(v) for v in value] if isinstance(value, list) else value
