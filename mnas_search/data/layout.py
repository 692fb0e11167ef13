"""What the names of folders say: splits, classes, and what programs leave behind.

A folder is read as a split if its name says so and class folders lie in it. `train`, `Training`,
`test_set` and `val_images` are plain names of splits. `seg_train` has another word in it, as the
class `bullet train` has, and is a split only beside another one with a class of the same name.
"""

import os
import re
import unicodedata
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from mnas_search.common.errors import UsageError, reason_of

LAYOUT = "one folder of images per class, with or without train, val and test above them"
SUFFIXES = frozenset(
    ".avif .bmp .gif .jfif .jpe .jpeg .jpg .pbm .pgm .png .pnm .ppm .tif .tiff .webp".split()
)
USUAL = {"train", "val", "valid", "validation", "test"}  # names that need no note
_EVALUATION = "evaluation"  # validation, or test if there is a validation split beside it
_SPLITS = {
    **dict.fromkeys(("train", "training", "trainval"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "dev", "development"), "validation"),
    **dict.fromkeys(("test", "testing"), "test"),
    **dict.fromkeys(("eval", "evaluation"), _EVALUATION),
}
_FILLERS = (
    "set sets split data dataset image images img imgs photo photos picture pictures".split()
)
_WORDS = re.compile(r"[^\W\d_]+")
_HUMP = re.compile(r"(?<=[a-z])(?=[A-Z])")  # of "trainSet"
_SPLIT_WORD = re.compile(
    f"(?:{'|'.join(_FILLERS)})?({'|'.join(_SPLITS)})(?:{'|'.join(_FILLERS)})?"
)
# What file managers, archivers and network drives leave in folders, besides hidden files.
_SERVICE = {"__macosx", "$recycle.bin", "system volume information", "lost+found", "#recycle"}
_SERVICE |= {"thumbs.db", "ehthumbs.db", "desktop.ini", "icon\r", "__pycache__"}


def normalise(name: str) -> str:
    """Return a name in Unicode's composed form (NFC): macOS stores others than Linux does."""
    return unicodedata.normalize("NFC", name)


@dataclass(frozen=True, slots=True, kw_only=True)
class SplitName:
    """A split (`train`, `validation`, `test`, `evaluation`), and whether a name says only that."""

    split: str
    plain: bool

    def as_split(self, has_validation: bool) -> str:
        """Return the split; an evaluation split is for the test if there is one for validation."""
        if self.split == _EVALUATION:
            return "test" if has_validation else "validation"
        return self.split


def split_name(name: str) -> SplitName | None:
    """Read a name as that of a split; None if it is none, or names several.

    split_name("Training_Set")  # train, plain
    split_name("seg_train")     # train, not plain
    """
    words = [word.lower() for word in _WORDS.findall(_HUMP.sub(" ", normalise(name)))]
    found = [_SPLITS[m[1]] for word in words if (m := _SPLIT_WORD.fullmatch(word))]
    if set(found) == {"train", "validation"}:
        found = ["train"]  # train_val
    if len(set(found)) != 1:
        return None
    others = [w for w in words if w not in _FILLERS and not _SPLIT_WORD.fullmatch(w)]
    return SplitName(split=found[0], plain=not others)


def is_service(name: str) -> bool:
    """Tell whether a file or folder is hidden, or left by a program: `@eaDir`, `Thumbs.db`."""
    return name.startswith((".", "@")) or name.lower() in _SERVICE


def entries(folder: Path, passed_over: Counter[str] | None = None) -> list[tuple[str, bool]]:
    """Return the names in a folder, sorted, each with whether it is a folder, links included.

    Args:
        folder: to list.
        passed_over: counts the names that are left out: hidden ones and those of programs.

    Raises:
        UsageError: the folder cannot be read.
    """
    try:
        with os.scandir(folder) as found:
            pairs = sorted((entry.name, _is_folder(entry)) for entry in found)
    except OSError as error:
        raise UsageError(f"cannot read {str(folder)!r}: {reason_of(error)}") from None
    if passed_over is not None:
        passed_over.update(name for name, _ in pairs if is_service(name))
    return [pair for pair in pairs if not is_service(pair[0])]


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link that leads to itself
        return False


def subfolders(folder: Path, passed_over: Counter[str] | None = None) -> list[Path]:
    """Return the folders in a folder, sorted by name."""
    return [folder / name for name, is_folder in entries(folder, passed_over) if is_folder]


def loose_images(folder: Path, passed_over: Counter[str] | None = None) -> list[str]:
    """Return the names of the images that lie in a folder itself."""
    return [
        name
        for name, is_folder in entries(folder, passed_over)
        if is_image(name) and not is_folder
    ]


def is_image(name: str) -> bool:
    """Tell by its name whether a file is an image."""
    return Path(name).suffix.lower() in SUFFIXES


