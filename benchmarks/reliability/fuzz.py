"""Calls commands with inputs that are wrong on purpose: options, files, plug-ins that err.

A command has to end with a documented exit code (0 done, 1 the work failed, 2 wrong usage, 130
interrupted), without a traceback, and with a word: its result, or one line of an error that says
something. Where a JSON result was asked for, standard output holds nothing else.
"""

import json
import os
import sys
import tempfile
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import numpy as np

from mnas_search.benchmarks.reliability import command_lines, hostile_files, plugin_errors
from mnas_search.benchmarks.reliability.calling import Called, call
from mnas_search.benchmarks.results import Outcome
from mnas_search.cli.app import UNEXPECTED
from mnas_search.common import plugins

CODES = (0, 1, 2, 130)
_MAKERS = {
    "command line": command_lines.draw,
    "file": hostile_files.draw,
    "plug-in": plugin_errors.draw,
}


def run(*, count: int, seed: int, note: Callable[[str], None]) -> Outcome:
    """Call commands with `count` wrong inputs, and count how they ended."""
    found: Counter[tuple[str, str]] = Counter()
    failures: list[str] = []
    with tempfile.TemporaryDirectory(prefix="mnas-search-") as name, _inside(Path(name)):
        note("making the folders and files that inputs are changes of")
        samples = hostile_files.make_samples(Path(name).resolve() / "samples")
        for number in range(count):
            kind = list(_MAKERS)[number % len(_MAKERS)]
            text, verdict = try_input(number, kind, seed, samples)
            found[kind, verdict] += 1
            if verdict not in _GOOD:
                failures.append(f"input {number}: {verdict}: {text}")
                note(failures[-1])
            if (number + 1) % max(1, count // 20) == 0:
                note(f"{number + 1:,} of {count:,} inputs")
    verdicts = [*_GOOD, *sorted({verdict for _, verdict in found} - {*_GOOD})]
    records = [{"input": kind, **{v: found[kind, v] for v in verdicts}} for kind in _MAKERS]
    table = [{name: str(value) for name, value in record.items()} for record in records]
    return Outcome(records=records, table=table, files=(), failures=tuple(failures))


_GOOD = ("done", "failed", "refused", "interrupted")


def try_input(number: int, kind: str, seed: int, samples: Path) -> tuple[str, str]:
    """Draw input `number`, and call its command; return what was called and said, and the
    verdict."""
    rng = np.random.default_rng((seed, number))
    place = samples.parent / "input"
    with hostile_files.emptied(place):
        arguments = _MAKERS[kind](rng, samples, place)
        called = call(*arguments)
        _forget_modules()
    text = " ".join(map(repr, arguments)).replace(str(samples.parent), "")
    return f"{text}: {called.code}: {called.err.strip()[-1500:]}", judge(arguments, called)


def judge(arguments: Sequence[object], called: Called) -> str:
    """Return how a command has ended, in a word, or what is wrong with that."""
    if called.has_traceback:
        return "traceback"
    if called.code not in CODES:
        return "exit code"
    word = called.error.removeprefix("error: ")
    if word.startswith(UNEXPECTED):
        return "unexpected"
    if called.code in (1, 2) and (word == called.error or len(word.strip()) < 3):
        return "silent end"
    if called.code == 0 and not (called.out.strip() or called.err.strip()):
        return "silent end"
    wants_json = any(pair == ("--format", "json") for pair in pairwise(arguments))
    if called.code == 0 and wants_json and not _is_json(called.out):
        return "no JSON"
    return dict(zip(CODES, _GOOD, strict=True))[called.code or 0]


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except ValueError:
        return False
    return True


def _forget_modules() -> None:
    """Forget the files of plug-ins, which are new for every input."""
    for module in plugins.modules_from_files():
        sys.modules.pop(module.__name__, None)
    plugins.load_file.cache_clear()


@contextmanager
def _inside(folder: Path) -> Iterator[None]:
    """Work in a folder, whose state and caches are the user's meanwhile."""
    before, variables = Path.cwd(), dict(os.environ)
    os.environ |= {"XDG_STATE_HOME": str(folder / "state")}
    os.environ |= {"MNAS_SEARCH_CACHE": str(folder / "cache")}
    os.chdir(folder)
    try:
        yield
    finally:
        os.chdir(before)
        os.environ.clear()
        os.environ.update(variables)
