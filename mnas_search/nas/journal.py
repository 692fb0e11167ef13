"""The append-only journal of an experiment, one JSON event a line.

Each event is written whole and flushed before it counts; the tell of a finished evaluation is also
synced to disk. Complete lines never change; a torn last line, left by a crash, is cut when the
journal is opened again.
"""

import contextlib
import json
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Protocol, final

from mnas_search.common.errors import RunFolderError, WorkFailed, reason_of
from mnas_search.common.files import check_ordinary, lock


class Events(Protocol):
    """A journal, as the stages of a run use it."""

    events: list[dict[str, Any]]

    def append(self, event: Mapping[str, Any], *, sync: bool = False) -> None:
        """Write one event."""


@final
class ReadJournal:
    """A journal that is only read, even while the run writes to it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self.events = read_events(path)

    def append(self, event: Mapping[str, Any], *, sync: bool = False) -> None:
        """Refuse to write."""
        del event, sync
        raise WorkFailed(f"{self._path} is only read")


@final
class MemoryJournal:
    """A journal without a file."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def append(self, event: Mapping[str, Any], *, sync: bool = False) -> None:
        """Keep one event."""
        del sync
        self.events.append(dict(event))


class Journal:
    """The append-only journal of an experiment, locked against a second writer."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._file: BinaryIO = path.open("a+b")
        lock(self._file, path.parent)
        try:
            self.events = self._read()
        except BaseException:
            self.close()
            raise

    def append(self, event: Mapping[str, Any], *, sync: bool = False) -> None:
        """Write one event; `time` (seconds since 1970) is added."""
        line = json.dumps({**event, "time": round(time.time(), 3)}, allow_nan=False) + "\n"
        try:
            self._file.write(line.encode())
            self._file.flush()
            if sync:
                os.fsync(self._file.fileno())
        except OSError as error:
            raise WorkFailed(
                f"cannot write {self._path}: {reason_of(error)}; resumed, the run continues from "
                "the last complete line"
            ) from error

    def close(self) -> None:
        """Release the file and its lock."""
        with contextlib.suppress(OSError):  # what could not be written was reported by append
            self._file.close()

    def __enter__(self) -> "Journal":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()

    def _read(self) -> list[dict[str, Any]]:
        self._file.seek(0)
        content = self._file.read()
        events, whole = _parse(content, self._path)
        if whole < len(content):
            self._file.truncate(whole)
        return events


def read_events(path: Path) -> list[dict[str, Any]]:
    """Read the complete events of a journal, which may be in use."""
    try:
        check_ordinary(path)
        return _parse(path.read_bytes(), path)[0]
    except OSError as error:
        raise RunFolderError(f"cannot read {str(path)!r}: {reason_of(error)}") from None


def _parse(content: bytes, path: Path) -> tuple[list[dict[str, Any]], int]:
    """Events, and the length of the whole lines."""
    whole = content[: content.rfind(b"\n") + 1]
    events = []
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            event = json.loads(line)
            event["event"], event["time"]
        except (ValueError, TypeError, KeyError, RecursionError):
            raise RunFolderError(
                f"{path} line {number} is no event: {line[:60]!r}; it was changed by "
                "something else than mnas-search"
            ) from None
        events.append(event)
    return events, len(whole)