def images(
    folder: Path,
    others: Counter[str],
    passed_over: Counter[str],
    above: frozenset[str] = frozenset(),
) -> Iterator[Path]:
    """Yield the image files below a folder, sorted; links are followed.

    Args:
        folder: where to look.
        others: counts files that are no images, by suffix.
        passed_over: counts hidden files and those of programs, by name.
        above: real paths of the folders that this one is in.
    """
    real = os.path.realpath(folder)
    if real in above:
        return  # a link to a folder that contains it
    for name, is_folder in entries(folder, passed_over):
        path = folder / name
        if is_folder:
            yield from images(path, others, passed_over, above | {real})
        elif is_image(name):
            yield path
        else:
            others[path.suffix.lower() or name] += 1


def has_images(folder: Path) -> bool:
    """Tell whether there is an image below a folder."""
    return any(images(folder, Counter(), Counter()))


@dataclass(frozen=True, slots=True, kw_only=True)
class Splits:
    """The folders of splits: those that hold the class folders, by split, and their names."""

    folders: Mapping[str, Path]
    names: Mapping[str, str]

    @property
    def notes(self) -> list[str]:
        """Return how the folders are read, unless their names leave no doubt."""
        if all(name.lower() in USUAL for name in self.names.values()):
            return []
        read = ", ".join(f"{name}/ as {split}" for split, name in self.names.items())
        return [f"folders are read as splits: {read}"]


def find_splits(root: Path) -> Splits | None:
    """Return the folders of splits; None if the folders of `root` are those of classes.

    Raises:
        UsageError: the folders can be read in several ways, or there is none for training.
    """
    folders = subfolders(root)
    named = {folder: name for folder in folders if (name := split_name(folder.name))}
    inside = {folder: _unwrapped(folder) for folder in named}
    classes = {folder: _class_names(inside[folder]) for folder in named}
    classes = {folder: below for folder, below in classes.items() if below}
    chosen = [f for f in classes if named[f].plain or _has_partner(f, named, classes)]
    if not chosen:
        _check_classes(root, folders, named)
        return None
    found: dict[str, Path] = {}
    has_validation = any(named[folder].split == "validation" for folder in chosen)
    for folder in chosen:
        split = named[folder].as_split(has_validation)
        if split in found:
            raise UsageError(
                f"data {str(root)!r} must have one folder for {split}, got "
                f"{found[split].name}/ and {folder.name}/"
            )
        found[split] = folder
    if "train" not in found:
        names = ", ".join(f"{folder.name}/" for folder in found.values())
        raise UsageError(f"data {str(root)!r} with {names} requires train/")
    others = [f for f in folders if f not in named and _class_names(f)]
    if len(found) == 1 and others:
        raise UsageError(
            f"data {str(root)!r} must have class folders or splits, got both: "
            f"{found['train'].name}/ is named like a split, {others[0].name}/ is not, and both "
            "hold folders of images"
        )
    return Splits(
        folders={split: inside[folder] for split, folder in found.items()},
        names={split: folder.name for split, folder in found.items()},
    )


def _unwrapped(folder: Path) -> Path:
    """Return the only folder in a split's folder if it repeats its name or says nothing more
    (`seg_train/seg_train`, `train/images`), else the folder itself."""
    inside = subfolders(folder)
    if len(inside) != 1 or loose_images(folder) or not _class_names(inside[0]):
        return folder
    outer, inner = (normalise(path.name).casefold() for path in (folder, inside[0]))
    return inside[0] if inner == outer or inner in _FILLERS else folder


def _class_names(folder: Path) -> set[str]:
    """Return the names of the folders with images in a folder, in lower case."""
    return {normalise(f.name).casefold() for f in subfolders(folder) if has_images(f)}


def _has_partner(
    folder: Path, named: Mapping[Path, SplitName], classes: Mapping[Path, set[str]]
) -> bool:
    """Tell whether another split has a class of the same name."""
    return any(
        named[other].split != named[folder].split and classes[other] & classes[folder]
        for other in classes
    )


def _check_classes(root: Path, folders: Sequence[Path], named: Mapping[Path, SplitName]) -> None:
    """Raise `UsageError` if folders without class folders, or class folders, are splits."""
    filled = [folder for folder in folders if has_images(folder)]
    if len(filled) > 1 and all(f in named and named[f].plain for f in filled):
        names = " and ".join(f"{folder.name}/" for folder in filled)
        raise UsageError(
            f"data {str(root)!r} must have {LAYOUT}, got images without class folders in {names}"
        )
    for folder in filled:
        below = {f.name: split_name(f.name) for f in subfolders(folder)}
        inside = {called: name.split for called, name in below.items() if name and name.plain}
        if "train" in inside.values() and len(set(inside.values())) > 1:
            hint = f": {str(folder)!r} may be meant" if len(filled) == 1 else ""
            raise UsageError(
                f"data {str(root)!r} must have {LAYOUT}, got splits below {folder.name}/ "
                f"({', '.join(f'{name}/' for name in inside)}){hint}"
            )
