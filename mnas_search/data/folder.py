"""A folder of images with one subfolder per class, with or without splits."""

import os
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from mnas_search.common.errors import UsageError, reason_of
from mnas_search.data.decode import SUFFIXES, decode_all, median_shorter_side
from mnas_search.data.source import Source, stamps
from mnas_search.data.splits import assemble, named
from mnas_search.data.values import Dataset

LAYOUT = "one folder of images per class, with or without train, val and test above them"
_SPLITS = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "test": "test",
}


@dataclass(slots=True)
class _Listing:
    """The images found, as rows (split, class, file), and what was skipped."""

    rows: list[tuple[str, str, Path]] = field(default_factory=list)
    empty: list[str] = field(default_factory=list)
    loose: int = 0  # images outside of class folders
    nested: int = 0  # images in folders below class folders
    others: Counter[str] = field(default_factory=Counter)  # other files, by suffix
    beside: list[str] = field(default_factory=list)  # folders of images outside the splits

    @property
    def notes(self) -> list[str]:
        notes = []
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
        notes += [f"{name} is not a split with class folders: skipped" for name in self.beside]
        return notes


def find(root: Path) -> Source:
    """Find the images below a folder; raises `UsageError` if there are none in class folders."""
    listing = _Listing()
    splits = _split_folders(root)
    if splits:
        for split, above in splits.items():
            count = len(listing.rows)
            _list_classes(above, split, listing)
            if split != "train" and len(listing.rows) == count:
                listing.beside.append(f"{above.name}/")
        other = [p for p in _folders(root) if p not in splits.values()]
        listing.beside += [f"{p.name}/" for p in other if any(_images(p, Counter()))]
    else:
        _list_classes(root, "train", listing)
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


def _read(root: Path, listing: _Listing, side: int) -> Dataset:
    name = root.name or str(root)
    classes = sorted({called for _, called, _ in listing.rows})
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


def _split_folders(root: Path) -> Mapping[str, Path]:
    """Return the folders of splits, by split; empty if the folders are those of classes."""
    found: dict[str, Path] = {}
    for folder in _folders(root):
        split = _SPLITS.get(folder.name.lower())
        if split is None:
            continue
        if split in found:
            raise UsageError(
                f"data {str(root)!r} must have one folder for {split}, got "
                f"{found[split].name}/ and {folder.name}/"
            )
        found[split] = folder
    # A class may have the name of a split, but class folders hold images, splits hold folders.
    if not any(_folders(folder) for folder in found.values()):
        return {}
    if "train" not in found:
        names = ", ".join(f"{folder.name}/" for folder in found.values())
        raise UsageError(f"data {str(root)!r} with {names} requires train/")
    return found


def _list_classes(above: Path, split: str, listing: _Listing) -> None:
    for folder in _folders(above):
        others: Counter[str] = Counter()
        files = list(_images(folder, others))
        listing.rows += [(split, folder.name, file) for file in files]
        listing.nested += sum(file.parent != folder for file in files)
        if files:
            listing.others += others
        else:
            listing.empty.append(folder.name)
    listing.loose += sum(
        not name.startswith(".") and Path(name).suffix.lower() in SUFFIXES
        for name in _entries(above)
    )


def _folders(root: Path) -> list[Path]:
    paths = [root / name for name in _entries(root) if not name.startswith(".")]
    return [path for path in paths if os.path.isdir(path)]


def _entries(folder: Path) -> list[str]:
    try:
        return sorted(os.listdir(folder))
    except OSError as error:
        raise UsageError(f"cannot read {str(folder)!r}: {reason_of(error)}") from None


def image_files(paths: Iterable[Path]) -> tuple[Path, ...]:
    """Return the given files, and the images below the given folders, each once.

    Raises:
        UsageError: a folder cannot be read, or has no images.
    """
    found: dict[str, Path] = {}
    for path in paths:
        below = list(_images(path, Counter())) if path.is_dir() else [path]
        if not below:
            raise UsageError(f"the folder {str(path)!r} must have images, got none")
        found |= {os.path.abspath(file): file for file in below}
    return tuple(found.values())


def _images(
    folder: Path, others: Counter[str], above: frozenset[str] = frozenset()
) -> Iterator[Path]:
    """Yield image files below a class folder, sorted; skips hidden files, follows links."""
    real = os.path.realpath(folder)
    if real in above:
        return  # a link to a folder that contains it
    for name in _entries(folder):
        path = folder / name
        if name.startswith("."):
            continue
        if os.path.isdir(path):  # unlike pathlib's, without errors
            yield from _images(path, others, above | {real})
        elif path.suffix.lower() in SUFFIXES:
            yield path
        else:
            others[path.suffix.lower() or name] += 1
