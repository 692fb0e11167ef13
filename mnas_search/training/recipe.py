"""Recipes as frozen values."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class ProxyRecipe:
    """How a proxy is made from a candidate and trained.

    Attributes:
        resolution: side of the images, in pixels.
        width: multiplier of the candidate's channels.
        divisor: what those channels are rounded to a multiple of.
        epochs, batch_size: over the training split; a last, smaller batch is left out.
        learning_rate: peak; linear warm-up, then linear decay to zero.
        warmup: share of the steps.
        momentum, weight_decay: of SGD with Nesterov momentum; one-dimensional parameters are not
            decayed.
        label_smoothing: of the cross-entropy.
        shift: largest random translation, in pixels of the proxy's resolution.
    """

    resolution: int = 8
    width: float = 0.125
    divisor: int = 4
    epochs: int = 5
    batch_size: int = 32
    learning_rate: float = 0.1
    warmup: float = 0.3
    momentum: float = 0.9
    weight_decay: float = 1e-4
    label_smoothing: float = 0.1
    shift: int = 1


PROXY = ProxyRecipe()
