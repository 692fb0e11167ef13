"""From labelled images to a data set: deterministic, stratified splits.

scikit-learn's `train_test_split` refuses to stratify where a class is smaller than the number of
splits, or a split smaller than the number of classes; one's own folders are often so.
"""

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from mnas_search.common.errors import UsageError, single_line
from mnas_search.data.values import Dataset, Split

SPLITS = ("train", "validation", "test")
_SHARE = 0.2  # of a class, for each split that is cut
_IMBALANCE = 10  # times as many images as the smallest class

Labels = NDArray[np.int64]


def named(names: Sequence[str], most: int = 5) -> str:
    """The first few of many names."""
    return ", ".join(names[:most]) + (", ..." if len(names) > most else "")


def cut(labels: Labels, parts: int) -> NDArray[np.int64]:
    """For each label [N] the part it goes to: 1 to `parts`, or 0 for what stays.

    Every part gets a fifth of each class, at least one image, the same ones each time. A class
    with too few images for one in every part and one to stay, stays whole.
    """
    order = np.random.default_rng(0).permutation(len(labels))
    by_class = order[np.argsort(labels[order], kind="stable")]
    sizes = np.bincount(labels)
    rank = np.empty(len(labels), np.int64)  # of an image within its class, at random
    rank[by_class] = np.arange(len(labels)) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    each = np.where(sizes > parts, np.maximum(1, np.round(_SHARE * sizes)), 0).astype(np.int64)
    part = rank // np.maximum(1, each)[labels] + 1
    return np.where((part <= parts) & (each[labels] > 0), part, 0)


def assemble(
    name: str,
    given: Mapping[str, tuple[NDArray[np.uint8], Labels]],
    *,
    class_names: Sequence[str] = (),
    num_classes: int | None = None,
    notes: Sequence[str] = (),
) -> Dataset:
    """A data set from the splits that the source has; those that it lacks are cut from `train`.

    Args:
        name: of the data set.
        given: images uint8 [N, H, W, 3] and labels [N] of `train`, and of `validation` and `test`
            where there are any.
        class_names: of all classes, where they are known.
        num_classes: None for the number of names, or else up to the largest label.
        notes: what is odd already.

    Raises:
        UsageError: no training images, fewer than two classes, or none that can be split.
    """
    for split in SPLITS:
        if split in given and not len(given[split][1]):
            raise UsageError(f"data {name!r} has no images for {split}; allowed: at least one")
    if "train" not in given:
        raise UsageError(f"data {name!r} has {', '.join(given)} but no train; allowed: with train")
    images, labels = given["train"]
    if num_classes is None:
        num_classes = len(class_names) or 1 + max(int(part.max()) for _, part in given.values())
    called = list(class_names) or [str(k) for k in range(num_classes)]
    missing = [split for split in ("validation", "test") if split not in given]
    part = cut(labels, len(missing)) if missing else np.zeros(len(labels), np.int64)
    splits = {split: Split(images=i, labels=k) for split, (i, k) in given.items()}
    for number, split in enumerate(["train", *missing]):
        if not (part == number).any():
            raise UsageError(
                f"no class of data {name!r} has the {len(missing) + 1} images that are needed to "
                f"cut {' and '.join(missing)} from train; allowed: more images, or your own splits"
            )
        if missing:
            splits[split] = Split(images=images[part == number], labels=labels[part == number])
    return Dataset(
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


def _oddities(
    name: str, labels: Labels, splits: Mapping[str, Split], called: Sequence[str], missing: int
) -> list[str]:
    """What to say about the sizes of classes; `labels` are those before any cut."""
    sizes: list[int] = np.bincount(labels, minlength=len(called)).tolist()
    present = [k for k, size in enumerate(sizes) if size]
    if len(present) < 2:
        only = ", ".join(called[k] for k in present)
        raise UsageError(
            f"data {name!r} has images of one class only ({only}); allowed: two classes and more"
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
    least, most = min(present, key=sizes.__getitem__), max(present, key=sizes.__getitem__)
    if sizes[most] > _IMBALANCE * sizes[least]:
        notes.append(
            f"class sizes go from {sizes[least]:,} ({called[least]}) to {sizes[most]:,} "
            f"({called[most]}): accuracy is mostly that of the large classes"
        )
    judged = {*splits["validation"].labels.tolist(), *splits["test"].labels.tolist()}
    if never := [called[k] for k in sorted(judged - set(present))]:
        notes.append(
            f"{len(never)} classes are validated or tested but never trained: {named(never)}"
        )
    return notes
