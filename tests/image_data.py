"""Data sets of images, and how wrong ones are refused."""

import pytest
from PIL import Image

from mnas_search.common.errors import UsageError
from mnas_search.data import load


def refused(data, message):
    with pytest.raises(UsageError) as raised:
        load(str(data), side=4)
    text = str(raised.value)
    assert message in text, text
    assert "\n" not in text
    return text


def rows(datasets, sizes, **more):
    images = [
        Image.new("RGB", (6, 4), (50 * k, n, 0)) for k, s in enumerate(sizes) for n in range(s)
    ]
    labels = [k for k, size in enumerate(sizes) for _ in range(size)]
    names = [f"class {k}" for k in range(len(sizes))]
    features = {"picture": datasets.Image(), "kind": datasets.ClassLabel(names=names)}
    columns = {"picture": images, "kind": labels}
    for name, (feature, value) in more.items():
        features[name], columns[name] = feature, [value] * len(labels)
    return datasets.Dataset.from_dict(columns, features=datasets.Features(features))
