"""Your own data: three classes of coloured squares.

    mnas-search run --target-flops 400M --trials 10 --data examples/my_data.py:dataset

`proxy_training` resizes every image to the proxy's 8x8 pixels, trains on `train` and
measures on `validation`; `test` is never seen by a search.
"""

import numpy as np

from mnas_search import Dataset, Split


def split(count, seed):
    """Return images uint8 [N, H, W, 3] and labels int64 [N]."""
    rng = np.random.default_rng(seed)
    labels = rng.integers(0, 3, count)
    images = rng.integers(0, 160, (count, 12, 12, 3), dtype=np.uint8)
    for image, label in zip(images, labels, strict=True):
        image[3:9, 3:9, label] += 60
    return Split(images=images, labels=labels)


def dataset():
    """Return the data set; `flips` since a mirrored square is a square."""
    return Dataset(
        name="squares",
        num_classes=3,
        train=split(300, 0),
        validation=split(100, 1),
        test=split(100, 2),
        flips=True,
    )
