"""Recipes: averages, schedules, optimisers, augmentations, and that all of them train."""

import io
import math
import re
from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image, ImageEnhance, ImageOps
from scipy.ndimage import binary_dilation, binary_erosion
from torch import nn

from mnas_search.architecture.published import architecture
from mnas_search.architecture.stage import Stem
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import UsageError
from mnas_search.data import digits
from mnas_search.networks import build
from mnas_search.training import loop
from mnas_search.training.augment import image_operations as ops
from mnas_search.training.augment import mixup
from mnas_search.training.augment.auto_augment import IMAGENET_POLICY, AutoAugment, RandAugment
from mnas_search.training.augment.pipeline import Cutout, Flip, RandomResizedCrop, Shift
from mnas_search.training.optimisers import AdamW, Sgd, TensorFlowRmsProp
from mnas_search.training.recipe import PROXY, Recipe
from mnas_search.training.recipes import EFFICIENTNET, FINETUNE, RECIPES, SCRATCH, recipe_named
from mnas_search.training.schedules import Cosine, ExponentialDecay, Triangular

STRENGTHS = [0.1, 0.5, 0.82, 1.0, 1.36, 1.9]
SHARES = st.floats(0.01, 0.9)


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
    # (A bias before batch norm has no gradient, and may never move.)
    for name in ("0.weight", "1.running_mean", "1.running_var"):
        assert not torch.equal(found[name], training.network.state_dict()[name])


def test_without_an_average_the_network_is_evaluated():
    training = loop.Training(
        small_network(), prepared(digits().train.part(0.05)), Recipe(), seed=0
    )
    assert training.evaluated is training.network


# -- schedules -------------------------------------------------------------------------------


