"""The named recipes."""

from dataclasses import replace

from mnas_search.common.checks import check_choice
from mnas_search.training.augment.auto_augment import AutoAugment, RandAugment
from mnas_search.training.augment.pipeline import Flip, RandomResizedCrop
from mnas_search.training.optimisers import AdamW, RmsProp
from mnas_search.training.recipe import PROXY, ProxyRecipe, Recipe
from mnas_search.training.schedules import Cosine, ExponentialDecay

# Small data mean a few hundred steps: Adam's step size rather than Nesterov momentum with a
# cosine (Kornblith et al. 2019, arXiv 1805.08974), which has not converged by then; a large
# batch-norm momentum and mild augmentation. docs/training.md has the series that chose it.
FINETUNE = Recipe(
    epochs=15,
    batch_size=64,
    learning_rate=1e-3,
    reference_batch=64,
    schedule=Cosine(warmup=0.1),
    optimiser=AdamW(),
    weight_decay=0.05,
    label_smoothing=0.1,
    ema_decay=0.9999,
    bn_momentum=0.1,
    augmentations=(RandomResizedCrop(area=(0.5, 1.0)), Flip()),
)

# From random weights on thousands of images rather than a million: Adam's step size needs no
# tuning per network; decoupled decay and stronger augmentation limit overfitting.
SCRATCH = Recipe(
    epochs=100,
    batch_size=64,
    learning_rate=2e-3,
    reference_batch=64,
    schedule=Cosine(warmup=0.05),
    optimiser=AdamW(),
    weight_decay=0.05,
    label_smoothing=0.1,
    ema_decay=0.9999,
    bn_momentum=0.1,
    augmentations=(RandomResizedCrop(area=(0.25, 1.0)), Flip(), RandAugment(operations=2)),
)

# Tan & Le 2019 (arXiv 1905.11946), section 5.2, and the authors' code. The batch fits
# one device; at the authors' 4,096 images the learning rate is 0.256.
EFFICIENTNET = Recipe(
    epochs=350,
    batch_size=256,
    learning_rate=0.256,
    reference_batch=4096,
    schedule=ExponentialDecay(factor=0.97, every=2.4, of=350, warmup=5),
    optimiser=RmsProp(decay=0.9, momentum=0.9, epsilon=1e-3),
    weight_decay=1e-5,
    label_smoothing=0.1,
    ema_decay=0.9999,
    bn_momentum=0.01,
    augmentations=(RandomResizedCrop(area=(0.08, 1.0)), Flip(), AutoAugment()),
)

RECIPES = {
    "proxy": PROXY.training,
    "finetune": FINETUNE,
    "scratch": SCRATCH,
    "efficientnet": EFFICIENTNET,
}

_FINETUNING_SIDE = 64  # pixels of a proxy that starts from pretrained weights
_FINETUNING_IMAGES = 10_000  # of all its epochs


def finetuning_proxy(count: int) -> ProxyRecipe:
    """Return the recipe of a proxy that starts from pretrained weights, for `count` training
    images: a short fine-tuning at full width. All images are resized to 64 pixels; the weights
    have hardly seen smaller objects.
    """
    epochs = min(max(round(_FINETUNING_IMAGES / count), 2), 20)
    share = min(1.0, _FINETUNING_IMAGES / (epochs * count))
    return ProxyRecipe(
        resolution=_FINETUNING_SIDE,
        width=1,
        divisor=8,
        fraction=float(f"{share:.3g}"),
        training=replace(FINETUNE, epochs=epochs),
    )


def recipe_named(name: str) -> Recipe:
    """Return the recipe called `name`; raises `UsageError` if there is none."""
    check_choice("recipe", name, RECIPES)
    return RECIPES[name]
