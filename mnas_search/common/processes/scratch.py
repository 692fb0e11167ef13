"""Temporary folders, which are removed even where their process was killed: by the next one."""

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from mnas_search.common.files import flock

_PREFIX, _SUFFIX = "mnas-search-", ".d"
_MAX_PLACE = 18  # bytes: sockets of Ray lie below, and the path of a socket has at most 107
_SHORT = ("/tmp", "/var/tmp", "/dev/shm")


@contextlib.contextmanager
def scratch_folder() -> Iterator[Path]:
    """Make a folder with a short path for the time of the block, and remove those that killed
    processes have left.

    A process holds a lock on its folder as long as it lives, so that a folder without one is
    nobody's, whichever process has the number of its owner by now.
    """
    place = _place()
    remove_abandoned(place)
    while True:
        folder = Path(tempfile.mkdtemp(_SUFFIX, _PREFIX, place))
        try:
            held = _lock(folder, wait=True)
        except FileNotFoundError:  # another process has removed it, without a lock as it was
            continue
        if folder.exists():
            break
        if held is not None:
            os.close(held)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        if held is not None:
            os.close(held)


def remove_abandoned(place: Path) -> None:
    """Remove the scratch folders in `place` whose process has died."""
    for folder in place.glob(f"{_PREFIX}*{_SUFFIX}"):
        with contextlib.suppress(OSError):
            held = _lock(folder, wait=False)
            if held is None:
                continue
            try:
                if os.fstat(held).st_uid == os.getuid():
                    shutil.rmtree(folder, ignore_errors=True)
            finally:
                os.close(held)


def _place() -> Path:
    """Return the temporary folder, or one with a shorter path."""
    own = os.environ.get("RAY_TMPDIR") or tempfile.gettempdir()
    if len(os.fsencode(own)) <= _MAX_PLACE:
        return Path(own)
    usable = (place for place in _SHORT if os.access(place, os.W_OK | os.X_OK))
    return Path(next(usable, own))


def _lock(folder: Path, *, wait: bool) -> int | None:
    """Return the open descriptor of a locked folder; None where another process has locked it, or
    there are no such locks.

    Raises:
        OSError: it is no folder.
    """
    if not hasattr(os, "O_DIRECTORY"):  # Windows
        return None
    opened = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    if flock(opened, wait=wait):
        return opened
    os.close(opened)
    return None
