"""What a data set is read from, before it is read."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from mnas_search.data.values import Dataset


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Data that were found and not yet read.

    Attributes:
        name: what to call the data set.
        identity: texts that differ where the content may differ.
        read: takes the side, in pixels, that images of no fixed size get, and those of a fixed
            size do not exceed.
    """

    name: str
    identity: tuple[str, ...]
    read: Callable[[int], Dataset]


def stamps(root: Path, files: Iterable[Path]) -> tuple[str, ...]:
    """What tells that files below `root` have changed, without reading them.

    Size and the times of the last change of content and of the entry, to the nanosecond: the
    latter no tool sets back. Files that were copied or moved count as others.
    """
    lines = [str(root)]
    for file in files:
        try:
            found = os.stat(file)
        except OSError as error:
            lines.append(f"{file} {error.errno}")
            continue
        lines.append(f"{file} {found.st_size} {found.st_mtime_ns} {found.st_ctime_ns}")
    return tuple(lines)
