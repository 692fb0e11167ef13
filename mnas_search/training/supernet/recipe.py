"""How a supernet is made, trained and read."""

from collections.abc import Callable
from dataclasses import dataclass, fields, replace
from typing import Any

from mnas_search.common.checks import check_integer, check_number
from mnas_search.common.errors import UsageError

MAX_SIDE = 32  # pixels, by default: a step on 64 takes four times as long


@dataclass(frozen=True, slots=True, kw_only=True)
class SupernetRecipe:
    """How a supernet is made, trained and read.

        SupernetRecipe(steps=400).override("width=0.5,fold=1")

    Attributes:
        steps: of training; each computes the gradients of four networks on one batch.
        width: multiplier of the networks' channels, rounded to multiples of `divisor`.
        divisor: as in `ProxyRecipe`.
        resolution: side of the images in pixels; None for that of the data.
        batch_size: images of a step.
        learning_rate: of the first step; falls linearly to 0.
        weight_decay: of weights of convolutions and of the classifier.
        label_smoothing: of the largest network's cross-entropy.
        max_norm: to which longer gradients are shortened.
        fold, folds: the training split is divided into `folds` parts, alike in their classes;
            number `fold` is not trained on, and networks are read on it.
        reading_images: of that part, at most.
    """

    steps: int = 400
    width: float = 0.25
    divisor: int = 1
    resolution: int | None = None
    batch_size: int = 128
    learning_rate: float = 0.2
    weight_decay: float = 5e-4
    label_smoothing: float = 0.1
    max_norm: float = 5.0
    fold: int = 0
    folds: int = 8
    reading_images: int = 500

    def __post_init__(self) -> None:
        for name, least in _INTEGERS.items():
            if (value := getattr(self, name)) is not None:
                most = self.folds - 1 if name == "fold" else None
                check_integer(f"supernet {name}", value, least, most)
        for name, interval in _INTERVALS.items():
            check_number(f"supernet {name}", getattr(self, name), interval)

    def override(self, text: str | None) -> "SupernetRecipe":
        """Return the recipe with the values of `text`, such as `steps=800,width=0.5`."""
        changes: dict[str, Any] = {}
        for word in filter(None, map(str.strip, (text or "").split(","))):
            name, _, value = (part.strip() for part in word.partition("="))
            try:
                changes[name] = _READERS[name](value)
            except (KeyError, ValueError):
                raise UsageError(
                    f"supernet must be NAME=NUMBER,... with NAME of {', '.join(_READERS)}, got "
                    f"{word!r}"
                ) from None
        return replace(self, **changes)

    @property
    def text(self) -> str:
        """The values in the form that `override` reads."""
        values = ((field.name, getattr(self, field.name)) for field in fields(self))
        return ",".join(f"{name}={value:g}" for name, value in values if value is not None)


def supernet_recipe(side: int, device: str) -> SupernetRecipe:
    """Return the default recipe for images of `side` pixels: of a quarter of the width on a CPU,
    and of the whole width on a GPU."""
    recipe = SupernetRecipe(resolution=min(MAX_SIDE, side))
    return replace(recipe, width=1.0, steps=4 * recipe.steps) if device == "cuda" else recipe


_INTEGERS = {
    "steps": 1,
    "divisor": 1,
    "resolution": 4,
    "batch_size": 2,
    "folds": 2,
    "fold": 0,
    "reading_images": 2,
}
_INTERVALS = {
    "width": "(0, inf)",
    "learning_rate": "(0, inf)",
    "weight_decay": "[0, inf)",
    "label_smoothing": "[0, 1)",
    "max_norm": "(0, inf)",
}
_READERS: dict[str, Callable[[str], float]] = {
    field.name: int if field.name in _INTEGERS else float for field in fields(SupernetRecipe)
}
