"""Recipes, splits and the loop."""

import numpy as np
import pytest
import torch

from mnas_search.common.errors import UsageError
from mnas_search.data import Split, digits
from mnas_search.training import loop
from mnas_search.training.recipe import PROXY, Recipe


def small_network():
    return torch.nn.Sequential(
        torch.nn.Conv2d(3, 8, 3),
        torch.nn.Dropout(0.2),
        torch.nn.Flatten(),
        torch.nn.LazyLinear(10),
    )


def prepared(split):
    return loop.Images(split, resolution=8, normalisation=loop.normalisation(split), flips=False)


def test_a_restored_training_ends_with_the_same_weights():
    data = prepared(digits().train.part(0.2))

    def training():
        torch.manual_seed(0)
        network = small_network()
        network(data.normalise(data.batch(slice(0, 2))))
        return loop.Training(network, data, Recipe(epochs=3), seed=1)

    whole = training()
    losses = [whole.train_epoch() for _ in range(3)]
    assert whole.finished and losses[2] < losses[0]

    first = training()
    first.train_epoch()
    second = training()
    torch.manual_seed(99)
    second.restore(first.state())
    assert [second.train_epoch(), second.train_epoch()] == losses[1:]
    for one, two in zip(whole.network.parameters(), second.network.parameters(), strict=True):
        assert torch.equal(one, two)


def test_normalisation_is_the_split_s_own():
    split = digits().train
    found = loop.normalisation(split)
    scaled = split.images.reshape(-1, 3) / 255
    assert np.allclose(found.mean, scaled.mean(0))
    assert np.allclose(found.std, scaled.std(0))


def test_a_part_of_a_split_is_stratified_and_the_same_each_time():
    labels = np.repeat([0, 1, 2], [100, 10, 1])
    images = np.arange(111, dtype=np.uint8)[:, None, None, None].repeat(3, axis=3)
    split = Split(images=images, labels=labels)
    part = split.part(0.2)
    assert np.bincount(part.labels).tolist() == [20, 2, 1]
    assert np.array_equal(part.images, split.part(0.2).images)
    assert len(split.part(1.0).labels) == 111


def test_proxies_as_text():
    changed = PROXY.override("epochs=7, width=0.5")
    assert (changed.training.epochs, changed.width, changed.resolution) == (7, 0.5, 8)
    assert PROXY.override(changed.text) == changed
    for wrong in ("epochs=0", "fraction=1.5", "banana=3", "width", "epochs=1.5"):
        with pytest.raises(UsageError, match=r"^(proxy|training) .*must be .*, got "):
            PROXY.override(wrong)
