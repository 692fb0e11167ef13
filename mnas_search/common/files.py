"""Atomic writes, locks, and reading of files from outside."""

import contextlib
import errno
import json
import os
import secrets
import shutil
import stat
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

from mnas_search.common.checksums import checked, with_checksum
from mnas_search.common.errors import DamagedFile, RunFolderError, WorkFailed, reason_of

MAX_TEXT_BYTES = 10_000_000  # an architecture has a few thousand
_SUFFIX = ".mnas-search.tmp"
_NO_LINK = getattr(os, "O_NOFOLLOW", 0)


def read_json(path: Path) -> Any:
    """Read a JSON file from outside, and check the checksum of one that `write_json` has written.

    Raises:
        OSError: it cannot be read, or is not an ordinary file.
        ValueError: it is not JSON, nested too deeply or too large.
        DamagedFile: it is not that of its checksum.
    """
    try:
        value = json.loads(read_text(path))
    except RecursionError:
        raise ValueError("nested too deeply") from None
    try:
        return checked(value)
    except ValueError as error:
        raise DamagedFile(f"{str(path)!r} {error}") from None


def read_text(path: Path) -> str:
    """Read a text file from outside, of at most 10 MB.

    Raises:
        OSError: it cannot be read, or is not an ordinary file.
        ValueError: it is too large, or not UTF-8.
    """
    check_ordinary(path)
    if (size := path.stat().st_size) > MAX_TEXT_BYTES:
        raise ValueError(f"the file must have at most {MAX_TEXT_BYTES:,} bytes, got {size:,}")
    return path.read_text(encoding="utf-8")


def check_ordinary(path: Path) -> None:
    """Raise `OSError` for a missing file, and for a pipe or device, which may never end."""
    if not stat.S_ISREG(path.stat().st_mode):
        raise OSError(errno.EINVAL, "not an ordinary file", str(path))


def write_json(path: Path, value: Mapping[str, Any]) -> Path:
    """Replace a JSON file in one step, with a checksum that `read_json` checks."""
    return write_atomically(path, json_text(value))


def json_text(value: Mapping[str, Any]) -> str:
    """Return the text of a JSON file, with a checksum that `read_json` checks."""
    return json.dumps(with_checksum(value), indent=2) + "\n"


def write_atomically(path: Path, content: str | bytes) -> Path:
    """Replace a file in one step: readers see the old content or the new, never a part."""
    if isinstance(content, str):
        content = content.encode("utf-8", errors="backslashreplace")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(path) as file:
            file.write(content)
    except OSError as error:
        raise WorkFailed(f"cannot write {path}: {reason_of(error)}") from error
    return path


@contextlib.contextmanager
def atomic_write(path: Path) -> Iterator[BinaryIO]:
    """Open a file that replaces `path` once it is complete and on disk, and never on an error.

    The file is made anew under a random name, so that no link that lies there is followed, and a
    link `path` is itself replaced. The next call removes what a killed process left behind.
    """
    remove_leftovers(path)
    temporary, opened = _claim(
        path.parent,
        path,
        lambda new: os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL | _NO_LINK, 0o666),
    )
    try:
        with os.fdopen(opened, "wb") as file:
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


def open_unlinked(path: Path) -> BinaryIO:
    """Open an ordinary file to read and to append to, which is made where it is missing; a link is
    not followed.

    Raises:
        OSError: it cannot be opened; `ELOOP` for a link, `EINVAL` for a pipe or device.
    """
    opened = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT | _NO_LINK, 0o666)
    try:
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            raise OSError(errno.EINVAL, "not an ordinary file", str(path))
        return os.fdopen(opened, "ab+")
    except BaseException:
        os.close(opened)
        raise


def make_folder(path: Path) -> Path:
    """Make a folder inside an experiment's, unless it is there; a link is refused."""
    refuse_link(path, "a folder")
    path.mkdir(exist_ok=True)
    return path


def refuse_link(path: Path, expected: str) -> None:
    """Raise `RunFolderError` for a link: a folder that was handed over must not lead what is
    written there elsewhere."""
    if path.is_symlink():
        raise RunFolderError(f"{str(path)!r} must be {expected}, got a link to {path.readlink()}")


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
    try:
        remove_leftovers(folder)
        temporary, opened = _claim(around, folder, _new_folder)
    except OSError as error:
        raise WorkFailed(f"cannot write {folder}: {reason_of(error)}") from error
    try:
        yield temporary
        try:
            _move(temporary, folder, new=new)
        except OSError as error:
            raise WorkFailed(f"cannot write {folder}: {reason_of(error)}") from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)
        os.close(opened)


def _claim(around: Path, path: Path, make: Callable[[Path], int]) -> tuple[Path, int]:
    """Make a temporary file or folder of `path`, locked for as long as this process lives; return
    it with its descriptor."""
    while True:
        temporary = around / f"{_prefix(path)}{secrets.token_hex(4)}{_SUFFIX}"
        try:
            opened = make(temporary)
        except FileNotFoundError:
            if not around.is_dir():
                raise
            continue
        flock(opened, wait=True)
        if temporary.exists():
            return temporary, opened
        os.close(opened)  # another process has removed it, which had no lock yet


def _new_folder(path: Path) -> int:
    path.mkdir()
    return os.open(path, os.O_RDONLY | _NO_LINK)


def remove_leftovers(path: Path) -> None:
    """Remove the temporary files and folders of `path` whose process was killed; none where there
    are no locks, since a live process could be using them."""
    for around in {path, path.parent}:
        for left in around.glob(f"{_prefix(path).replace('[', '[[]')}*{_SUFFIX}"):
            with contextlib.suppress(OSError), _opened(left) as opened:
                if not flock(opened):
                    continue
                if left.is_dir():
                    shutil.rmtree(left, ignore_errors=True)
                else:
                    left.unlink()


def _prefix(path: Path) -> str:
    return f".{path.name[:100]}."


@contextlib.contextmanager
def _opened(path: Path) -> Iterator[int]:
    """Open a temporary file or folder for its lock; a link or pipe is neither followed nor waited
    for."""
    opened = os.open(path, os.O_RDONLY | _NO_LINK | getattr(os, "O_NONBLOCK", 0))
    try:
        yield opened
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
    with open_unlinked(path) as file:
        flock(file.fileno(), wait=True)
        yield


def lock(file: BinaryIO, folder: Path) -> None:
    """Lock an open file of a folder against other processes until it is closed; without effect
    where there are no locks."""
    if flock(file.fileno()) is False:
        file.close()
        raise RunFolderError(f"{folder} is in use by another mnas-search process")


def flock(opened: int, *, wait: bool = False) -> bool | None:
    """Lock an open file or folder until it is closed; return whether it is locked now, False where
    another process has locked it, None where the system or the file system has no locks."""
    try:
        import fcntl

        fcntl.flock(opened, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
    except BlockingIOError:
        return False
    except (ImportError, OSError):  # Windows; some network file systems
        return None
    return True
