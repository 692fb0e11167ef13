"""Data sets as values: uint8 images in memory in three splits."""

import hashlib
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnas_search.common.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Split:
    """Images uint8 [N, H, W, 3] and their classes int64 [N].

    Split(images=np.zeros((10, 32, 32, 3), np.uint8), labels=np.arange(10))
    """

    images: NDArray[np.uint8]
    labels: NDArray[np.int64]

    def __post_init__(self) -> None:
        images, labels = np.asarray(self.images), np.asarray(self.labels)
        if images.dtype != np.uint8 or images.ndim != 4 or images.shape[-1] != 3:
            raise UsageError(
                f"images must be uint8 [N, H, W, 3], got {images.dtype} {list(images.shape)}"
            )
        if labels.shape != images.shape[:1] or labels.dtype.kind not in "iu" or not labels.size:
            raise UsageError(
                f"labels must be integers [N], one per image and at least one, got {labels.dtype} "
                f"{list(labels.shape)} for {len(images)} images"
            )
        object.__setattr__(self, "images", images)
        object.__setattr__(self, "labels", labels.astype(np.int64))

    def part(self, fraction: float) -> "Split":
        """Return a fraction of every class, at least one image of each, deterministically."""
        rank = np.empty(len(self.labels), np.int64)  # of an image within its class, at random
        size = np.bincount(self.labels)
        order = np.argsort(np.random.default_rng(0).random(len(self.labels)))
        for label in np.flatnonzero(size):
            members = order[self.labels[order] == label]
            rank[members] = np.arange(len(members))
        kept = rank < _kept(size, fraction)[self.labels]
        return Split(images=self.images[kept], labels=self.labels[kept])

    def share(self, fraction: float) -> float:
        """Return the share of the images that `part(fraction)` has; with many classes it is
        larger than the fraction."""
        size = np.bincount(self.labels)
        return float(np.minimum(size, _kept(size, fraction)).sum()) / len(self.labels)


@dataclass(frozen=True, slots=True, kw_only=True)
class Dataset:
    """An image classification task.

        Dataset(name="toy", num_classes=2, train=train, validation=validation, test=test)

    Attributes:
        name: of the data set.
        num_classes: number of classes.
        train: split that candidates are trained on.
        validation: split that the search measures accuracy on.
        test: split that no search uses.
        flips: whether mirroring an image keeps its class.
        class_names: in the order of the labels; empty if unknown.
        notes: sentences on peculiarities of the data that affect results.

    Raises:
        UsageError: a label is outside [0, num_classes), or a field has the wrong type.
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
                raise UsageError(f"{name} must be a tuple of strings, got {texts!r}")
        if len(self.class_names) not in (0, self.num_classes):
            raise UsageError(
                f"class_names must have one name for each of {self.num_classes} classes, or none, "
                f"got {len(self.class_names)}"
            )
        for name in ("train", "validation", "test"):
            split = getattr(self, name)
            if not isinstance(split, Split):
                raise UsageError(f"{name} must be a Split, got {type(split).__name__}")
            low, high = int(split.labels.min()), int(split.labels.max())
            if low < 0 or high >= self.num_classes:
                last = self.num_classes - 1
                raise UsageError(f"labels of {name} must be from 0 to {last}, got {low} to {high}")

    @property
    def sha256(self) -> str:
        """SHA-256 of images, labels and splits: everything that affects a training."""
        found = hashlib.sha256(repr((self.num_classes, self.flips)).encode())
        for split in (self.train, self.validation, self.test):
            found.update(repr(split.images.shape).encode())
            found.update(np.ascontiguousarray(split.images).data)
            found.update(np.ascontiguousarray(split.labels).data)
        return found.hexdigest()


def _kept(size: NDArray[np.int64], fraction: float) -> NDArray[np.float64]:
    """Return how many images of each class are in a fraction of a split."""
    return np.maximum(1, np.round(fraction * size))
