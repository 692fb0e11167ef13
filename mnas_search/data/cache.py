"""Decoded data sets on disk, so that images are decoded once.

A file a data set and side, below `MNAS_SEARCH_CACHE`, else `$XDG_CACHE_HOME/mnas-search`, else
`~/.cache/mnas-search`; any of them may be deleted at any time. A cache that cannot be written or
read costs time and never a result.
"""

import contextlib
import hashlib
import json
import logging
import os
import tempfile
import zipfile
import zlib
from pathlib import Path
from typing import Any

import numpy as np

from mnas_search.common.errors import UsageError, single_line
from mnas_search.data.source import Source
from mnas_search.data.splits import SPLITS
from mnas_search.data.values import Dataset, Split

_FORMAT = 1  # of the files, of decoding and of splitting: one more makes all caches invalid
_LOG = logging.getLogger(__name__)


def folder() -> Path:
    """Where the cache lies; raises `RuntimeError` where the user has no home."""
    if own := os.environ.get("MNAS_SEARCH_CACHE"):
        return Path(own)
    shared = os.environ.get("XDG_CACHE_HOME", "")
    # The XDG specification has relative paths ignored.
    above = Path(shared) if os.path.isabs(shared) else Path.home() / ".cache"
    return above / "mnas-search"


def cached(source: Source, side: int) -> Dataset:
    """The data set of a source, from the cache where it is there and whole."""
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
    except (
        OSError,
        EOFError,
        ValueError,  # UsageError is one
        TypeError,
        LookupError,
        AttributeError,
        zipfile.BadZipFile,
        zlib.error,
        NotImplementedError,
    ) as error:
        said = "of another form" if isinstance(error, UsageError) else str(error)
        _LOG.warning("the cache %s is broken and is made again: %s", file, single_line(said))
        return None


def _write(file: Path, dataset: Dataset) -> None:
    """Whole or not at all, whoever else writes the same file."""
    header = {
        "name": dataset.name,
        "num_classes": dataset.num_classes,
        "flips": dataset.flips,
        "class_names": dataset.class_names,
        "notes": dataset.notes,
    }
    arrays: dict[str, Any] = {"header": np.array(json.dumps(header))}
    for name in SPLITS:
        split: Split = getattr(dataset, name)
        arrays |= {f"{name}_images": split.images, f"{name}_labels": split.labels}
    temporary = None
    try:
        file.parent.mkdir(parents=True, exist_ok=True)
        handle, temporary = tempfile.mkstemp(dir=file.parent, suffix=".tmp")
        with os.fdopen(handle, "wb") as out:
            np.savez(out, **arrays)
        os.replace(temporary, file)
    except OSError as error:
        if temporary is not None:
            with contextlib.suppress(OSError):
                os.unlink(temporary)
        _LOG.warning(
            "decoded images are not kept, and are decoded again next time: cannot write %s: %s "
            "(MNAS_SEARCH_CACHE names another folder)",
            file.parent,
            error.strerror,
        )
