"""Recipes as frozen values: how a network is trained."""

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace

from mnas_search.common.errors import UsageError
from mnas_search.training.augment.pipeline import Augmentation, Flip, Shift
from mnas_search.training.optimisers import Optimiser, Sgd
from mnas_search.training.schedules import Schedule, Triangular


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a network is trained.

    `replace` and `override` give the same recipe at another length or batch size: schedules know
    no lengths of their own, and the learning rate follows the batch.

    Attributes:
        epochs, batch_size: over the training split; a last, smaller batch is left out.
        learning_rate: peak, at a batch of `reference_batch` images.
        reference_batch: the peak is in proportion to the batch that is really used, over this one
            (Goyal et al. 2017, section 2.1); None: it is `learning_rate` at any batch.
        schedule: factor on the peak, step by step.
        optimiser: which, with its settings.
        weight_decay: factor on the decayed parameters, added to their gradient.
        label_smoothing: of the cross-entropy.
        ema_decay: of the moving average of the weights that is evaluated; None for none.
        bn_momentum: of all batch norms, the weight of the new batch; None: the network's own.
        mixup: alpha of the Beta distribution of the weights that pairs of images are blended
            with; 0 for none.
        augmentations: in this order; those that mirror are left out where the data do not bear it.

    Dropout and stochastic depth are the architecture's.
    """

    epochs: int = 5
    batch_size: int = 32
    learning_rate: float = 0.1
    reference_batch: int | None = None
    schedule: Schedule = field(default_factory=Triangular)
    optimiser: Optimiser = field(default_factory=Sgd)
    weight_decay: float = 1e-4
    label_smoothing: float = 0.1
    ema_decay: float | None = None
    bn_momentum: float | None = None
    mixup: float = 0.0
    augmentations: tuple[Augmentation, ...] = (Shift(most=1), Flip())

    def __post_init__(self) -> None:
        for name in ("epochs", "batch_size", "reference_batch"):
            value = getattr(self, name)
            if value is not None and not (isinstance(value, int) and value >= 1):
                raise UsageError(f"training {name} {value!r}; allowed: whole numbers from 1")
        if not 0 < self.learning_rate < math.inf:
            raise UsageError(f"training learning_rate {self.learning_rate!r}; allowed: above 0")
        for name in ("weight_decay", "mixup"):
            if not 0 <= getattr(self, name) < math.inf:
                raise UsageError(f"training {name} {getattr(self, name)!r}; allowed: 0 and above")
        for name in ("label_smoothing", "ema_decay", "bn_momentum"):
            value = getattr(self, name)
            if value is not None and not 0 <= value < 1:
                raise UsageError(f"training {name} {value!r}; allowed: from 0 to below 1")

    def peak(self, batch_size: int) -> float:
        """The highest learning rate, at a batch of so many images."""
        if self.reference_batch is None:
            return self.learning_rate
        return self.learning_rate * batch_size / self.reference_batch

    def override(
        self,
        *,
        epochs: int | None = None,
        batch_size: int | None = None,
        learning_rate: float | None = None,
    ) -> "Recipe":
        """This recipe with what is given. A learning rate that is given is the peak at the batch
        size that results, whatever the recipe's was for."""
        recipe = replace(
            self,
            epochs=self.epochs if epochs is None else epochs,
            batch_size=self.batch_size if batch_size is None else batch_size,
        )
        if learning_rate is None:
            return recipe
        return replace(recipe, learning_rate=learning_rate, reference_batch=None)


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyRecipe:
    """How a proxy is made from a candidate and trained.

    Attributes:
        resolution: side of the images, in pixels.
        width: multiplier of the candidate's channels.
        divisor: what those channels are rounded to a multiple of.
        fraction: share of the training split, the same images for every candidate.
        training: how the proxy is trained.
    """

    resolution: int = 8
    width: float = 0.125
    divisor: int = 4
    fraction: float = 1.0
    training: Recipe = field(default_factory=Recipe)

    def __post_init__(self) -> None:
        positive = {
            "resolution": self.resolution,
            "width": self.width,
            "divisor": self.divisor,
            "fraction": self.fraction,
        }
        for name, value in positive.items():
            if not value > 0:
                raise UsageError(f"proxy {name} {value!r}; allowed: above 0")
        if self.fraction > 1:
            raise UsageError(f"proxy fraction {self.fraction!r}; allowed: at most 1")

    def override(self, text: str | None) -> "ProxyRecipe":
        """This recipe with what `text` says instead, as in `epochs=10,resolution=16`."""
        own: dict[str, float] = {}
        training: dict[str, float] = {}
        for word in (text or "").split(","):
            name, _, value = (part.strip() for part in word.partition("="))
            if not word.strip():
                continue
            read = _PROXY_FIELDS.get(name) or _TRAINING_FIELDS.get(name)
            try:
                if read is None:
                    raise ValueError
                (own if name in _PROXY_FIELDS else training)[name] = read(value)
            except ValueError:
                allowed = ", ".join(f"{name}=" for name in (*_PROXY_FIELDS, *_TRAINING_FIELDS))
                raise UsageError(
                    f"proxy {word.strip()!r}; allowed: {allowed} with a number, between commas"
                ) from None
        trained = replace(self.training, **training)  # type: ignore[arg-type]
        return replace(self, **own, training=trained)  # type: ignore[arg-type]

    @property
    def text(self) -> str:
        """All that `override` reads."""
        own = [f"{name}={getattr(self, name):g}" for name in _PROXY_FIELDS]
        training = [f"{name}={getattr(self.training, name):g}" for name in _TRAINING_FIELDS]
        return ",".join(own + training)


_PROXY_FIELDS: dict[str, Callable[[str], float]] = {
    "resolution": int,
    "width": float,
    "divisor": int,
    "fraction": float,
}
_TRAINING_FIELDS: dict[str, Callable[[str], float]] = {
    "epochs": int,
    "batch_size": int,
    "learning_rate": float,
}

PROXY = ProxyRecipe()  # of 8x8 digits
MAX_PROXY_SIDE = 32  # pixels a side, unless asked for otherwise


MAX_PROXY_IMAGES = 40_000  # that a candidate sees, epochs together, unless asked for otherwise


def proxy_recipe(side: int, count: int) -> ProxyRecipe:
    """The recipe for so many training images of so many pixels a side.

    Of large data a candidate sees a part, so that its cost is bounded whatever the data.
    """
    recipe = PROXY
    if side > PROXY.resolution:
        recipe = ProxyRecipe(
            resolution=min(MAX_PROXY_SIDE, side),
            width=0.25,
            divisor=4,
            training=Recipe(epochs=4, batch_size=128, augmentations=(Shift(most=2), Flip())),
        )
    share = MAX_PROXY_IMAGES / (recipe.training.epochs * count)
    return replace(recipe, fraction=float(f"{min(1.0, share):.3g}"))
