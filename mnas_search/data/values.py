"""Data sets as values: uint8 images in memory, in three splits."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnas_search.common.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Images uint8 [N, H, W, C] with C = 3, and their classes int64 [N]."""

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        images, labels = np.asarray(self.images), np.asarray(self.labels)
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
            raise UsageError(
                f"images are {images.dtype} {list(images.shape)}; allowed: uint8 [N, H, W, 3]"
            )
        if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu" or not labels.size:
            raise UsageError(
                f"labels are {labels.dtype} {list(labels.shape)} for {len(images)} images; "
                "allowed: whole numbers, one an image, at least one"
            )
        object.__setattr__(self, "images", images)
        object.__setattr__(self, "labels", labels.astype(np.int64))

    def part(self, fraction: float) -> "Split":
        """A share of every class, at least one image of each, the same ones each time."""
        rank = np.empty(len(self.labels), np.int64)  # of an image within its class, at random
        size = np.bincount(self.labels)
        order = np.argsort(np.random.default_rng(0).random(len(self.labels)))
        for label in np.flatnonzero(size):
            members = order[self.labels[order] == label]
            rank[members] = np.arange(len(members))
        kept = rank < np.maximum(1, np.round(fraction * size))[self.labels]
        return Split(images=self.images[kept], labels=self.labels[kept])


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """An image classification task.

    Attributes:
        name: what to call it.
        num_classes: number of classes.
        train: what candidates are trained on.
        validation: what the search measures on.
        test: what no search ever sees.
        flips: whether a mirrored image is of the same class.
        class_names: of each class, in the order of the labels; empty where they are not known.
        notes: sentences on what is odd about the data, for whoever reads results of them.
    """

    name: str
    num_classes: int
    train: Split
    validation: Split
    test: Split
    flips: bool = True
    class_names: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for name in ("class_names", "notes"):
            texts = getattr(self, name)
            if not isinstance(texts, tuple) or not all(isinstance(t, str) for t in texts):
                raise UsageError(f"{name} is {texts!r}; allowed: a tuple of texts")
        if len(self.class_names) not in (0, self.num_classes):
            raise UsageError(
                f"{len(self.class_names)} class names for {self.num_classes} classes; allowed: "
                "one a class, or none"
            )
        for name in ("train", "validation", "test"):
            split = getattr(self, name)
            if not isinstance(split, Split):
                raise UsageError(f"{name} is {type(split).__name__}; allowed: a Split")
            low, high = int(split.labels.min()), int(split.labels.max())
            if low < 0 or high >= self.num_classes:
                raise UsageError(
                    f"{name} has labels from {low} to {high}; allowed: 0 to {self.num_classes - 1}"
                )

    @property
    def sha256(self) -> str:
        """Hash of all that a training sees: equal for equal images, labels and splits."""
        found = hashlib.sha256(repr((self.num_classes, self.flips)).encode())
        for split in (self.train, self.validation, self.test):
            found.update(repr(split.images.shape).encode())
            found.update(np.ascontiguousarray(split.images).data)
            found.update(np.ascontiguousarray(split.labels).data)
        return found.hexdigest()
