"""What decides the trainings of the benchmark."""

from dataclasses import dataclass, replace
from typing import final

from mnas_search.benchmarks.scaling.networks import PIXELS
from mnas_search.common.checks import check_integer, check_number
from mnas_search.common.errors import UsageError

BATCH = 64
_LARGEST_FACTOR = 8
# Largest resolution over the base's for which images are read: all trainings see the same ones.
ENLARGEMENT = 3.0


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Settings:
    """Base networks, and how they and what they are scaled to are trained.

    Attributes:
        flops: of a base network, at most.
        factors: about how many times the base's FLOPs the scaled networks have.
        images: of the training split, that each training sees in an epoch, at most.
        epochs: of each training.
        rates: peak learning rates, of which the base takes the best for all.
        seeds: trainings of each network.
        seed: of the trainings.
    """

    flops: float = 5e6
    factors: tuple[float, ...] = (2.0, 4.0, 8.0)
    images: int = 5_000
    epochs: int = 15
    rates: tuple[float, ...] = (0.05, 0.1, 0.2)
    seeds: int = 3
    seed: int = 0

    def __post_init__(self) -> None:
        check_number("base FLOPs", self.flops, "[1, inf)")
        check_integer("images", self.images, BATCH)
        check_integer("epochs", self.epochs, 1)
        check_integer("seeds", self.seeds, 2)
        check_integer("seed", self.seed, 0)
        for rate in self.rates:
            check_number("learning rate", rate, "(0, inf)")
        for factor in self.factors:
            check_number("factor", factor, f"[1.5, {_LARGEST_FACTOR}]")
        if not (self.rates and self.factors):
            raise UsageError("factors and learning rates must be one or more, got none")

    @property
    def quick(self) -> "Settings":
        """The same for few and short trainings, at twice the FLOPs alone."""
        return replace(
            self, flops=2e6, factors=(2.0,), images=200, epochs=1, rates=(0.1, 0.2), seeds=2
        )

    def recipe(self, rate: float, fraction: float) -> str:
        """Return what `--proxy` takes: whole networks, trained at a peak learning rate on a
        fraction of the training split."""
        return (
            f"width=1,resolution={PIXELS},fraction={fraction:.4g},epochs={self.epochs},"
            f"batch_size={BATCH},learning_rate={rate:g}"
        )
