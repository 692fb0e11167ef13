"""Recipes: averages, schedules, optimisers, augmentations, and that all of them train."""

import torch
from torch import nn

from mnas_search.training import loop
from mnas_search.training.data import digits
from mnas_search.training.recipe import Recipe


def small_network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 3, stride=2),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.Dropout(0.2),
        nn.Flatten(),
        nn.Linear(72, 10),
    )


def prepared(split, resolution=8):
    return loop.Images(
        split, resolution=resolution, normalisation=loop.normalisation(split), flips=False
    )


# -- the moving average ----------------------------------------------------------------------


def test_the_average_is_the_recurrence_and_includes_batch_norms_statistics():
    """One step an epoch, so that every value of the recurrence can be written down."""
    data = prepared(digits().train.part(0.05))
    recipe = Recipe(epochs=12, batch_size=len(data), ema_decay=0.5)
    training = loop.Training(small_network(), data, recipe, seed=0)
    expected = {k: v.clone().double() for k, v in training.network.state_dict().items()}
    for step in range(1, 13):
        training.train_epoch()
        kept = min(0.5, (1 + step) / (10 + step))  # 2/11, 3/12, ... 9/18, then 0.5
        for name, value in training.network.state_dict().items():
            expected[name] = kept * expected[name] + (1 - kept) * value.double()
    found = training.evaluated.state_dict()
    assert found["1.num_batches_tracked"] == 12
    for name in expected.keys() - {"1.num_batches_tracked"}:
        torch.testing.assert_close(found[name].double(), expected[name], rtol=1e-5, atol=1e-6)
        assert not torch.equal(found[name], training.network.state_dict()[name])


def test_without_an_average_the_network_is_evaluated():
    training = loop.Training(
        small_network(), prepared(digits().train.part(0.05)), Recipe(), seed=0
    )
    assert training.evaluated is training.network
