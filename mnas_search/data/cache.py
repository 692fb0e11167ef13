"""A cache of decoded data sets on disk, one file per data set and image size.

Files are below `MNAS_SEARCH_CACHE`, else `$XDG_CACHE_HOME/mnas-search`, else
`~/.cache/mnas-search`, and may be deleted at any time. A cache that cannot be read or written
costs time but never changes a result.
"""

import hashlib
import json
import logging
import os
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from mnas_search.common.errors import UsageError, reason_of, single_line
from mnas_search.common.files import atomic_write
from mnas_search.data.source import Source
from mnas_search.data.splits import SPLITS
from mnas_search.data.values import Dataset, Split

_FORMAT = 2  # of files, decoding and splitting; a change invalidates all caches
_LOG = logging.getLogger(__name__)
_BROKEN = (
    *(OSError, EOFError, ValueError, TypeError, LookupError, AttributeError, NotImplementedError),
    *(zipfile.BadZipFile, zlib.error),
)


def folder() -> Path:
    """Return the folder of the cache; raises `RuntimeError` if the user has no home."""
    if own := os.environ.get("MNAS_SEARCH_CACHE"):
        return Path(own)
    shared = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification ignores relative paths.
    above = Path(shared) if os.path.isabs(shared) else Path.home() / ".cache"
    return above / "mnas-search"


def cached(source: Source, side: int) -> Dataset:
    """Read the data set of a source, from the cache if it has an intact copy."""
    try:
        file = folder() / "data" / f"{_key(source, side)}.npz"
    except RuntimeError as error:
        _LOG.warning("no cache of decoded images: %s", error)
        return source.read(side)
    dataset = _read(file)
    if dataset is None:
        _LOG.info("decoding %s at %d pixels into %s", source.name, side, file)
        dataset = source.read(side)
        _write(file, dataset)
    return dataset


def _key(source: Source, side: int) -> str:
    parts = json.dumps([_FORMAT, side, source.name, *source.identity])
    return hashlib.sha256(parts.encode()).hexdigest()


def _read(file: Path) -> Dataset | None:
    try:
        with open(file, "rb") as handle, np.load(handle, allow_pickle=False) as arrays:
            header = json.loads(str(arrays["header"]))
            parts: dict[str, Any] = {
                name: Split(images=arrays[f"{name}_images"], labels=arrays[f"{name}_labels"])
                for name in SPLITS
            }
        parts |= {name: tuple(header.pop(name)) for name in ("class_names", "notes")}
        return Dataset(**header, **parts)
    except (FileNotFoundError, NotADirectoryError, PermissionError):
        return None
    except _BROKEN as error:
        reason = "of another form" if isinstance(error, UsageError) else str(error)
        _LOG.warning("the cache %s is broken and is made again: %s", file, single_line(reason))
        return None


def _write(file: Path, dataset: Dataset) -> None:
    """Write atomically, also when several processes write the same file."""
    fields = ("name", "num_classes", "flips", "class_names", "notes")
    header = {name: getattr(dataset, name) for name in fields}
    arrays: dict[str, Any] = {"header": np.array(json.dumps(header))}
    for name in SPLITS:
        split: Split = getattr(dataset, name)
        arrays |= {f"{name}_images": split.images, f"{name}_labels": split.labels}
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        with atomic_write(file) as out:
            np.savez(out, **arrays)
    except OSError as error:
        _LOG.warning(
            "decoded images are not kept, and are decoded again next time: cannot write %s: %s "
            "(MNAS_SEARCH_CACHE names another folder)",
            *(file.parent, reason_of(error)),
        )
