"""Labelled images -> a data set with deterministic, stratified splits.

scikit-learn's `train_test_split` cannot stratify if a class has fewer images than there are
splits, or a split fewer images than there are classes; small data sets often do.
"""

from collections.abc import Mapping, Sequence
from hashlib import blake2b

import numpy as np
from numpy.typing import NDArray

from mnas_search.common.checks import check_choice
from mnas_search.common.errors import UsageError, single_line
from mnas_search.data.values import Dataset, Split

SPLITS = ("train", "validation", "test")
_SHARE = 0.2  # of each class, for each new split
_IMBALANCE = 10  # ratio of class sizes that is worth a note

Labels = NDArray[np.int64]


def named(names: Sequence[str], max_count: int = 5) -> str:
    """List the first `max_count` names."""
    return ", ".join(names[:max_count]) + (", ..." if len(names) > max_count else "")


def cut(labels: Labels, parts: int) -> NDArray[np.int64]:
    """Assign each label [N] to a part: 1 to `parts`, or 0 for the rest.

    Every part gets a fifth of each class, at least one image, deterministically. A class with
    `parts` images or fewer is not divided.
    """
    order = np.random.default_rng(0).permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    sizes = np.bincount(labels)
    rank = np.empty(len(labels), np.int64)  # random rank of an image within its class
    rank[by_class] = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    each = np.where(sizes > parts, np.maximum(1, np.round(_SHARE * sizes)), 0).astype(np.int64)
    part = rank // np.maximum(1, each)[labels] + 1
    return np.where((part <= parts) & (each[labels] > 0), part, 0)


def assign_folds(labels: Labels, folds: int) -> NDArray[np.int64]:
    """Assign each label [N] to one of `folds` parts, from 0; each class is divided evenly, at
    random and always alike."""
    order = np.random.default_rng(0).permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    fold = np.empty(len(labels), np.int64)
    # In turn over all classes, so that small ones do not all have their images in the first parts.
    fold[by_class] = np.arange(len(labels)) % folds
    return fold


def assemble(
    name: str,
    given: Mapping[str, tuple[NDArray[np.uint8], Labels]],
    *,
    class_names: Sequence[str] = (),
    num_classes: int | None = None,
    notes: Sequence[str] = (),
) -> Dataset:
    """Make a data set from the splits of the source; missing splits are cut from `train`.

    Args:
        name: of the data set.
        given: images uint8 [N, H, W, 3] and labels [N] of `train`, and optionally of `validation`
            and `test`.
        class_names: of all classes, if known.
        num_classes: None for the number of names, or the largest label + 1.
        notes: earlier notes on the data.

    Raises:
        UsageError: no training images, fewer than two classes, no class that can be split, or a
            class in `validation` or `test` that is not in `train`.
    """
    for split in given:
        check_choice(f"splits of data {name!r}", split, SPLITS)
        if not len(given[split][1]):
            raise UsageError(f"data {name!r} must have at least one image for {split}, got none")
    if "train" not in given:
        raise UsageError(f"data {name!r} must have a train split, got {', '.join(given)}")
    low, high = _label_range(name, given)
    count = sum(len(part) for _, part in given.values())
    limit, what = len(class_names) or num_classes or count, "classes"
    if not class_names and num_classes is None:
        what = "images"
    if low < 0 or high >= limit:
        raise UsageError(
            f"labels of data {name!r} must be 0 or more and below its {limit} {what}, got "
            f"{low if low < 0 else high}"
        )
    splits = {split: Split(images=i, labels=k) for split, (i, k) in given.items()}
    images, labels = splits["train"].images, splits["train"].labels
    num_classes = num_classes or len(class_names) or high + 1
    called = list(class_names) or [str(k) for k in range(num_classes)]
    missing = [split for split in ("validation", "test") if split not in given]
    part = cut(labels, len(missing)) if missing else np.zeros(len(labels), np.int64)
    for number, split in enumerate(["train", *missing]):
        if not (part == number).any():
            raise UsageError(
                f"cutting {' and '.join(missing)} from train requires a class of "
                f"{len(missing) + 1} images or more, which data {name!r} does not have"
            )
        if missing:
            splits[split] = Split(images=images[part == number], labels=labels[part == number])
    dataset = Dataset(
        name=name,
        num_classes=num_classes,
        train=splits["train"],
        validation=splits["validation"],
        test=splits["test"],
        class_names=tuple(class_names),
        notes=tuple(
            map(single_line, (*notes, *_oddities(name, labels, splits, called, len(missing))))
        ),
    )
    check_trained(dataset)
    return dataset


