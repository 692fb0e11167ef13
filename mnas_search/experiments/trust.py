"""Code that a folder names: it is run only after it is checked.

A handed-over folder may name any Python file. One that this user has run before, by naming it in a
command, is known by its hash in `$XDG_STATE_HOME/mnas-search/code` (`~/.local/state/...`), outside
all folders of experiments; another is run where `--trust-code` says so.
"""

import contextlib
import os
from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any

from mnas_search.common import plugins
from mnas_search.common.errors import RunFolderError, UnknownName, reason_of

RESUME = "`mnas-search resume` with --trust-code"


def check_code(
    where: str,
    config: Mapping[str, Any],
    *,
    trusted: bool = False,
    unhashed: Collection[str] = (),
    named: Collection[str | None] = (),
    then: str = RESUME,
) -> None:
    """Refuse files of code that are not what they were, or are not known; nothing is run.

    Args:
        where: whose configuration it is, for messages.
        config: options by name, with `<name>_sha256` of files.
        trusted: whether files that are not known may be run; they are known from then on.
        unhashed: options whose `_sha256` is not that of the file.
        named: references that the command itself names.
        then: what runs the code, once it has been read.
    """
    files = dict(_files(config))
    for name, reference in files.items():
        found, option = _digest(reference), name.partition("[")[0]
        recorded = config.get(f"{option}_sha256", config.get(f"{reference}_sha256"))
        if option not in unhashed and recorded not in (None, found):
            raise RunFolderError(changed(reference, where))
        if not trusted and reference not in named and not _is_known(found):
            raise RunFolderError(
                f"{where} runs code that you have not run before, {reference!r}: read it, then "
                f"{then}"
            )
    if trusted:
        remember(config)


def changed(what: str, where: str) -> str:
    """Return the message for what has changed since an experiment began."""
    return f"{what!r} has changed since {where} began; its content must be as it was"


def remember(config: Mapping[str, Any]) -> None:
    """Make files of code known that the user has named; without effect where the user's folder
    for such state cannot be written."""
    for _, reference in _files(config):
        if (place := _place(_digest(reference))) is not None:
            with contextlib.suppress(OSError):
                place.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
                place.touch()


def _files(config: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """Yield each reference to a file of code, under its option's name."""
    for name, value in config.items():
        values = value if isinstance(value, list | tuple) else [value]
        for index, one in enumerate(values):
            if isinstance(one, str) and plugins.is_file_reference(one):
                yield (f"{name}[{index}]" if isinstance(value, list | tuple) else name), one


def _digest(reference: str) -> str:
    try:
        return plugins.content_hash(reference)
    except OSError as error:
        path = reference.rpartition(":")[0]
        raise UnknownName(f"cannot read {path!r}: {reason_of(error)}") from None


def _is_known(digest: str) -> bool:
    place = _place(digest)
    return place is not None and place.is_file()


def _place(digest: str) -> Path | None:
    """Return the file whose existence says that code is known; None without a home."""
    state = os.environ.get("XDG_STATE_HOME", "")
    if not os.path.isabs(state):
        try:
            state = str(Path.home() / ".local" / "state")
        except RuntimeError:  # nobody knows where
            return None
    return Path(state) / "mnas-search" / "code" / digest
