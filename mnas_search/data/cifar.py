"""CIFAR-10 and CIFAR-100 in the binary version, unpacked or as the downloaded archive.

A record is the label (CIFAR-100: the coarse one, then the fine one), then 32x32 pixels channel by
channel. Krizhevsky, "Learning Multiple Layers of Features from Tiny Images" (2009), and
https://www.cs.toronto.edu/~kriz/cifar.html.
"""

import os
import tarfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray

from mnas_search.common.errors import UsageError
from mnas_search.data.decode import shrink
from mnas_search.data.source import Source, stamps
from mnas_search.data.splits import assemble
from mnas_search.data.values import Dataset

_SIDE = 32
_PIXELS = 3 * _SIDE * _SIDE
_BROKEN = (OSError, EOFError, tarfile.TarError, zlib.error)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Layout:
    """The files of a version; the last of the `label_bytes` of a record is the label."""

    name: str
    classes: int
    label_bytes: int
    train: tuple[str, ...]
    test: str
    names: str
    subfolder: str

    @property
    def files(self) -> tuple[str, ...]:
        return (*self.train, self.test)

    @property
    def all_files(self) -> tuple[str, ...]:
        return (*self.files, self.names)


_LAYOUTS = (
    _Layout(
        name="cifar10",
        classes=10,
        label_bytes=1,
        train=tuple(f"data_batch_{number}.bin" for number in range(1, 6)),
        test="test_batch.bin",
        names="batches.meta.txt",
        subfolder="cifar-10-batches-bin",
    ),
    _Layout(
        name="cifar100",
        classes=100,
        label_bytes=2,
        train=("train.bin",),
        test="test.bin",
        names="fine_label_names.txt",
        subfolder="cifar-100-binary",
    ),
)
ARCHIVES = (".tar.gz", ".tgz", ".tar")


def find(folder: Path) -> Source | None:
    """Find CIFAR in a folder or in its usual subfolder; None if it is not there."""
    for layout in _LAYOUTS:
        for place in (folder, folder / layout.subfolder):
            files = [f for name in layout.all_files if os.path.isfile(f := place / name)]
            if any(file.name in layout.files for file in files):
                return _source(layout, place, files)
    for place in (folder, folder / "cifar-10-batches-py", folder / "cifar-100-python"):
        ten, hundred = ("data_batch_1",), ("train", "test", "meta")
        if any(all(os.path.isfile(place / n) for n in names) for names in (ten, hundred)):
            raise UsageError(
                f"data {str(folder)!r} must be CIFAR's binary version, got the Python version "
                "(pickles)"
            )
    return None


def _source(layout: _Layout, place: Path, files: Sequence[Path]) -> Source:
    def read(side: int) -> Dataset:
        return _read(layout, place, {file.name: file.read_bytes() for file in files}, side)

    identity = ("cifar", *stamps(place, files))
    return Source(name=layout.name, identity=identity, read=read, shorter_side=lambda: _SIDE)


def find_archive(file: Path) -> Source:
    """Return CIFAR in an archive as a source."""
    return Source(
        name=file.name,
        identity=("cifar", *stamps(file, [file])),
        read=lambda side: _read_archive(file, side),
        shorter_side=lambda: _SIDE,
    )


def _read_archive(file: Path, side: int) -> Dataset:
    wanted = {name for layout in _LAYOUTS for name in layout.all_files}
    found: dict[str, bytes] = {}
    try:
        with tarfile.open(file) as archive:  # nothing is unpacked to disk
            for member in archive:
                name = PurePosixPath(member.name).name
                part = archive.extractfile(member) if name in wanted else None
                if part is not None:
                    found[name] = part.read()
    except _BROKEN as error:
        raise UsageError(
            f"data {str(file)!r} cannot be read: {error} (expected CIFAR's binary version)"
        ) from None
    for layout in _LAYOUTS:
        if found.keys() & set(layout.files):
            return _read(layout, file, found, side)
    raise UsageError(
        f"data {str(file)!r} must be an archive of CIFAR's binary version, got an archive without "
        "its files"
    )


def _read(layout: _Layout, path: Path, contents: Mapping[str, bytes], side: int) -> Dataset:
    if missing := [name for name in layout.files if name not in contents]:
        raise UsageError(
            f"data {str(path)!r} must have {', '.join(layout.files)}; it lacks "
            f"{', '.join(missing)}"
        )
    parts = {name: _records(layout, path, name, contents[name]) for name in layout.files}
    records = {
        "train": np.concatenate([parts[name] for name in layout.train]),
        "test": parts[layout.test],
    }
    given = {}
    for split, rows in records.items():
        pixels = rows[:, layout.label_bytes :].reshape(-1, 3, _SIDE, _SIDE).transpose(0, 2, 3, 1)
        images = shrink(layout.name, np.ascontiguousarray(pixels), side)
        given[split] = (images, rows[:, layout.label_bytes - 1].astype(np.int64))
    names = contents.get(layout.names, b"").decode(errors="replace").split()
    if len(names) not in (0, layout.classes):
        raise UsageError(
            f"{layout.names} of data {str(path)!r} must have {layout.classes} names, got "
            f"{len(names)}"
        )
    return assemble(layout.name, given, class_names=names, num_classes=layout.classes)


def _records(layout: _Layout, path: Path, name: str, content: bytes) -> NDArray[np.uint8]:
    """Return the records uint8 [N, label bytes + 3072] of one file."""
    size = layout.label_bytes + _PIXELS
    if not content or len(content) % size:
        raise UsageError(
            f"{name} of data {str(path)!r} must have records of {size} bytes, got "
            f"{len(content):,} bytes: the download is incomplete"
        )
    rows = np.frombuffer(content, np.uint8).reshape(-1, size)
    largest = int(rows[:, layout.label_bytes - 1].max())
    if largest >= layout.classes:
        raise UsageError(
            f"labels in {name} of data {str(path)!r} must be from 0 to {layout.classes - 1}, got "
            f"{largest}"
        )
    return rows
