"""The training of a supernet, its readings, and networks that start from their slices."""

import signal
import subprocess
import sys
from collections import Counter
from dataclasses import replace

import numpy as np
import pytest
import torch
from listed_spaces import Listed, stage
from strategies import SPACES

from mnas_search.architecture.adaptation import adapt
from mnas_search.architecture.cost.count import cost
from mnas_search.benchmarks.fidelity.macro.space import NasBenchMacro
from mnas_search.common.errors import UsageError
from mnas_search.data import digits
from mnas_search.data.splits import assign_folds
from mnas_search.nas.space.choices import decode
from mnas_search.nas.space.contract import first_network
from mnas_search.networks import build
from mnas_search.testing.toy import ToySpace
from mnas_search.training import loop
from mnas_search.training.supernet import (
    SupernetRecipe,
    inherit,
    make_supernet,
    read_supernet,
    reading_images,
    statistics_images,
    train_supernet,
)
from mnas_search.training.supernet.inheritance import estimate_statistics
from mnas_search.training.supernet.making import trained_images
from mnas_search.training.supernet.paths import Paths

SPACE = ToySpace()
RECIPE = SupernetRecipe(steps=6, batch_size=16, folds=4)


@pytest.fixture(scope="module")
def data():
    return digits()


def network(*code):
    return SPACE.decode(decode(SPACE.decisions, code))


def test_training_teaches_every_network(data):
    """Networks that are drawn rarely, or never, learn with the others."""
    recipe = replace(RECIPE, steps=60, batch_size=64, width=1.0)
    images, labels = reading_images(data, recipe)
    networks = [network(*code) for code in ([0] * 6, [2, 1] * 3, [1, 0, 2, 1, 0, 0])]
    new = read_supernet(make_supernet(SPACE, data, recipe, seed=0), networks, images, labels)
    trained = train_supernet(SPACE, data, recipe, seed=0)
    for before, after in zip(new, read_supernet(trained, networks, images, labels), strict=True):
        assert before.cross_entropy == pytest.approx(np.log(10), rel=0.2)
        assert after.cross_entropy < 0.8 * before.cross_entropy
        assert after.accuracy > before.accuracy + 0.1


def weights(supernet):
    return {name: tensor.clone() for name, tensor in supernet.state_dict().items()}


def assert_same(one, two):
    assert one.keys() == two.keys()
    assert all(torch.equal(one[name], two[name]) for name in one)


def test_the_seed_determines_the_weights(data):
    first, same, other = (
        weights(train_supernet(SPACE, data, RECIPE, seed=seed)) for seed in (1, 1, 2)
    )
    assert_same(first, same)
    assert any(not torch.equal(first[name], other[name]) for name in first)


KILLED = """
import os, signal
from pathlib import Path
from mnas_search.data import digits
from mnas_search.testing.toy import ToySpace
from mnas_search.training.supernet import SupernetRecipe, train_supernet

def kill(step, steps):
    if step == 5:
        os.kill(os.getpid(), signal.SIGKILL)

recipe = SupernetRecipe(steps=6, batch_size=16, folds=4)
how = {"checkpoint": Path("supernet.pt"), "every": 2, "progress": kill}
train_supernet(ToySpace(), digits(), recipe, seed=1, **how)
"""


def test_a_killed_training_ends_with_the_same_weights(data, tmp_path):
    whole = weights(train_supernet(SPACE, data, RECIPE, seed=1))
    killed = subprocess.run([sys.executable, "-c", KILLED], cwd=tmp_path, check=False)
    assert killed.returncode == -signal.SIGKILL
    steps = []
    how = {"seed": 1, "checkpoint": tmp_path / "supernet.pt", "every": 2}
    resumed = train_supernet(SPACE, data, RECIPE, progress=lambda s, _: steps.append(s), **how)
    assert steps == [4, 5, 6]
    assert_same(whole, weights(resumed))
    steps.clear()
    finished = train_supernet(SPACE, data, RECIPE, progress=lambda s, _: steps.append(s), **how)
    assert steps == [6]
    assert_same(whole, weights(finished))


def test_a_checkpoint_of_another_training_is_refused(data, tmp_path):
    checkpoint = tmp_path / "supernet.pt"
    train_supernet(SPACE, data, replace(RECIPE, steps=1), seed=1, checkpoint=checkpoint)
    before = checkpoint.read_bytes()
    for recipe, seed in ((RECIPE, 1), (replace(RECIPE, steps=1), 2)):
        with pytest.raises(UsageError, match="checkpoint must be of the same training"):
            train_supernet(SPACE, data, recipe, seed=seed, checkpoint=checkpoint)
    assert checkpoint.read_bytes() == before


