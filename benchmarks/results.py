"""What a benchmark returns, and how its records become tables, CSV and JSON."""

import csv
import gzip
import io
import json
import platform
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

from mnas_search.common.files import write_atomically
from mnas_search.common.statistics import Interval

Record = dict[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What a benchmark that keeps its results returns."""

    records: list[Record]  # all figures, a row each
    table: list[dict[str, str]]  # the same as text
    files: tuple[Path, ...]  # the files that were written
    failures: tuple[str, ...]  # a line for each task that failed


def conditions(*packages: str) -> Record:
    """Return the versions of packages and of Python, and the machine's architecture."""
    return {**versions(*packages), "machine": platform.machine()}


def versions(*packages: str) -> Record:
    """Return the versions of packages and of Python."""
    found = {package: version(package) for package in packages}
    return {**found, "python": platform.python_version()}


def markdown_table(rows: Sequence[Mapping[str, str]], *, without: Sequence[str] = ()) -> list[str]:
    """Return the lines of a Markdown table, and an empty line."""
    columns = [name for name in rows[0] if name not in without]
    return [
        "| " + " | ".join(columns) + " |",
        "|" + "---|" * len(columns),
        *("| " + " | ".join(row[name] for name in columns) + " |" for row in rows),
        "",
    ]


def zipped_csv(header: Sequence[str], rows: Iterable[Sequence[object]]) -> bytes:
    """Return CSV, gzipped; equal rows give equal bytes."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(header)
    writer.writerows(rows)
    return gzip.compress(text.getvalue().encode(), mtime=0)


def write_files(folder: Path, contents: Mapping[str, object]) -> tuple[Path, ...]:
    """Write files by name: text and bytes as they are, everything else as JSON."""
    return tuple(
        write_atomically(
            folder / name,
            content if isinstance(content, str | bytes) else json.dumps(content, indent=1),
        )
        for name, content in contents.items()
    )


def rounded(interval: Interval | None) -> list[float] | None:
    """Return value, low and high with three digits."""
    if interval is None:
        return None
    return [round(value, 3) for value in (interval.value, interval.low, interval.high)]
