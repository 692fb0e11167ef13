"""Recipes as frozen values: how a network is trained."""

from collections.abc import Callable
from dataclasses import dataclass, field, replace

from mnas_search.errors import UsageError
from mnas_search.training.augmentation import Augmentation, Flip, Shift
from mnas_search.training.optimisers import Optimiser, Sgd
from mnas_search.training.schedules import Schedule, Triangle


@dataclass(frozen=True, slots=True, kw_only=True)
class Recipe:
    """How a network is trained.

    Attributes:
        epochs, batch_size: over the training split; a last, smaller batch is left out.
        learning_rate: peak, at this batch size.
        schedule: factor on it, step by step.
        optimiser: which, with its settings.
        weight_decay: factor on the decayed parameters, added to their gradient.
        label_smoothing: of the cross-entropy.
        augmentations: in this order; those that mirror are left out where the data do not bear it.
    """

    epochs: int = 5
    batch_size: int = 32
    learning_rate: float = 0.1
    schedule: Schedule = field(default_factory=Triangle)
    optimiser: Optimiser = field(default_factory=Sgd)
    weight_decay: float = 1e-4
    label_smoothing: float = 0.1
    augmentations: tuple[Augmentation, ...] = (Shift(most=1), Flip())


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
            "epochs": self.training.epochs,
            "batch_size": self.training.batch_size,
            "learning_rate": self.training.learning_rate,
        }
        for name, value in positive.items():
            if not value > 0:
                raise UsageError(f"proxy {name} {value!r}; allowed: above 0")
        if self.fraction > 1:
            raise UsageError(f"proxy fraction {self.fraction!r}; allowed: at most 1")

    def changed(self, text: str | None) -> "ProxyRecipe":
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
        """All that `changed` reads."""
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
LARGEST_PROXY = 32  # pixels a side, unless asked for otherwise


MOST_IMAGES = 40_000  # that a candidate sees, epochs together, unless asked for otherwise


def proxy_recipe(side: int, count: int) -> ProxyRecipe:
    """The recipe for so many training images of so many pixels a side.

    Of large data a candidate sees a part, so that its cost is bounded whatever the data.
    """
    recipe = PROXY
    if side > PROXY.resolution:
        recipe = ProxyRecipe(
            resolution=min(LARGEST_PROXY, side),
            width=0.25,
            divisor=4,
            training=Recipe(epochs=4, batch_size=128, augmentations=(Shift(most=2), Flip())),
        )
    share = MOST_IMAGES / (recipe.training.epochs * count)
    return replace(recipe, fraction=float(f"{min(1.0, share):.3g}"))
