"""Data sets as values: uint8 images in memory, with deterministic, stratified splits."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnas_search.errors import UsageError


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
    """

    name: str
    num_classes: int
    train: Split
    validation: Split
    test: Split
    flips: bool = True

    def __post_init__(self) -> None:
        for name in ("train", "validation", "test"):
            split = getattr(self, name)
            if not isinstance(split, Split):
                raise UsageError(f"{name} is {type(split).__name__}; allowed: a Split")
            low, high = int(split.labels.min()), int(split.labels.max())
            if low < 0 or high >= self.num_classes:
                raise UsageError(
                    f"{name} has labels from {low} to {high}; allowed: 0 to {self.num_classes - 1}"
                )


def digits() -> Dataset:
    """scikit-learn's digits: 1,797 grey 8x8 images of handwritten digits, 10 classes.

    60 % are for training, 20 % for validation, 20 % for the test, stratified by class. From UCI's
    "Optical Recognition of Handwritten Digits", shipped inside scikit-learn.
    """
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    source = load_digits()
    grey = np.round(source.images * (255 / 16)).astype(np.uint8)
    images = np.repeat(grey[..., None], 3, axis=-1)
    labels = source.target.astype(np.int64)
    rest, test = train_test_split(
        np.arange(len(labels)), test_size=0.2, stratify=labels, random_state=0
    )
    train, validation = train_test_split(
        rest, test_size=0.25, stratify=labels[rest], random_state=0
    )

    def split(index: NDArray[np.int64]) -> Split:
        return Split(images=images[index], labels=labels[index])

    return Dataset(
        name="digits",
        num_classes=10,
        train=split(train),
        validation=split(validation),
        test=split(test),
        flips=False,
    )
