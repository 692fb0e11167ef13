"""The paper's networks, as far as they are known here."""

from dataclasses import replace

from mnas_search import reference
from mnas_search.architecture.cost.base import Cost
from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.scaling import scale
from mnas_search.architecture.value import Architecture
from mnas_search.benchmarks.paper.printed import Scaled

B0 = "EfficientNet-B0"
_NAMES = {
    **{f"EfficientNet-B{i}": f"efficientnet_b{i}" for i in range(8)},
    "MobileNetV1": "mobilenet_v1",
    "MobileNetV2": "mobilenet_v2",
    "ResNet-50": "resnet50",
    "ResNet-152": "resnet152",
}


def known(name: str) -> Architecture:
    """Return the architecture that the paper calls `name`."""
    return reference.architecture(_NAMES[name])


def counted(name: str) -> Cost | None:
    """Return its cost; None for a network that is not built here."""
    return cost(known(name)) if name in _NAMES else None


def body_params(name: str) -> int | None:
    """Count its params without the classifier, which transfer replaces."""
    if name not in _NAMES:
        return None
    # The classifier's params are in proportion to the classes.
    one, two = (cost(replace(known(name), num_classes=n)).params for n in (1, 2))
    return 2 * one - two


def scaled(row: Scaled) -> Architecture:
    """Return the network of a row of Table 3 or 7."""
    return multiplied(row.base, row.depth, row.width, row.resolution)


def multiplied(name: str, depth: float, width: float, resolution: float) -> Architecture:
    """Scale a known network by multipliers; image sides are rounded to a pixel."""
    base = known(name)
    return scale(base, depth=depth, width=width, resolution=round(base.resolution * resolution))
