"""The append-only journal of an experiment, one JSON event a line.

Each event is written whole and flushed before it counts; the tell of a finished evaluation is also
synced to disk. Complete lines never change; a torn last line, left by a crash, is cut when the
journal is opened again.

The checksum of a line covers all its members but `time` and `seconds`, so that equal runs have
journals that differ in nothing else. Journals of earlier versions have no checksums; lines that
are added to them have.
"""

import contextlib
import json
import logging
import os
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Protocol, final

from mnas_search.common.checksums import CHECKSUM, checksum, has_checksum, with_checksum
from mnas_search.common.errors import (
    MnasSearchError,
    RunFolderError,
    WorkFailed,
    describe_exception,
    reason_of,
    shorten,
)
from mnas_search.common.files import check_ordinary, lock, open_unlinked, refuse_link
from mnas_search.nas.event_kinds import EventKinds, check_event

_LOG = logging.getLogger(__name__)
CLOCK = ("time", "seconds")  # members that no checksum covers
_MAX_REASON = 300  # characters
_CHANGED = "it was changed by something else than mnas-search"


class Events(Protocol):
    """A journal, as the stages of a run use it."""

    events: list[dict[str, Any]]

    def append(self, event: Mapping[str, Any], *, sync: bool = False) -> None:
        """Write one event."""

    def place(self, number: int) -> str:
        """Name the place of event `number`, counted from 0, in messages."""


@final
class ReadJournal:
    """A journal that is only read, even while the run writes to it."""

    def __init__(self, path: Path, kinds: EventKinds | None = None) -> None:
        self._path = path
        self.events = read_events(path, kinds)

    def append(self, event: Mapping[str, Any], *, sync: bool = False) -> None:
        """Refuse to write."""
        del event, sync
        raise WorkFailed(f"{self._path} is only read")

    def place(self, number: int) -> str:
        """Name the file and the line."""
        return f"{self._path} line {number + 1}"


@final
class MemoryJournal:
    """A journal without a file."""

    def __init__(self) -> None:
        self.events: list[dict[str, Any]] = []

    def append(self, event: Mapping[str, Any], *, sync: bool = False) -> None:
        """Keep one event."""
        del sync
        self.events.append(dict(event))

    def place(self, number: int) -> str:
        """Name the event."""
        return f"event {number}"


class Journal:
    """The append-only journal of an experiment, locked against a second writer.

    Args:
        path: of the file; a link is refused.
        kinds: the events that it may hold; None for any.
    """

    def __init__(self, path: Path, kinds: EventKinds | None = None) -> None:
        self._path, self._kinds = path, kinds
        refuse_link(path, "a file")
        self._file: BinaryIO = open_unlinked(path)
        lock(self._file, path.parent)
        try:
            self.events = self._read()
        except BaseException:
            self.close()
            raise

    def append(self, event: Mapping[str, Any], *, sync: bool = False) -> None:
        """Write one event; `time` (seconds since 1970) and its checksum are added.

        Raises:
            ValueError: it would be refused when it is read again.
        """
        timed = {**event, "time": round(time.time(), 3)}
        check_event(timed, self._kinds)
        line = json.dumps(with_checksum(timed, without=CLOCK), allow_nan=False) + "\n"
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

    def place(self, number: int) -> str:
        """Name the file and the line."""
        return f"{self._path} line {number + 1}"

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
        events, whole = _parse(content, self._path, self._kinds)
        if whole < len(content):
            self._file.truncate(whole)
        return events


@contextlib.contextmanager
def journal_line(journal: Events, number: int) -> Iterator[None]:
    """Name file and line where event `number`, counted from 0, does not fit what came before."""
    try:
        yield
    except (ValueError, LookupError, TypeError, ArithmeticError) as error:
        known = isinstance(error, MnasSearchError)
        reason = str(error) if known else f"it cannot be read ({describe_exception(error)})"
        raise RunFolderError(f"{journal.place(number)}: {reason}; {_CHANGED}") from error


def read_events(path: Path, kinds: EventKinds | None = None) -> list[dict[str, Any]]:
    """Read the complete events of a journal, which may be in use."""
    try:
        check_ordinary(path)
        return _parse(path.read_bytes(), path, kinds)[0]
    except OSError as error:
        raise RunFolderError(f"cannot read {str(path)!r}: {reason_of(error)}") from None


def _parse(
    content: bytes, path: Path, kinds: EventKinds | None
) -> tuple[list[dict[str, Any]], int]:
    """Events, and the length of the whole lines."""
    whole = content[: content.rfind(b"\n") + 1]
    events: list[dict[str, Any]] = []
    unchecked = 0  # lines of an earlier version, which come first
    for number, line in enumerate(whole.splitlines(), start=1):
        try:
            event = _event(line)
            check_event(event, kinds)
        except ValueError as error:
            reason = shorten(str(error), _MAX_REASON)
            raise _refusal(path, number, f"is no event: {reason}") from None
        if has_checksum(event):
            own, given = checksum(event, without=CLOCK), event.pop(CHECKSUM)
            if own != given:
                what = f"is damaged: its checksum must be {own}, got {given}"
                raise _refusal(path, number, what)
        elif unchecked < len(events):
            raise _refusal(path, number, "has no checksum")
        else:
            unchecked += 1
        events.append(event)
    _check_end(content[len(whole) :], path)
    if unchecked:
        _LOG.warning(
            "%s has %d lines of an earlier version, which have no checksum", path, unchecked
        )
    return events, len(whole)


def _refusal(path: Path, number: int, reason: str) -> RunFolderError:
    return RunFolderError(f"{path} line {number} {reason}; {_CHANGED}")


def _check_end(torn: bytes, path: Path) -> None:
    """Raise `RunFolderError` for a whole line whose end was changed: it is not torn by a crash."""
    try:
        event = _event(torn[:-1])
    except ValueError:
        return
    if not has_checksum(event) or checksum(event, without=CLOCK) != event[CHECKSUM]:
        return
    raise RunFolderError(
        f"{path}: the last line must end with a line break, got {torn[-1:]!r}; {_CHANGED}"
    )


def _event(line: bytes) -> dict[str, Any]:
    """Return the JSON object of a line."""
    try:
        event = json.loads(line, parse_constant=_refuse)
    except (ValueError, RecursionError):
        event = None
    if not isinstance(event, dict):
        raise ValueError(f"{line[:60]!r}")
    return event


def _refuse(constant: str) -> None:
    raise ValueError(constant)
