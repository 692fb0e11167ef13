"""Data sets of the Hugging Face library, by name or from disk; `find` imports the library."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from mnas_search.common.errors import UnknownName, UsageError, WorkFailed, describe_exception
from mnas_search.data.decode import Encoded, decode_all, median_shorter_side
from mnas_search.data.source import Source, stamps
from mnas_search.data.splits import assemble
from mnas_search.data.values import Dataset

PREFIX = "hf:"
_SPLITS = {
    "train": "train",
    "val": "validation",
    "valid": "validation",
    "validation": "validation",
    "dev": "validation",
    "test": "test",
}
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
    known = {_SPLITS[split]: part for split, part in parts.items() if split in _SPLITS}
    if len(parts) == 1:
        known = {"train": next(iter(parts.values()))}  # by any name
    notes = [
        f"the split {split!r} is skipped"
        for split, part in parts.items()
        if not any(part is other for other in known.values())
    ]
    if "train" not in known:
        raise UsageError(f"data {name!r} must have a train split, got {', '.join(parts)}")
    image, label = _columns(name, known["train"])
    labels = {
        split: np.array([-1 if k is None else k for k in part[label][:]], np.int64)
        for split, part in known.items()
    }
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
    names = known["train"].features[label].names
    return assemble(name, given, class_names=names, notes=(*notes, *found.notes))


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
