"""What a benchmark that keeps its results gives."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class Outcome:
    """What came out.

    Attributes:
        records: all of it, a row each.
        table: the same as text.
        files: what was written.
        failures: a line for each piece that failed.
    """

    records: list[dict[str, Any]]
    table: list[dict[str, str]]
    files: tuple[Path, ...]
    failures: tuple[str, ...]