@pytest.mark.parametrize("content", [b"", b"mine", None])
def test_a_damaged_checkpoint_is_refused_and_kept(data, tmp_path, content):
    checkpoint, recipe = tmp_path / "supernet.pt", replace(RECIPE, steps=1)
    train_supernet(SPACE, data, recipe, seed=1, checkpoint=checkpoint)
    if content is None:
        content = bytearray(checkpoint.read_bytes())
        content[len(content) // 2] ^= 1
    checkpoint.write_bytes(content)
    with pytest.raises(UsageError, match="is damaged"):
        train_supernet(SPACE, data, recipe, seed=1, checkpoint=checkpoint)
    assert checkpoint.read_bytes() == content


def test_one_fold_is_left_out_for_the_readings(data):
    split = data.train
    fold = assign_folds(split.labels, 4)
    assert (fold == assign_folds(split.labels, 4)).all()
    for label in range(10):
        sizes = np.bincount(fold[split.labels == label], minlength=4)
        assert sizes.max() - sizes.min() <= 1
    trained, read = [], []
    for number in range(4):
        recipe = replace(RECIPE, fold=number, reading_images=10_000)
        images = trained_images(data, recipe)
        trained.append(images.normalise(images.batch(slice(None))))
        read.append(reading_images(data, recipe)[0])
        assert len(trained[-1]) + len(read[-1]) == len(split.labels)
    everything = torch.cat(read).flatten(1).unique(dim=0)
    for own, left_out in zip(trained, read, strict=True):
        assert torch.equal(torch.cat([own, left_out]).flatten(1).unique(dim=0), everything)
    assert len(reading_images(data, replace(RECIPE, reading_images=20))[0]) == 20


def test_batches_of_sorted_data_have_all_classes(data):
    """Else their statistics would be those of a few classes."""
    order = np.argsort(data.train.labels, kind="stable")
    split = replace(data.train, images=data.train.images[order], labels=data.train.labels[order])
    ordered = replace(data, train=split)
    _, labels = reading_images(ordered, RECIPE)
    assert {*labels[:80].tolist()} == {*labels[-80:].tolist()} == set(range(10))
    found = statistics_images(ordered, RECIPE).mean((1, 2, 3)).numpy()
    given = split.images.mean((1, 2, 3))
    assert np.corrcoef(np.sort(found), np.sort(given))[0, 1] > 0.999  # the same images
    assert abs(np.corrcoef(found, given)[0, 1]) < 0.2


def test_random_paths_use_every_option_equally_often():
    space = NasBenchMacro()
    paths = Paths(space, seed=0)
    networks = [paths.random(number) for number in range(60)]
    for place in range(8):
        kernels = Counter(network.stages[place].kernel for network in networks)
        assert kernels == {1: 20, 3: 20, 5: 20}
    assert len({network.fingerprint for network in networks}) > 50
    assert networks[7:9] == [Paths(space, seed=0).random(number) for number in (7, 8)]
    assert networks[7:9] != [Paths(space, seed=1).random(number) for number in (7, 8)]


def test_random_paths_are_drawn_again_until_one_is_allowed():
    space = NasBenchMacro()
    bound = 60e6
    free = [Paths(space, seed=0).random(number) for number in range(40)]
    paths = Paths(space, seed=0, allows=lambda network: cost(network).macs <= bound)
    bounded = [paths.random(number) for number in range(40)]
    assert sum(cost(network).macs > bound for network in free) > 5
    assert max(cost(network).macs for network in bounded) <= bound
    assert [n for n in free if cost(n).macs <= bound] == [
        b for f, b in zip(free, bounded, strict=True) if cost(f).macs <= bound
    ]
    with pytest.raises(UsageError, match="none was allowed in 1,000 draws"):
        Paths(space, seed=0, allows=lambda network: False).random(0)


def test_the_largest_networks_are_those_of_each_kind_with_layers():
    paths = Paths(NasBenchMacro(), seed=0)
    assert {s.kernel for s in paths.largest(0).stages} == {5}
    assert paths.largest(0) == paths.largest(1)
    assert {s.kind for s in paths.smallest.stages} == {"id"}
    paths = Paths(SPACES["mnasnet"], seed=0)
    kinds = [{s.kind for s in paths.largest(step).stages} for step in range(4)]
    assert kinds == [{"cn"}, {"ds"}, {"ir"}, {"cn"}]
    for step in range(3):
        assert {s.kernel for s in paths.largest(step).stages} == {5}
    assert [s.repeats for s in paths.largest(0).stages] == [2, 3, 4, 5, 4, 4, 2]
    assert {s.repeats for s in paths.smallest.stages} <= {1, 2, 3}
    smallest = cost(paths.smallest).macs
    assert all(smallest < cost(paths.random(number)).macs for number in range(20))


def test_a_kind_that_is_not_everywhere_has_the_largest_of_the_others():
    small, large = stage("ds", 3, 1, 8), stage("ir", 5, 6, 16)
    space = Listed((small, large), (stage("cn", 3, 1, 8), stage("cn", 5, 1, 16)))
    paths = Paths(space, seed=0)
    kinds = [tuple(s.kind for s in paths.largest(step).stages) for step in range(3)]
    assert kinds == [("ir", "cn"), ("ds", "cn"), ("ir", "cn")]
    assert all(paths.largest(step).stages[1].kernel == 5 for step in range(3))


def test_what_no_network_of_the_steps_uses_stays_unchanged(data):
    """Neither decay nor momentum moves it; norms that are used are not decayed."""
    one = stage("ir", 3, 3, 16)
    space = Listed((one, replace(one, kernel=5), replace(one, expansion=6)), (one,))
    recipe = replace(RECIPE, steps=1, weight_decay=1e3, learning_rate=1e-6)
    before = weights(make_supernet(space, data, recipe, seed=0))
    after = weights(train_supernet(space, data, recipe, seed=0))
    moved = {name for name in before if not torch.equal(before[name], after[name])}
    assert any("/conv_dw/" in name for name in moved)
    norms = [name for name in before if "/bn" in name and name.endswith("/weight")]
    assert norms
    for name in norms:
        assert torch.allclose(before[name], after[name], atol=1e-4)
    others = {name for name in before if "blocks/0" in name and "/bn" in name} - moved
    assert any(torch.equal(before[name], after[name]) for name in others)


def test_networks_start_from_their_slices(data):
    recipe = replace(RECIPE, steps=30, batch_size=64, width=1.0)
    supernet = train_supernet(SPACE, data, recipe, seed=0)
    images, labels = reading_images(data, recipe)
    chosen = network(2, 1, 1, 0, 2, 1)
    (reading,) = read_supernet(supernet, [chosen], images, labels)
    assert len(statistics_images(data, recipe)) == len(data.train.labels)
    started = build(supernet.network_of(chosen))
    started.load_state_dict(inherit(supernet, chosen, images))
    with torch.no_grad():
        logits = started.eval()(images)
    found = float(torch.nn.functional.cross_entropy(logits, labels))
    assert found == pytest.approx(reading.cross_entropy, abs=1e-4)
    fitted = replace(chosen, num_classes=10)
    build(fitted).load_state_dict(inherit(supernet, chosen, statistics_images(data, recipe)))
    started.load_state_dict(supernet.slice(chosen))
    with torch.no_grad():
        logits = started.eval()(images)
    assert float(torch.nn.functional.cross_entropy(logits, labels)) > found + 0.1


def test_statistics_are_those_of_all_batches():
    torch.manual_seed(0)
    layers = torch.nn.Sequential(torch.nn.BatchNorm2d(3), torch.nn.Conv2d(3, 4, 1))
    images = torch.randn(1030, 3, 2, 2) * torch.tensor([1.0, 2.0, 3.0])[:, None, None] + 5
    estimate_statistics(layers, images)
    norm = layers[0]
    assert torch.allclose(norm.running_mean, images.mean((0, 2, 3)), rtol=1e-5)
    assert torch.allclose(norm.running_var, images.var((0, 2, 3), correction=0), rtol=1e-5)
    assert not any(module.training for module in layers.modules())


def test_options_that_become_one_network_are_refused(data):
    with pytest.raises(UsageError, match=r"width must keep the options of s0\.width apart"):
        make_supernet(SPACE, data, replace(RECIPE, divisor=8), seed=0)


def test_the_networks_are_the_narrow_ones_of_small_images(data):
    space = SPACES["efficientnet"]
    first = first_network(space)
    small = make_supernet(space, data, RECIPE, seed=0).network_of(first)
    assert (small.resolution, small.num_classes, small.stem.channels) == (8, 10, 8)
    assert (small.dropout_rate, small.stochastic_depth_rate) == (0, 0)
    larger = replace(RECIPE, resolution=32, width=0.5)
    deployed = make_supernet(space, data, larger, seed=0).network_of(first)
    strides = [s.stride for s in adapt(first, 32).stages]
    assert [s.stride for s in deployed.stages] == strides
    assert strides != [s.stride for s in first.stages]


def test_recipes_read_what_they_write():
    recipe = SupernetRecipe().override(" steps=7, width=0.5,fold=1 ")
    assert (recipe.steps, recipe.width, recipe.fold) == (7, 0.5, 1)
    assert SupernetRecipe().override(recipe.text) == recipe
    assert SupernetRecipe().override(None) == SupernetRecipe()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("step=7", "supernet must be NAME=NUMBER,... with NAME of steps, width"),
        ("steps=x", "got 'steps=x'"),
        ("steps=0", "supernet steps must be a whole number of 1 or more, got 0"),
        ("fold=8", "supernet fold must be a whole number from 0 to 7, got 8"),
        ("width=0", "supernet width must be a number in"),
    ],
)
def test_wrong_recipes_are_refused_in_one_line(text, message):
    with pytest.raises(UsageError) as caught:
        SupernetRecipe().override(text)
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_images_of_the_recipe_s_resolution(data):
    images, _ = reading_images(data, replace(RECIPE, resolution=12))
    assert images.shape[1:] == (3, 12, 12)
    assert loop.normalisation(data.train).mean[0] > 0
