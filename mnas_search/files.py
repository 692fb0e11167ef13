"""Files that are there whole or not at all."""

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from mnas_search.errors import RunFolderError, WorkFailed

_MOST_JSON = 10_000_000  # bytes; an architecture has some thousand


def read_json(path: Path) -> Any:
    """The value of a JSON file that somebody may have handed over.

    Raises:
        OSError: it cannot be read.
        ValueError: it is no JSON, nested too deeply or too large.
    """
    if path.stat().st_size > _MOST_JSON:
        raise ValueError(f"{path.stat().st_size:,} bytes; allowed: {_MOST_JSON:,}")
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def write_atomically(path: Path, content: str | bytes) -> Path:
    """Replace the file in one step: whoever reads it sees the old content or the new, whole."""
    temporary = path.with_name(f".{path.name}.tmp")
    if isinstance(content, str):
        content = content.encode("utf-8", errors="backslashreplace")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(content)
            os.replace(temporary, path)
        except OSError:
            temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise WorkFailed(f"cannot write {path}: {error.strerror}") from error
    return path


@contextlib.contextmanager
def replacement(path: Path) -> Iterator[BinaryIO]:
    """A file to write, which takes the place of `path` once it is whole and on the disk; on any
    error `path` stays as it was."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        if hasattr(os, "O_DIRECTORY"):  # else the new name could be lost with the power
            folder = os.open(path.parent, os.O_DIRECTORY)
            try:
                os.fsync(folder)
            finally:
                os.close(folder)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise


@contextlib.contextmanager
def staged(folder: Path) -> Iterator[Path]:
    """A temporary folder beside `folder`, whose files move there once all of them are written; on
    any error `folder` stays as it was, or is not made."""
    around = folder.parent
    while not around.exists():
        around = around.parent
    try:
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", suffix=".tmp", dir=around))
    except OSError as error:
        raise WorkFailed(f"cannot write {folder}: {error.strerror}") from error
    try:
        yield temporary
        try:
            for file in sorted(path for path in temporary.rglob("*") if path.is_file()):
                target = folder / file.relative_to(temporary)
                target.parent.mkdir(parents=True, exist_ok=True)
                os.replace(file, target)
        except OSError as error:
            raise WorkFailed(f"cannot write {folder}: {error.strerror}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def lock(file: BinaryIO, folder: Path) -> None:
    """Hold an open file of a folder against other processes, until it is closed."""
    try:
        import fcntl
    except ImportError:  # Windows has no flock; a second writer goes unnoticed there
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise RunFolderError(
            f"{folder} is in use by another mnas-search; wait until it has ended"
        ) from None