def test_the_staircase_is_the_papers():
    """350 epochs of 5 steps: 5 epochs up to 1, then 0.97 every 2.4 epochs from the first step."""
    factors = [ExponentialDecay()(step, steps=1750, epochs=350) for step in range(1750)]
    assert factors[:25] == [step / 25 for step in range(25)]
    # 2.4 epochs are 12 steps: whole numbers, where the formula's 2.4 is none in binary.
    assert factors[25:] == [0.97 ** (step // 12) for step in range(25, 1750)]
    assert factors[25] == 0.97**2 and factors[-1] == 0.97**145
    # 5 of 61 epochs of 3 steps are 15, though 5 / 61 * 183 is less in binary.
    assert ExponentialDecay()(14, steps=183, epochs=61) == 14 / 15


@given(epochs=st.integers(50, 1000), per_epoch=st.integers(1, 700), at=st.floats(0.1, 0.999))
def test_the_staircase_has_as_many_stairs_at_any_length(epochs, per_epoch, at):
    steps = epochs * per_epoch
    step = math.ceil(at * steps)
    stairs = Fraction(step, steps) * 350 / Fraction("2.4")
    assert ExponentialDecay()(step, steps=steps, epochs=epochs) == 0.97 ** math.floor(stairs)


@given(epochs=st.integers(1, 50), tens=st.integers(1, 50))
def test_the_warm_up_is_at_most_a_tenth(epochs, tens):
    """A tenth of each of these trainings is a whole number of steps."""
    steps = 10 * tens * epochs
    factors = [
        ExponentialDecay()(step, steps=steps, epochs=epochs) for step in range(steps // 10 + 1)
    ]
    assert factors[:-1] == [step / (tens * epochs) for step in range(tens * epochs)]
    assert factors[-1] == 0.97**14  # 0.1 * 350 / 2.4 = 14.6


def test_the_cosines_closed_form():
    """100 steps, of which 20 are the warm-up; 0.5, 10.5, ... are their middles."""
    factors = [Cosine(warmup=0.2)(step, steps=100, epochs=7) for step in range(100)]
    assert factors[0] == pytest.approx(0.5 / 20) and factors[19] == pytest.approx(19.5 / 20)
    assert factors[20] == pytest.approx((1 + math.cos(math.pi * 0.5 / 80)) / 2)
    assert factors[59] + factors[60] == pytest.approx(1)  # about the middle of the fall
    assert factors[99] == pytest.approx((1 - math.cos(math.pi * 0.5 / 80)) / 2)


@given(
    step=st.integers(0, 199), steps=st.integers(200, 2000), half=st.integers(0, 20), warm=SHARES
)
def test_the_cosine_is_independent_of_the_length(step, steps, half, warm):
    """The middle of a step is that of the middle one of the odd number of steps it is cut into."""
    schedule, times = Cosine(warmup=warm), 2 * half + 1
    longer = schedule(step * times + half, steps=steps * times, epochs=3 * times)
    assert schedule(step, steps=steps, epochs=3) == pytest.approx(longer, abs=1e-9)


@given(steps=st.integers(1, 300), epochs=st.integers(1, 20))
def test_no_schedule_leaves_its_range(steps, epochs):
    for schedule in (Triangular(), Cosine(), ExponentialDecay()):
        factors = [schedule(step, steps=steps, epochs=epochs) for step in range(steps)]
        assert all(0 <= factor <= 1 for factor in factors) and max(factors) > 0


# -- optimisers ------------------------------------------------------------------------------


def test_rmsprop_is_tensorflows():
    """Constant gradient 0.5; computed with TensorFlow's formula elsewhere. torch's own RMSProp
    gives 0.68576 after the first step."""
    parameter = nn.Parameter(torch.ones(1))
    optimiser = TensorFlowRmsProp([parameter], lr=0.1, decay=0.9, momentum=0.9, epsilon=1e-3)
    for expected in (0.948041, 0.847314, 0.700679):
        parameter.grad = torch.full((1,), 0.5)
        optimiser.step()
        assert parameter.item() == pytest.approx(expected, abs=1e-6)


def test_rmsprop_with_changing_rates_and_decay_against_numpy():
    """200 steps in float64, two groups, learning rates over two orders of magnitude."""
    rng = np.random.default_rng(0)
    decays = (0.05, 0.0)
    start = [rng.normal(size=shape) for shape in ((4, 3), (5,))]
    parameters = [nn.Parameter(torch.tensor(value)) for value in start]
    optimiser = TensorFlowRmsProp(
        [{"params": [p], "weight_decay": d} for p, d in zip(parameters, decays, strict=True)],
        lr=0,
        decay=0.8,
        momentum=0.7,
        epsilon=1e-3,
    )
    p = [value.copy() for value in start]
    v = [np.ones_like(value) for value in start]
    m = [np.zeros_like(value) for value in start]
    for _ in range(200):
        rate = 10 ** rng.uniform(-4, -2)
        for group in optimiser.param_groups:
            group["lr"] = rate
        given = []
        for i, parameter in enumerate(parameters):
            gradient = rng.normal(size=p[i].shape)
            parameter.grad = torch.tensor(gradient)
            given.append(parameter.grad.clone())
            whole = gradient + decays[i] * p[i]
            v[i] = v[i] + (1 - 0.8) * (whole**2 - v[i])
            m[i] = 0.7 * m[i] + rate * whole / np.sqrt(v[i] + 1e-3)
            p[i] = p[i] - m[i]
        optimiser.step()
        for i, parameter in enumerate(parameters):
            assert torch.equal(parameter.grad, given[i])  # gradients are left as they are
            np.testing.assert_allclose(parameter.detach().numpy(), p[i], rtol=1e-10)


def test_efficientnets_weight_decay_spares_batch_norm_alone():
    """B0 has 5,288,548 parameters; its 49 batch norms have 42,016 (half of what timm counts as
    statistics, which have 49 counters more: 42,065); the squeeze-and-excitation's and the
    classifier's biases are decayed."""
    network = build(architecture("efficientnet_b0"))
    made = EFFICIENTNET.optimiser.make(network, learning_rate=1.0, weight_decay=1e-5)
    names = {id(p): name for name, p in network.named_parameters()}
    groups = {
        group["weight_decay"]: {names[id(p)] for p in group["params"]}
        for group in made.param_groups
    }
    counts = {
        decay: sum(p.numel() for name, p in network.named_parameters() if name in found)
        for decay, found in groups.items()
    }
    assert counts == {1e-5: 5_288_548 - 42_016, 0.0: 42_016}
    assert len(groups[0.0]) == 2 * 49
    assert all(re.search(r"(^|\.)bn\d\.(weight|bias)$", name) for name in groups[0.0])
    biases = {name for name in groups[1e-5] if name.endswith("bias")}
    assert len(biases) == 2 * 16 + 1 and "classifier.bias" in biases


def test_the_other_optimisers_spare_tensors_of_one_dimension():
    network = small_network()
    for optimiser in (Sgd(), AdamW()):
        made = optimiser.make(network, learning_rate=1.0, weight_decay=0.3)
        decayed = [g["params"] for g in made.param_groups if g["weight_decay"] == 0.3]
        assert [id(p) for p in decayed[0]] == [id(network[0].weight), id(network[5].weight)]
        assert sum(len(g["params"]) for g in made.param_groups) == 6


def test_the_learning_rate_follows_the_batch_and_what_is_given_is_the_peak():
    assert EFFICIENTNET.peak(4096) == 0.256 and EFFICIENTNET.peak(256) == 0.016
    data = prepared(digits().train.part(0.1))  # fewer than a batch of 256
    network = small_network()
    used = loop.Training(network, data, EFFICIENTNET, seed=0)
    assert network[1].momentum == used.evaluated[1].momentum == 0.01
    assert used.state()["optimiser"]["param_groups"][0]["lr"] == 0.256 * len(data) / 4096
    assert EFFICIENTNET.override(batch_size=64).peak(64) == pytest.approx(0.004)
    assert EFFICIENTNET.override(batch_size=64, learning_rate=0.5).peak(64) == 0.5
    assert EFFICIENTNET.override(epochs=7) == replace(EFFICIENTNET, epochs=7)
    assert recipe_named("proxy").peak(64) == recipe_named("proxy").peak(32) == 0.1


def test_wrong_recipes_say_what_is_allowed():
    with pytest.raises(
        UsageError, match="recipe must be proxy, finetune, scratch or efficientnet, got 'banana'"
    ):
        recipe_named("banana")
    wrong = [
        {"epochs": 0},
        {"epochs": 1.5},
        {"batch_size": -3},
        {"reference_batch": 0},
        {"learning_rate": 0.0},
        {"learning_rate": float("nan")},
        {"learning_rate": float("inf")},
        {"weight_decay": -1.0},
        {"mixup": -0.1},
        {"label_smoothing": 1.0},
        {"ema_decay": 1.0},
        {"bn_momentum": -0.1},
    ]
    for values in wrong:
        (name,) = values
        with pytest.raises(UsageError, match=rf"^training {name} must be .*, got "):
            Recipe(**values)


# -- image operations, against Pillow's of 8-bit images -----------------------------------------

SIDE = 48


def photographs(count=6, height=SIDE, width=SIDE):
    """Smooth colour, noise on it, and ones with few levels; uint8 [N, H, W, 3]."""
    rng = np.random.default_rng(3)
    y, x = np.mgrid[:height, :width] / max(height, width)
    images = []
    for index in range(count):
        phase = rng.uniform(0, 6, 3)
        waves = [np.sin(5 * x + phase[c]) + np.cos(4 * y * x + phase[c]) for c in range(3)]
        image = 128 + 40 * np.stack(waves, 2) + 8 * (index % 3) * rng.normal(size=(*x.shape, 3))
        images.append(image // 40 * 40 if index == 1 else image)
    return np.clip(np.round(images), 0, 255).astype(np.uint8)


def as_batch(images):
    return torch.tensor(images).permute(0, 3, 1, 2).float() / 255


def levels(batch):
    return (batch * 255).permute(0, 2, 3, 1).numpy()


def enhanced(enhancer):
    return lambda image, factor: enhancer(image).enhance(factor)


def affine(matrix_of):
    def moved(image, argument):
        return image.transform(
            image.size,
            Image.Transform.AFFINE,
            matrix_of(argument),
            Image.Resampling.BILINEAR,
            fillcolor=(128, 128, 128),
        )

    return moved


# Operation, arguments for six images, Pillow's, most that a level may differ. Pillow rounds after
# each part of a blend, ours does not: one or two levels.
COLOURS = {
    "invert": (ops.invert, [0] * 6, lambda i, _: ImageOps.invert(i), 0.01),
    "posterize": (ops.posterize, [1, 2, 4, 5, 7, 8], lambda i, a: ImageOps.posterize(i, a), 0.01),
    "solarize": (
        ops.solarize,
        [0, 1, 100, 128, 255, 256],
        lambda i, a: ImageOps.solarize(i, a),
        0.01,
    ),
    "equalize": (ops.equalize, [0] * 6, lambda i, _: ImageOps.equalize(i), 0.01),
    "auto_contrast": (ops.auto_contrast, [0] * 6, lambda i, _: ImageOps.autocontrast(i), 1.01),
    "brightness": (ops.brightness, STRENGTHS, enhanced(ImageEnhance.Brightness), 1.01),
    "color": (ops.color, STRENGTHS, enhanced(ImageEnhance.Color), 2.01),
    "contrast": (ops.contrast, STRENGTHS, enhanced(ImageEnhance.Contrast), 2.01),
    "sharpness": (ops.sharpness, STRENGTHS, enhanced(ImageEnhance.Sharpness), 2.01),
}


@pytest.mark.parametrize("name", COLOURS)
def test_operations_on_colours_are_pillows(name):
    operation, arguments, pillows, tolerance = COLOURS[name]
    images = photographs()
    batch = as_batch(images)
    found = levels(operation(batch, torch.tensor(arguments, dtype=torch.float32)))
    for image, argument, own in zip(images, arguments, found, strict=True):
        expected = np.asarray(pillows(Image.fromarray(image), argument)).astype(float)
        assert np.abs(own - expected).max() <= tolerance, (name, argument)
    assert torch.equal(batch, as_batch(images))  # the argument is left as it is


GEOMETRY = {
    "shear_x": (ops.shear_x, [-0.3, 0.1, 0.3], affine(lambda a: (1, a, 0, 0, 1, 0))),
    "shear_y": (ops.shear_y, [-0.3, 0.1, 0.3], affine(lambda a: (1, 0, 0, a, 1, 0))),
    "translate_x": (ops.translate_x, [-0.4, 0.1, 0.25], affine(lambda a: (1, 0, 64 * a, 0, 1, 0))),
    "translate_y": (ops.translate_y, [-0.4, 0.1, 0.25], affine(lambda a: (1, 0, 0, 0, 1, 40 * a))),
    "rotate": (
        ops.rotate,
        [-27, 9, 30],
        lambda i, a: i.rotate(a, Image.Resampling.BILINEAR, fillcolor=(128, 128, 128)),
    ),
}


@pytest.mark.parametrize("name", GEOMETRY)
def test_operations_on_places_are_pillows(name):
    """Images wider than high. At the border of what is filled, where Pillow repeats the edge and
    ours runs into the grey, and there alone, they differ by more than Pillow's rounding."""
    operation, arguments, pillows = GEOMETRY[name]
    images = photographs(3, height=40, width=64)
    found = levels(operation(as_batch(images), torch.tensor(arguments, dtype=torch.float32)))
    for image, argument, own in zip(images, arguments, found, strict=True):
        expected = np.asarray(pillows(Image.fromarray(image), argument)).astype(float)
        far = np.abs(own - expected).max(2) > 1.6
        inside = (
            np.asarray(pillows(Image.new("RGB", (64, 40), (255, 0, 0)), argument))[..., 1] == 0
        )
        border = binary_dilation(inside, iterations=2) & ~binary_erosion(inside, iterations=2)
        assert not (far & ~border).any(), (name, argument, far.sum())
        assert 0.4 < inside.mean() < 1 and np.abs(own - image).max() > 20  # something moved


def test_colours_without_any_variation():
    flat = torch.full((2, 3, 8, 8), 0.25)
    for operation in (ops.equalize, ops.auto_contrast):
        torch.testing.assert_close(operation(flat, torch.zeros(2)), flat, atol=2e-3, rtol=0)


# -- augmentations ---------------------------------------------------------------------------

AUGMENTATIONS = (
    Shift(most=2),
    Flip(),
    RandomResizedCrop(),
    Cutout(share=0.4),
    AutoAugment(),
    RandAugment(operations=3, magnitude=0.9),
)


@pytest.mark.parametrize("augmentation", AUGMENTATIONS, ids=lambda a: type(a).__name__)
def test_augmentations_draw_for_each_image_from_their_generator(augmentation):
    one = as_batch(photographs(1, height=24, width=32))
    batch = one.repeat(64, 1, 1, 1)

    def augmented(seed):
        return augmentation(batch, torch.Generator().manual_seed(seed))

    found = augmented(1)
    assert found.shape == batch.shape and found.dtype == batch.dtype
    assert 0 <= found.min() and found.max() <= 1
    assert torch.equal(batch, one.repeat(64, 1, 1, 1))
    different = len({image.numpy().tobytes() for image in found})
    assert different >= (2 if isinstance(augmentation, Flip) else 12)
    torch.manual_seed(7)
    assert torch.equal(found, augmented(1))
    assert not torch.equal(found, augmented(2))


def test_a_random_resized_crop_shows_parts_of_the_right_size():
    """On a ramp the crop's size and place can be read off: values x in red and y in green."""
    height, width = 40, 60
    y, x = torch.meshgrid(torch.arange(height) + 0.5, torch.arange(width) + 0.5, indexing="ij")
    ramp = torch.stack([x / width, y / height, x * 0])[None].repeat(400, 1, 1, 1)
    crop = RandomResizedCrop(area=(0.1, 0.6), ratio=(0.5, 2.0))
    found = crop(ramp, torch.Generator().manual_seed(0))
    # The slope in the middle, away from the repeated edges.
    across = (found[:, 0, 20, 35] - found[:, 0, 20, 25]) / 10 * width  # shares of the width
    down = (found[:, 1, 25, 30] - found[:, 1, 15, 30]) / 10 * height
    area, ratio = across * down, across * width / (down * height)
    assert 0.099 < area.min() < 0.12 and 0.5 < area.max() < 0.601
    assert 0.499 < ratio.min() < 0.6 and 1.7 < ratio.max() < 2.01
    assert across.max() <= 1.001 and down.max() <= 1.001
    centres = found[:, 0, 20, 29:31].mean(1)
    assert (centres - across / 2 > -1e-3).all() and (centres + across / 2 < 1.001).all()
    assert centres.std() > 0.05


def test_cutout_is_a_grey_square():
    white = torch.ones(300, 3, 20, 30)
    found = Cutout(share=0.5)(white, torch.Generator().manual_seed(0))
    covered = (found == 0.5).all(1)
    assert torch.equal(
        found[~covered[:, None].expand_as(found)],
        white[0, 0, 0, 0].repeat(3 * int((~covered).sum())),
    )
    rows, columns = covered.any(2).sum(1), covered.any(1).sum(1)
    assert torch.equal(covered.sum((1, 2)), rows * columns)  # rectangles, cut at the edges
    assert rows.max() == columns.max() == 10 and rows.min() == columns.min() == 5


POLICY = """
posterize 0.4 8  rotate 0.6 9       | solarize 0.6 5  auto_contrast 0.6 5 | equalize 0.8 8  equalize 0.6 3
posterize 0.6 7  posterize 0.6 6    | equalize 0.4 7  solarize 0.2 4      | equalize 0.4 4  rotate 0.8 8
solarize 0.6 3   equalize 0.6 7     | posterize 0.8 5  equalize 1.0 2     | rotate 0.2 3  solarize 0.6 8
equalize 0.6 8   posterize 0.4 6    | rotate 0.8 8  color 0.4 0           | rotate 0.4 9  equalize 0.6 2
equalize 0.0 7   equalize 0.8 8     | invert 0.6 4  equalize 1.0 8        | color 0.6 4  contrast 1.0 8
rotate 0.8 8     color 1.0 2        | color 0.8 8  solarize 0.8 7         | sharpness 0.4 7  invert 0.6 8
shear_x 0.6 5    equalize 1.0 9     | color 0.4 0  equalize 0.6 3         | equalize 0.4 7  solarize 0.2 4
solarize 0.6 5   auto_contrast 0.6 5 | invert 0.6 4  equalize 1.0 8       | color 0.6 4  contrast 1.0 8
equalize 0.8 8   equalize 0.6 3
"""  # noqa: E501


def test_the_policy_is_the_papers():
    assert len(IMAGENET_POLICY) == 25
    for line, pair in zip(re.split(r"[|\n]", POLICY.strip()), IMAGENET_POLICY, strict=True):
        words = line.split()
        assert [words[0], words[3]] == [step.operation.__name__ for step in pair]
        assert [float(words[1]), float(words[4])] == [step.probability for step in pair]
        for step, level in zip(pair, (int(words[2]), int(words[5])), strict=True):
            expected = {
                "rotate": (0, 3 * level),
                "shear_x": (0, 0.03 * level),
                "posterize": (4 + 4 * level // 10, 0),
                "solarize": (256 * level // 10, 0),
                "color": (0.1 + 0.18 * level, 0),
                "contrast": (0.1 + 0.18 * level, 0),
                "sharpness": (0.1 + 0.18 * level, 0),
            }.get(step.operation.__name__, (0, 0))
            assert tuple(step.strength) == pytest.approx(expected)


def test_autoaugment_draws_each_image_its_sub_policy():
    """Of 4x4 pixels of level 103 = 0b1100111 the middle shows what was done: invert gives 152,
    7 bits 102, 6 bits 100, solarize 152 from level 4 (102) downwards; all else changes nothing.
    20,000 images against the odds."""
    images = torch.full((20_000, 3, 4, 4), 103 / 255)
    found = AutoAugment()(images, torch.Generator().manual_seed(0))
    middle = (found[:, 0, 1:3, 1:3].mean((1, 2)) * 255).round().long()
    expected = {
        152: (2 * 0.2 + 0.6 + 2 * 0.6 + 0.6) / 25,  # solarize twice at 4, once at 3; invert
        102: 0.4 / 25,
        100: (1 - 0.4 * 0.4 + 0.8 + 0.4) / 25,
    }
    expected[103] = 1 - sum(expected.values())
    assert set(middle.tolist()) == expected.keys()
    for value, odds in expected.items():
        share = float((middle == value).float().mean())
        assert share == pytest.approx(odds, abs=4 * math.sqrt(odds / 20_000)), value


def test_signs_of_randaugment_go_both_ways_and_magnitude_0_changes_nothing():
    still = RandAugment(operations=4, magnitude=0.0)
    # equalize and auto_contrast have no strength: left out by images on which they do nothing.
    calm = torch.full((64, 3, 4, 4), 128 / 255)
    calm[:, :, 0, 0], calm[:, :, 0, 1] = 0, 1
    torch.testing.assert_close(still(calm, torch.Generator().manual_seed(0)), calm)
    half = torch.full((4_000, 3, 4, 4), 0.5)
    half[:, 0] = 0.25
    once = RandAugment(operations=1, magnitude=0.5)(half, torch.Generator().manual_seed(0))
    middle = once[:, 1, 1:3, 1:3].mean((1, 2))
    brighter, darker = ((middle - 0.5 > 0.1), (middle - 0.5 < -0.1))
    for share in (brighter.float().mean(), darker.float().mean()):
        assert share == pytest.approx(1 / 28, abs=0.012)  # brightness, one sign of two


# -- mixup -----------------------------------------------------------------------------------


def test_mixup_by_hand():
    weights = torch.tensor([0.75, 0.5, 1.0, 0.6])
    images = torch.tensor([1.0, 2.0, 3.0, 4.0])[:, None, None].expand(4, 3, 2)
    mixed = mixup.mix(images, weights)[:, 0, 0]
    torch.testing.assert_close(mixed, torch.tensor([1.75, 2.5, 3.0, 2.8]))
    labels = nn.functional.one_hot(torch.tensor([0, 1, 2, 1])).float()
    expected = [[0.75, 0.25, 0], [0, 0.5, 0.5], [0, 0, 1], [0.4, 0.6, 0]]
    torch.testing.assert_close(mixup.mix(labels, weights), torch.tensor(expected))


def test_mixups_weights_are_the_larger_part_of_a_beta():
    """Of Beta(1, 1), which is uniform: uniform from 1/2 to 1, mean 3/4, deviation 1/(4 sqrt 3)."""
    drawn = mixup.weights(1.0, 10_000, torch.Generator().manual_seed(0))
    assert drawn.dtype == torch.float32 and 0.5 <= drawn.min() and drawn.max() <= 1
    assert drawn.mean() == pytest.approx(0.75, abs=0.006)
    assert drawn.std() == pytest.approx(0.25 / math.sqrt(3), abs=0.004)
    assert torch.equal(drawn, mixup.weights(1.0, 10_000, torch.Generator().manual_seed(0)))
    assert mixup.weights(0.1, 1_000, torch.Generator().manual_seed(0)).mean() > 0.9


def test_the_loss_under_mixup_is_the_weighted_loss_of_both_labels(monkeypatch):
    weights = torch.rand(50, generator=torch.Generator().manual_seed(0)) / 2 + 0.5
    monkeypatch.setattr(mixup, "weights", lambda alpha, count, generator: weights)
    data = prepared(digits().train.part(0.05))
    assert len(data) == 50
    network = nn.Sequential(nn.Flatten(), nn.Linear(192, 10))
    given_to = []
    network.register_forward_hook(lambda _, given, out: given_to.append((given[0], out)))
    recipe = Recipe(epochs=1, batch_size=50, learning_rate=1e-9, mixup=0.2, augmentations=())
    loss = loop.Training(network, data, recipe, seed=0).train_epoch()
    ((images, logits),) = given_to
    # Which images there were shows in the mixed ones: solve for the order that gives them.
    whole = data.normalise(data.batch(slice(None)))
    generator = torch.Generator().manual_seed(loop._mix_seed(0, 0))
    order = torch.randperm(50, generator=generator)
    w = weights[:, None, None, None]
    torch.testing.assert_close(images, w * whole[order] + (1 - w) * whole[order.flip(0)])
    log_p = torch.log_softmax(logits.detach(), 1)
    smooth = 0.9 * log_p + 0.1 * log_p.mean(1, keepdim=True)
    labels = data.labels[order][:, None]
    own, others = (smooth.gather(1, y)[:, 0] for y in (labels, labels.flip(0)))
    assert loss == pytest.approx(float(-(weights * own + (1 - weights) * others).mean()), rel=1e-5)


# -- whole trainings -------------------------------------------------------------------------

SMALL = Architecture.from_block_string(
    "ds_r1_k3_s1_e1_c16_se0.25 ir_r2_k3_s2_e4_c24_se0.25",
    stem=Stem(channels=16),
    head_channels=64,
    resolution=32,
    num_classes=10,
)

# Short: few epochs at a learning rate for them; without a rate the recipe's own.
SHORT = {
    # The batch norms of a proxy have this momentum.
    "proxy": (replace(PROXY.training, bn_momentum=0.1).override(epochs=3, batch_size=16), 0.6),
    "finetune": (FINETUNE.override(epochs=3, batch_size=16, learning_rate=0.01), 0.6),
    "scratch": (SCRATCH.override(epochs=3, batch_size=16, learning_rate=0.01), 0.5),
    "efficientnet": (EFFICIENTNET.override(epochs=5, batch_size=16, learning_rate=0.01), 0.4),
}


@pytest.mark.parametrize(
    "name", [n if n == "proxy" else pytest.param(n, marks=pytest.mark.full) for n in RECIPES]
)
def test_every_recipe_learns(name):
    """Digits, enlarged from 8 to 32 pixels; chance is 0.1."""
    recipe, least = SHORT[name]
    data = digits()
    torch.manual_seed(0)
    network = build(SMALL).to(memory_format=torch.channels_last)
    training = loop.Training(network, prepared(data.train, resolution=32), recipe, seed=1)
    while not training.finished:
        training.train_epoch()
    validation = loop.Images(
        data.validation,
        resolution=32,
        normalisation=loop.normalisation(data.train),
        flips=False,
    )
    assert loop.accuracy(training.evaluated, validation) > least


def test_a_restored_training_with_all_that_there_is_ends_with_the_same_weights():
    """Average, mixup, dropout, stochastic depth, momentum, augmentation; through a file."""
    data = prepared(digits().train.part(0.1), resolution=16)
    recipe = replace(EFFICIENTNET.override(epochs=3, batch_size=16), mixup=0.2)
    architecture = replace(SMALL, dropout_rate=0.3, stochastic_depth_rate=0.5)

    def training(seed):
        torch.manual_seed(seed)
        return loop.Training(build(architecture), data, recipe, seed=1)

    whole = training(0)
    losses = [whole.train_epoch() for _ in range(3)]
    first, second = training(0), training(99)
    first.train_epoch()
    file = io.BytesIO()
    torch.save(first.state(), file)
    file.seek(0)
    evaluated = second.evaluated
    second.restore(torch.load(file, weights_only=True))
    assert second.evaluated is evaluated
    torch.manual_seed(5)
    assert [second.train_epoch(), second.train_epoch()] == losses[1:]
    for one, two in ((whole.network, second.network), (whole.evaluated, second.evaluated)):
        ours, theirs = one.state_dict(), two.state_dict()
        assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert whole.evaluated is not whole.network
