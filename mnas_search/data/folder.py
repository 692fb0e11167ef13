"""A folder of images with one subfolder per class, with or without splits."""

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mnas_search.common.errors import UsageError
from mnas_search.data.decode import decode_all, median_shorter_side
from mnas_search.data.layout import (
    LAYOUT,
    find_splits,
    has_images,
    images,
    loose_images,
    normalise,
    subfolders,
)
from mnas_search.data.source import Source, stamps
from mnas_search.data.splits import assemble, named
from mnas_search.data.values import Dataset


@dataclass(slots=True)
class _Listing:
    """The images found, as rows (split, class, file), and what was skipped."""

    rows: list[tuple[str, str, Path]] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    merged: list[str] = field(default_factory=list)  # classes with several spellings in Unicode
    loose: int = 0  # images outside of class folders
    nested: int = 0  # images in folders below class folders
    others: Counter[str] = field(default_factory=Counter)  # other files, by suffix
    passed_over: Counter[str] = field(default_factory=Counter)  # hidden and service files
    splits: list[str] = field(default_factory=list)  # how folders are read
    beside: list[str] = field(default_factory=list)  # folders of images outside the splits

    @property
    def classes(self) -> list[str]:
        return sorted({called for _, called, _ in self.rows})

    @property
    def notes(self) -> list[str]:
        notes = list(self.splits)
        if self.empty:
            notes.append(f"{len(self.empty)} folders without images: {named(self.empty)}")
        if self.loose:
            notes.append(f"{self.loose} images lie outside the class folders and are skipped")
        if self.nested:
            notes.append(f"{self.nested} images lie in subfolders of their class folder")
        if self.others:
            suffixes = named([suffix for suffix, _ in self.others.most_common()])
            notes.append(
                f"{self.others.total()} files are not images by their names and are skipped: "
                f"{suffixes}"
            )
        if self.passed_over:
            names = named([name for name, _ in self.passed_over.most_common()])
            notes.append(
                f"{self.passed_over.total()} hidden or service files and folders are passed over: "
                f"{names}"
            )
        if self.merged:
            notes.append(
                "folders whose names differ only in their Unicode form are read as one class: "
                f"{named(self.merged)}"
            )
        by_case = Counter(name.casefold() for name in self.classes)
        if alike := [name for name in self.classes if by_case[name.casefold()] > 1]:
            notes.append(f"classes differ only in upper and lower case: {named(alike)}")
        notes += [f"{name} is not a split with class folders: skipped" for name in self.beside]
        return notes


def find(root: Path) -> Source:
    """Find the images below a folder; raises `UsageError` if there are none in class folders."""
    listing = _list(root)
    if not listing.rows:
        found = "images without class folders" if listing.loose else "no images"
        raise UsageError(f"data {str(root)!r} must have {LAYOUT}, got {found}")
    files = [file for _, _, file in listing.rows]
    return Source(
        name=root.name or str(root),
        identity=("folder", *stamps(root, files), *listing.notes),
        read=lambda side: _read(root, listing, side),
        shorter_side=lambda: median_shorter_side(files),
    )


def _list(root: Path) -> _Listing:
    listing = _Listing()
    splits = find_splits(root)
    if splits is None:
        _list_classes(root, "train", listing)
        return listing
    listing.splits = splits.notes
    for split, above in splits.folders.items():
        _list_classes(above, split, listing)
    folders = subfolders(root, listing.passed_over)
    other = [p for p in folders if p.name not in splits.names.values()]
    listing.beside = [f"{p.name}/" for p in other if has_images(p)]
    return listing


def _read(root: Path, listing: _Listing, side: int) -> Dataset:
    name = root.name or str(root)
    classes = listing.classes
    number = {called: index for index, called in enumerate(classes)}
    found = decode_all(
        name,
        ((str(file.relative_to(root)), file) for _, _, file in listing.rows),
        count=len(listing.rows),
        side=side,
    )
    labels = np.array([number[called] for _, called, _ in listing.rows], np.int64)[found.kept]
    splits = np.array([split for split, _, _ in listing.rows])[found.kept]
    whole = len(set(splits.tolist())) == 1  # a single split is not copied
    given = {
        split: (found.images if whole else found.images[splits == split], labels[splits == split])
        for split in dict.fromkeys(splits.tolist())
    }
    return assemble(name, given, class_names=classes, notes=(*listing.notes, *found.notes))


def _list_classes(above: Path, split: str, listing: _Listing) -> None:
    seen: set[str] = set()
    for folder in subfolders(above):
        files = list(images(folder, listing.others, listing.passed_over))
        called = normalise(folder.name)
        listing.rows += [(split, called, file) for file in files]
        listing.nested += sum(file.parent != folder for file in files)
        if not files:
            listing.empty.append(folder.name)
        elif called in seen:
            listing.merged.append(called)
        seen.add(called)
    listing.loose += len(loose_images(above, listing.passed_over))


def image_files(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Return the given files, and the images below the given folders, each once.

    Raises:
        UsageError: a folder cannot be read, or has no images.
    """
    found: dict[str, Path] = {}
    for path in paths:
        below = list(images(path, Counter(), Counter())) if path.is_dir() else [path]
        if not below:
            raise UsageError(f"the folder {str(path)!r} must have images, got none")
        found |= {os.path.abspath(file): file for file in below}
    return tuple(found.values())
