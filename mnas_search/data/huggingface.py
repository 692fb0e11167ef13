"""Data sets of the Hugging Face library, by name or from disk; `find` imports the library."""

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnas_search.common.errors import UnknownName, UsageError, WorkFailed, describe_exception
from mnas_search.data.decode import Encoded, decode_all, median_shorter_side
from mnas_search.data.layout import USUAL, split_name
from mnas_search.data.source import Source, stamps
from mnas_search.data.splits import assemble, named
from mnas_search.data.values import Dataset

PREFIX = "hf:"
_BATCH = 512
_SAMPLE = 256  # images whose size is read


def find(text: str) -> Source:
    """Find the data after `hf:`: a path, or a name on the Hub with an optional `:CONFIG`."""
    path = Path(text)
    if os.path.exists(text):
        root = path.resolve()
        files = [root] if root.is_file() else sorted(f for f in root.rglob("*") if f.is_file())
        return Source(
            name=root.stem if root.is_file() else root.name,
            identity=("hf", *stamps(root, files)),
            read=lambda side: _read(root.name, _from_disk(root), side),
            shorter_side=lambda: _shorter_side(root.name, _from_disk(root)),
        )
    name, _, config = text.partition(":")
    if not name or path.is_absolute():
        raise UnknownName(
            f"data must be hf:NAME, hf:NAME:CONFIG or the path of an existing file, hf:PATH, got "
            f"{PREFIX + text!r}"
        )
    parts = _from_hub(name, config or None)
    prints = [f"{split} {part._fingerprint}" for split, part in sorted(parts.items())]
    return Source(
        name=text,
        identity=("hf", text, *prints),
        read=lambda side: _read(text, parts, side),
        shorter_side=lambda: _shorter_side(text, parts),
    )


def _library() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise UsageError(
            f"data that begin with {PREFIX} require the package datasets ({error}): "
            "pip install 'mnas-search[huggingface]'"
        ) from None
    return datasets


def _from_disk(root: Path) -> Mapping[str, Any]:
    datasets = _library()
    saved = (root / "dataset_dict.json").is_file() or (root / "state.json").is_file()
    try:
        found = datasets.load_from_disk(str(root)) if saved else datasets.load_dataset(str(root))
    except Exception as error:  # from any of the library's readers
        raise UsageError(
            f"data {str(root)!r} cannot be read by the package datasets: "
            f"{describe_exception(error)}"
        ) from None
    return _parts(found)


def _from_hub(name: str, config: str | None) -> Mapping[str, Any]:
    datasets = _library()
    try:
        found = datasets.load_dataset(name, config)
    except Exception as error:  # network, rights, formats
        raise WorkFailed(
            f"the package datasets cannot load {name!r}: {describe_exception(error)}"
        ) from None
    return _parts(found)


def _parts(found: Any) -> Mapping[str, Any]:
    """Return splits by name, with plain values."""
    parts = found if isinstance(found, dict) else {"train": found}
    return {split: part.with_format(None) for split, part in parts.items()}


def _read(name: str, parts: Mapping[str, Any], side: int) -> Dataset:
    known, notes = _known(parts)
    if "train" not in known:
        raise UsageError(f"data {name!r} must have a train split, got {', '.join(parts)}")
    image, label = _columns(name, known["train"])
    names = known["train"].features[label].names
    labels = {split: _labels(name, split, part, label, names) for split, part in known.items()}
    for split in [s for s in known if s != "train" and (labels[s] < 0).all()]:
        notes.append(f"the split {split!r} has no labels and is skipped")
        del known[split], labels[split]
    whole = np.concatenate(list(labels.values()))
    if len(whole) and whole.min() < 0:
        raise UsageError(f"data {name!r} must have a label for every image")
    found = decode_all(name, _encoded(known, image), count=len(whole), side=side)
    ends = np.cumsum([0, *(len(each) for each in labels.values())])
    given = {}
    for number, split in enumerate(known):
        first, last = np.searchsorted(found.kept, ends[number : number + 2])
        given[split] = (found.images[first:last], whole[found.kept[first:last]])
    return assemble(name, given, class_names=names, notes=(*notes, *found.notes))


def _known(parts: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """Return the splits by our names, and notes on those with other names."""
    if len(parts) == 1:
        return {"train": next(iter(parts.values()))}, []  # by any name
    names = {split: split_name(split) for split in parts}
    has_validation = any(found and found.split == "validation" for found in names.values())
    known: dict[str, Any] = {}
    notes = []
    for split, part in parts.items():
        found = names[split]
        target = found.as_split(has_validation) if found and found.plain else None
        if target is None or target in known:
            notes.append(f"the split {split!r} is skipped")
            continue
        known[target] = part
        if split not in USUAL:
            notes.append(f"the split {split!r} is read as {target}")
    return known, notes


def _labels(
    name: str, split: str, part: Any, column: str, names: Sequence[str]
) -> NDArray[np.int64]:
    """Return the labels [N] of a split, numbered as `names`; -1 for none.

    Raises:
        UsageError: the split has a class that is not among `names`.
    """
    labels = np.array([-1 if k is None else k for k in part[column][:]], np.int64)
    own = getattr(part.features[column], "names", None)
    if own is None or own == names:
        return labels
    number = {called: index for index, called in enumerate(names)}
    used = {own[k] for k in np.unique(labels[labels >= 0])}
    if unknown := sorted(used - number.keys()):
        raise UsageError(
            f"{split} of data {name!r} must have only classes of train ({named(names)}), got "
            f"{named(unknown)}"
        )
    order = np.array([*(number.get(called, -1) for called in own), -1])  # -1 stays -1
    return order[labels]


def _shorter_side(name: str, parts: Mapping[str, Any]) -> int:
    """Return the median shorter side of a sample of the first split."""
    part = next(iter(parts.values()))
    image, _ = _columns(name, part)
    sample = part.select(range(0, len(part), max(1, len(part) // _SAMPLE)))
    return median_shorter_side([one for _, one in _encoded({"sample": sample}, image)])


def _columns(name: str, part: Any) -> tuple[str, str]:
    """Return the names of the only image column and the only class column."""
    datasets = _library()
    features = part.features
    images = [c for c, feature in features.items() if isinstance(feature, datasets.Image)]
    labels = [c for c, feature in features.items() if isinstance(feature, datasets.ClassLabel)]
    if len(images) == len(labels) == 1:
        return images[0], labels[0]
    columns = ", ".join(f"{column} ({type(f).__name__})" for column, f in features.items())
    raise UsageError(
        f"data {name!r} must have one Image and one ClassLabel column, got {columns} "
        "(file.py:Name can select them)"
    )


def _encoded(parts: Mapping[str, Any], column: str) -> Iterator[tuple[str, Encoded]]:
    datasets = _library()
    for split, part in parts.items():
        plain = part.select_columns([column]).cast_column(column, datasets.Image(decode=False))
        number = 0
        for batch in plain.iter(batch_size=_BATCH):
            for row in batch[column]:
                called = f"{split}[{number}]"
                number += 1
                row = row or {"bytes": b"", "path": None}
                yield called, row["bytes"] if row["bytes"] is not None else Path(row["path"])
