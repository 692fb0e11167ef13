"""Data that are found but not yet read."""

import os
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

from mnas_search.data.values import Dataset


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Data that are found but not yet read.

    Attributes:
        name: of the data set.
        identity: texts that change whenever the content may have changed.
        read: reads the data set; its argument is the side in pixels, exact for images of variable
            size and an upper bound for images of a fixed size.
        shorter_side: finds the median shorter side of the images in pixels, without decoding them.
    """

    name: str
    identity: tuple[str, ...]
    read: Callable[[int], Dataset]
    shorter_side: Callable[[], int]


def stamps(root: Path, files: Iterable[Path]) -> tuple[str, ...]:
    """Describe files below `root` by size, mtime and ctime in nanoseconds, without reading them.

    No tool sets ctime back, so that every change is seen; a copied or moved file counts as
    changed.
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
