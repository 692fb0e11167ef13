"""The embedded data set: scikit-learn's digits."""

import numpy as np
from numpy.typing import NDArray

from mnas_search.data.values import Dataset, Split


def digits() -> Dataset:
    """Load scikit-learn's digits: 1,797 grey 8x8 images of handwritten digits, 10 classes.

    60 % are for training, 20 % for validation and 20 % for test, stratified by class. Source: UCI,
    "Optical Recognition of Handwritten Digits", included in scikit-learn.
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
