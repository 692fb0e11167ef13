"""Training recipes as frozen values."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from mnas_search.common.checks import check_integer, check_number
from mnas_search.common.errors import UsageError
from mnas_search.training.augment.pipeline import Augmentation, Flip, Shift
from mnas_search.training.optimisers import Optimiser, Sgd
from mnas_search.training.schedules import Schedule, Triangular


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """A training recipe; dropout and stochastic depth belong to the architecture.

    Schedules are independent of the length and the learning rate follows the batch size, so that
    `override` gives the same recipe at another length or batch size:

        recipe_named("finetune").override(epochs=10, batch_size=32)

    Attributes:
        epochs, batch_size: over the training split; a smaller last batch is dropped.
        learning_rate: the peak, at a batch of `reference_batch` images.
        reference_batch: the peak is proportional to the batch size over this one (Goyal et al.
            2017, section 2.1); None for a peak of `learning_rate` at any batch size.
        schedule: factor on the peak at each step.
        optimiser: the optimiser with its settings.
        weight_decay: factor on the decayed parameters, added to their gradient.
        label_smoothing: of the cross-entropy.
        ema_decay: of the moving average of the weights, which is evaluated; None for no average.
        bn_momentum: of all batch norms, the weight of the new batch; None for the network's.
        mixup: alpha of the Beta distribution of mixup's weights; 0 for no mixup.
        augmentations: in order; those that mirror are skipped if mirroring changes the class.
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
            if (value := getattr(self, name)) is not None:
                check_integer(f"training {name}", value, 1)
        for name, interval in _INTERVALS.items():
            if (value := getattr(self, name)) is not None:
                check_number(f"training {name}", value, interval)

    def peak(self, batch_size: int) -> float:
        """Compute the peak learning rate at a batch of `batch_size` images."""
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
        """Return the recipe with other values. A given learning rate is the peak at the resulting
        batch size, for any reference batch of the recipe."""
        given = {"epochs": epochs, "batch_size": batch_size, "learning_rate": learning_rate}
        changes: dict[str, Any] = {name: v for name, v in given.items() if v is not None}
        if learning_rate is not None:
            changes["reference_batch"] = None
        return replace(self, **changes)


_INTERVALS = {
    "learning_rate": "(0, inf)",
    "weight_decay": "[0, inf)",
    "mixup": "[0, inf)",
    "label_smoothing": "[0, 1)",
    "ema_decay": "[0, 1)",
    "bn_momentum": "[0, 1)",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyRecipe:
    """How the proxy of a candidate is made and trained.

    Attributes:
        resolution: side of the images, in pixels.
        width: multiplier of the candidate's channels.
        divisor: those channels become multiples of it. The widths of spaces are multiples of
            8: at a quarter of them, a divisor above 2 makes some equal.
        fraction: share of the training split, the same images for every candidate.
        training: the training recipe of the proxy.
    """

    resolution: int = 8
    width: float = 0.25
    divisor: int = 1
    fraction: float = 1.0
    training: Recipe = field(default_factory=Recipe)

    def __post_init__(self) -> None:
        for name in ("resolution", "width", "divisor"):
            check_number(f"proxy {name}", getattr(self, name), "(0, inf)")
        check_number("proxy fraction", self.fraction, "(0, 1]")

    def override(self, text: str | None) -> "ProxyRecipe":
        """Return the recipe with the values of `text`, such as `epochs=10,resolution=16`."""
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
                fields = ", ".join((*_PROXY_FIELDS, *_TRAINING_FIELDS))
                raise UsageError(
                    f"proxy must be NAME=NUMBER,... with NAME of {fields}, got {word.strip()!r}"
                ) from None
        trained = replace(self.training, **training)  # type: ignore[arg-type]
        return replace(self, **own, training=trained)  # type: ignore[arg-type]

    @property
    def text(self) -> str:
        """All fields in the form that `override` reads."""
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
MAX_PROXY_SIDE = 64  # pixels, by default
MAX_PROXY_IMAGES = 40_000  # images of all epochs of a candidate, by default
MAX_PROXY_EPOCHS = 100  # by default: a proxy is no longer than a training by the recipe `scratch`


def proxy_recipe(side: int, count: int) -> ProxyRecipe:
    """Return the proxy recipe for `count` training images of `side` pixels.

    Beyond 8 pixels, a candidate sees `MAX_PROXY_IMAGES` of any data: many epochs of few images, at
    most `MAX_PROXY_EPOCHS`, or four of a fraction of many. Images of up to 8 pixels are learnt in
    five epochs.
    """
    recipe = PROXY
    if side > PROXY.resolution:
        recipe = ProxyRecipe(
            resolution=min(MAX_PROXY_SIDE, side),
            training=Recipe(epochs=4, batch_size=64, augmentations=(Shift(most=2), Flip())),
        )
    training = recipe.training
    batch = min(training.batch_size, count)
    per_epoch = count // batch * batch  # a smaller last batch is dropped
    if side > PROXY.resolution:
        epochs = min(MAX_PROXY_EPOCHS, MAX_PROXY_IMAGES // per_epoch)
        training = training.override(epochs=max(training.epochs, epochs))
    share = min(1.0, MAX_PROXY_IMAGES / (training.epochs * per_epoch))
    return replace(recipe, fraction=float(f"{share:.3g}"), training=training)
