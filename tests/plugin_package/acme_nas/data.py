"""A data set of coloured squares."""

import numpy as np

from mnas_search import Dataset, Split


def _split(count: int, seed: int) -> Split:
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    images = rng.integers(0, 120, (count, 8, 8, 3), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[2:6, 2:6, label] += 100
    return Split(images=images, labels=labels)


def squares() -> Dataset:
    """Make squares of three colours, which mirroring does not change."""
    return Dataset(
        name="acme squares",
        num_classes=3,
        train=_split(240, 0),
        validation=_split(90, 1),
        test=_split(90, 2),
        class_names=("red", "green", "blue"),
    )
