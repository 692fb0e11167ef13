"""Files that are there whole or not at all."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

from mnas_search.errors import RunFolderError, WorkFailed


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