def _label_range(name: str, given: Mapping[str, tuple[NDArray[np.uint8], Labels]]) -> list[int]:
    """Return the smallest and the largest label, as they are before a cast, which would turn 2**63
    into a negative number; raises `UsageError` for labels that are no integers."""
    arrays = [np.asarray(labels) for _, labels in given.values()]
    for array in arrays:
        if array.dtype.kind not in "iu":
            raise UsageError(f"labels of data {name!r} must be integers, got {array.dtype}")
    return [min(int(a.min()) for a in arrays), max(int(a.max()) for a in arrays)]


def check_trained(dataset: Dataset) -> None:
    """Raise `UsageError` if validation or test have a class without training images."""
    trained = set(dataset.train.labels.tolist())
    names = dataset.class_names or tuple(map(str, range(dataset.num_classes)))
    for split in SPLITS[1:]:
        found = set(getattr(dataset, split).labels.tolist())
        if unknown := [names[k] for k in sorted(found - trained)]:
            raise UsageError(
                single_line(
                    f"{split} of data {dataset.name!r} must have only classes of train "
                    f"({named([names[k] for k in sorted(trained)])}), got {named(unknown)}"
                )
            )


def _oddities(
    name: str, labels: Labels, splits: Mapping[str, Split], called: Sequence[str], missing: int
) -> list[str]:
    """Return notes on class sizes; `labels` are those of `train` before cutting."""
    sizes: list[int] = np.bincount(labels, minlength=len(called)).tolist()
    present = [k for k, size in enumerate(sizes) if size]
    if len(present) < 2:
        only = ", ".join(called[k] for k in present)
        raise UsageError(
            f"data {name!r} must have images of two classes or more, got one ({only})"
        )
    notes = []
    if absent := [called[k] for k, size in enumerate(sizes) if not size]:
        notes.append(
            f"{len(absent)} of {len(called)} classes have no training images: {named(absent)}"
        )
    small = [called[k] for k in present if sizes[k] <= missing]
    if missing and small:
        notes.append(
            f"{len(small)} classes have fewer than {missing + 1} images, which are all used for "
            f"training: {named(small)}"
        )
    low, high = min(present, key=sizes.__getitem__), max(present, key=sizes.__getitem__)
    if sizes[high] > _IMBALANCE * sizes[low]:
        notes.append(
            f"class sizes range from {sizes[low]:,} ({called[low]}) to {sizes[high]:,} "
            f"({called[high]}): accuracy is mostly that of the large classes"
        )
    return [*notes, *_uncovered(splits, present, called, small), *_repeated(splits)]


def _uncovered(
    splits: Mapping[str, Split],
    present: Sequence[int],
    called: Sequence[str],
    small: Sequence[str],
) -> list[str]:
    """Return notes on classes that are trained but not measured; those too small are said."""
    notes = []
    for split in SPLITS[1:]:
        found = set(splits[split].labels.tolist())
        absent = [called[k] for k in present if k not in found and called[k] not in small]
        if absent:
            notes.append(f"{len(absent)} classes have no images in {split}: {named(absent)}")
    return notes


def _repeated(splits: Mapping[str, Split]) -> list[str]:
    """Return notes on images of validation and test that are in train too, pixel by pixel."""
    notes = []
    trained = set(_digests(splits["train"]))
    for split in SPLITS[1:]:
        digests = _digests(splits[split])
        if count := sum(digest in trained for digest in digests):
            notes.append(
                f"{count} of {len(digests):,} images of {split} are also in train: accuracy on "
                f"{split} is overestimated"
            )
    return notes


def _digests(split: Split) -> list[bytes]:
    """Return a digest of the pixels of each image."""
    return [
        blake2b(np.ascontiguousarray(image).data, digest_size=16).digest()
        for image in split.images
    ]
