"""Atomic writes, locks, and reading of files from outside."""

import contextlib
import errno
import json
import os
import secrets
import shutil
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO

from mnas_search.common.errors import RunFolderError, WorkFailed, reason_of

MAX_TEXT_BYTES = 10_000_000  # an architecture has a few thousand
_SUFFIX = ".mnas-search.tmp"


def read_json(path: Path) -> Any:
    """Read a JSON file from outside.

    Raises:
        OSError: it cannot be read, or is not an ordinary file.
        ValueError: it is not JSON, nested too deeply or too large.
    """
    try:
        return json.loads(read_text(path))
    except RecursionError:
        raise ValueError("nested too deeply") from None


def read_text(path: Path, max_bytes: int = MAX_TEXT_BYTES) -> str:
    """Read a text file from outside, of at most `max_bytes` bytes.

    Raises:
        OSError: it cannot be read, or is not an ordinary file.
        ValueError: it is too large, or not UTF-8.
    """
    check_ordinary(path)
    if path.stat().st_size > max_bytes:
        raise ValueError(
            f"the file must have at most {max_bytes:,} bytes, got {path.stat().st_size:,}"
        )
    return path.read_text(encoding="utf-8")


def check_ordinary(path: Path) -> None:
    """Raise `OSError` for a missing file, and for a pipe or device, which may never end."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "not an ordinary file", str(path))


def write_atomically(path: Path, content: str | bytes) -> Path:
    """Replace a file in one step: readers see the old content or the new, never a part."""
    temporary = path.with_name(f".{path.name}.tmp")
    if isinstance(content, str):
        content = content.encode("utf-8", errors="backslashreplace")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(content)
            os.replace(temporary, path)
        except BaseException:
            with contextlib.suppress(OSError):
                temporary.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise WorkFailed(f"cannot write {path}: {reason_of(error)}") from error
    return path


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a file that replaces `path` once it is complete and on disk, and never on an error."""
    temporary = path.with_name(f".{path.name}.tmp")
    try:
        with temporary.open("wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        if hasattr(os, "O_DIRECTORY"):  # or a power loss could undo the rename
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
def atomic_directory(folder: Path) -> Iterator[Path]:
    """Make a temporary folder whose files move to `folder` once all of them are written; on any
    error `folder` stays unchanged, or is not made.

    A new folder appears in one step. In an existing folder each file is replaced in one step; the
    temporary folder is then inside it, and so on the same disk. The next call removes what a
    killed process left behind.
    """
    new = not folder.exists()
    around = folder
    while not around.exists():
        around = around.parent
    temporary = around / f"{_prefix(folder)}{secrets.token_hex(4)}{_SUFFIX}"
    try:
        remove_leftovers(folder)
        temporary.mkdir()
    except OSError as error:
        raise WorkFailed(f"cannot write {folder}: {reason_of(error)}") from error
    try:
        with _locked(temporary):
            yield temporary
            try:
                _move(temporary, folder, new=new)
            except OSError as error:
                raise WorkFailed(f"cannot write {folder}: {reason_of(error)}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def remove_leftovers(folder: Path) -> None:
    """Remove the temporary folders of `atomic_directory` whose process was killed."""
    try:
        import fcntl
    except ImportError:  # without locks, a live process could be using them
        return
    for around in (folder, folder.parent):
        for left in around.glob(f"{_prefix(folder).replace('[', '[[]')}*{_SUFFIX}"):
            with contextlib.suppress(OSError):
                opened = os.open(left, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
                try:
                    fcntl.flock(opened, fcntl.LOCK_EX | fcntl.LOCK_NB)
                    shutil.rmtree(left, ignore_errors=True)
                finally:
                    os.close(opened)


def _prefix(folder: Path) -> str:
    return f".{folder.name[:100]}."


@contextlib.contextmanager
def _locked(folder: Path) -> Iterator[None]:
    """Lock a temporary folder for as long as this process lives."""
    try:
        import fcntl
    except ImportError:
        yield
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):  # file systems without locks
            fcntl.flock(opened, fcntl.LOCK_SH)
        yield
    finally:
        os.close(opened)


def _move(temporary: Path, folder: Path, *, new: bool) -> None:
    if new:
        folder.parent.mkdir(parents=True, exist_ok=True)
        os.rename(temporary, folder)
        return
    files = sorted(path for path in temporary.rglob("*") if path.is_file())
    targets = [folder / file.relative_to(temporary) for file in files]
    for target in targets:  # before the first file is replaced
        if target.is_dir():
            raise IsADirectoryError(errno.EISDIR, f"{target.name!r} is a folder")
    for file, target in zip(files, targets, strict=True):
        target.parent.mkdir(parents=True, exist_ok=True)
        os.replace(file, target)


@contextlib.contextmanager
def waiting_lock(path: Path) -> Iterator[None]:
    """Hold the lock of a file, which is made where it is missing, once no other process holds it;
    without effect where the system has no such locks."""
    with path.open("ab") as file:
        with contextlib.suppress(ImportError, OSError):
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def lock(file: BinaryIO, folder: Path) -> None:
    """Lock an open file of a folder against other processes until it is closed."""
    try:
        import fcntl
    except ImportError:  # Windows has no flock
        return
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        file.close()
        raise RunFolderError(f"{folder} is in use by another mnas-search process") from None
