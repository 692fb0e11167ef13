"""Compound scaling, trained: each dimension alone and all three at equal FLOPs, on real photos.

Bases are networks for 16 pixels, so that photos of 32 leave twice the resolution to scale into.
All networks keep the strides of their base, and are trained for as many epochs by one recipe; one
seed after the other, as long as there is time.
"""

import time
from collections.abc import Iterator
from dataclasses import replace

from mnas_search import reference
from mnas_search.architecture.adaptation import adapt
from mnas_search.architecture.scaling import scale
from mnas_search.architecture.value import Architecture
from mnas_search.benchmarks.gpu.trainings import ONE_MINUTE, Trained
from mnas_search.benchmarks.gpu.work import Row, Work
from mnas_search.experiments.scaling.comparison import BASE, ScaledNetwork, comparison

_SIDE = 16  # pixels of the bases
_BACKBONES = (("mobilenet_v2", 0.5), ("efficientnet_b0", 0.5), ("resnet18", 0.25))  # and widths
_FACTORS = (2.0, 4.0)  # of the base's FLOPs
_EPOCHS = 10
_SEEDS = 3


def run(work: Work) -> Iterator[Row]:
    """Yield a row for each network and seed."""
    backbones = work.choose(_BACKBONES[:1], _BACKBONES)
    factors = work.choose(_FACTORS[:1], _FACTORS)
    networks = [one for name, width in backbones for one in _scaled(work, name, width, factors)]
    recipe = replace(ONE_MINUTE, epochs=work.choose(1, _EPOCHS))
    recipe = recipe.override(batch_size=work.choose(8, recipe.batch_size))
    longest = 0.0
    for seed in range(work.choose(1, _SEEDS)):
        for base, network in networks:
            if work.left < longest:
                return
            begun = time.monotonic()
            one = Trained(work=work, architecture=network.network, recipe=recipe, seed=seed)
            row = one.run(one.photos, epochs=recipe.epochs)
            longest = max(longest, time.monotonic() - begun)
            yield {
                "base": base,
                "dimension": network.dimension,
                "budget": network.budget,
                "FLOPs": network.cost.macs,
                "seed": seed,
                **row,
            }


def _scaled(
    work: Work, name: str, width: float, factors: tuple[float, ...]
) -> list[tuple[str, ScaledNetwork]]:
    """Return the base and the networks that are scaled from it, with the base's name."""
    narrow = scale(adapt(reference.architecture(name), _SIDE), width=width)
    base: Architecture = replace(
        narrow, num_classes=work.dataset().num_classes, name=f"{name} x{width:g}"
    )
    own = ScaledNetwork(dimension=BASE, budget=0.0, network=base)
    macs = own.cost.macs
    own = replace(own, budget=float(macs))
    found = comparison(base, [factor * macs for factor in factors])
    return [(base.label, network) for network in (own, *found)]
