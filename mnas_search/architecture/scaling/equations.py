"""Compound scaling: from one architecture to its family (EfficientNet section 3).

    depth d = alpha^phi, width w = beta^phi, resolution r = gamma^phi        (eq. 3)
    alpha * beta^2 * gamma^2 ~ 2,  alpha, beta, gamma >= 1

so that FLOPs, which grow with d * w^2 * r^2, grow by about 2^phi. phi = 0 is the base itself: B0
of the paper (summaries that number it 1 are off by one); below 0 the network shrinks. The
coefficients that were released for B1 to B7 are *not* alpha^phi for any phi: they are the table
`PUBLISHED`, beside the equations.

Channels, repeats and resolution are whole numbers, rounded as the reference code does
(efficientnet_model.py, tensorflow/tpu): channels to a multiple of 8 that is no less than 90 % of
the value, repeats up, the resolution to a pixel. `Rounding` overrides it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from mnas_search.architecture.blocks.arithmetic import make_divisible, round_repeats
from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.value import MAX_RESOLUTION, Architecture
from mnas_search.common.errors import UsageError

BASE_RESOLUTION = 224
# The last dropout rate of the paper's linear increase from B0 (0.2) to B7 (0.5), section 5.2.
_LAST_DROPOUT, _LAST_PHI = 0.5, 7
_MOST_WIDTH = 3200  # hundredths
_COARSEST = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Coefficients:
    """How far one member of a family is scaled.

    Attributes:
        depth, width: multipliers of repeats and channels.
        resolution: side of the input for a base of 224 pixels.
        dropout: rate before the classifier.
    """

    depth: float
    width: float
    resolution: float
    dropout: float


# efficientnet_builder.py (tensorflow/tpu): width, depth, resolution, dropout of B0 to B7.
PUBLISHED = tuple(
    Coefficients(width=w, depth=d, resolution=r, dropout=dropout)
    for w, d, r, dropout in (
        (1.0, 1.0, 224, 0.2),
        (1.0, 1.1, 240, 0.2),
        (1.1, 1.2, 260, 0.3),
        (1.2, 1.4, 300, 0.3),
        (1.4, 1.8, 380, 0.4),
        (1.6, 2.2, 456, 0.4),
        (1.8, 2.6, 528, 0.5),
        (2.0, 3.1, 600, 0.5),
    )
)
# From the same file: the two that are no members of the paper's family, larger than B7.
LARGER = {
    "b8": Coefficients(width=2.2, depth=3.6, resolution=672, dropout=0.5),
    "l2": Coefficients(width=4.3, depth=5.3, resolution=800, dropout=0.5),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounding:
    """What scaled sizes are rounded to.

    Attributes:
        channels: widths become multiples of it, no less than 90 % of the exact value.
        resolution: the side of the input becomes the nearest multiple of it.
    """

    channels: int = 8
    resolution: int = 1

    def __post_init__(self) -> None:
        for name in ("channels", "resolution"):
            value = getattr(self, name)
            if not 1 <= value <= _COARSEST:
                raise UsageError(
                    f"{name} rounded to multiples of {value!r}; allowed: 1 to {_COARSEST}"
                )


@dataclass(frozen=True, slots=True, kw_only=True)
class CompoundRule:
    """Equation 3 with its constants; the defaults are EfficientNet's grid-search result."""

    alpha: float = 1.2
    beta: float = 1.1
    gamma: float = 1.15

    def __post_init__(self) -> None:
        for name in ("alpha", "beta", "gamma"):
            value = getattr(self, name)
            if not (math.isfinite(value) and value >= 1):
                raise UsageError(f"{name} {value!r}; allowed: a number >= 1 (equation 3)")

    @property
    def product(self) -> float:
        """alpha * beta^2 * gamma^2: the factor on FLOPs that one step of phi stands for."""
        return self.alpha * (self.beta * self.beta) * (self.gamma * self.gamma)


def scale(
    architecture: Architecture,
    *,
    depth: float = 1.0,
    width: float = 1.0,
    resolution: int | None = None,
    dropout: float | None = None,
    name: str | None = None,
    divisor: int = 8,
) -> Architecture:
    """Scale channels, repeats and resolution.

    Args:
        depth: repeats become ceil(depth * repeats).
        width: stem, stages and head become `make_divisible(width * channels, divisor)`; expanded
            widths follow from the scaled input. 1 leaves them as they are.
        resolution: new side of the input; None keeps it.
        dropout: new rate before the classifier; None keeps it.
        divisor: what channels are rounded to a multiple of.
    """
    for what, value in (("depth", depth), ("width", width)):
        if not (math.isfinite(value) and value > 0):
            raise UsageError(f"{what} {value!r}; allowed: a positive number")

    def channels(value: int) -> int:
        return value if width == 1 else make_divisible(value * width, divisor)

    stages = tuple(
        replace(
            stage,
            out_channels=channels(stage.out_channels),
            repeats=round_repeats(stage.repeats, depth),
        )
        for stage in architecture.stages
    )
    head = architecture.head_channels
    return replace(
        architecture,
        stages=stages,
        stem=replace(architecture.stem, channels=channels(architecture.stem.channels)),
        head_channels=None if head is None else channels(head),
        resolution=architecture.resolution if resolution is None else resolution,
        dropout_rate=architecture.dropout_rate if dropout is None else dropout,
        name=name,
    )


def widest(architecture: Architecture, within: Callable[[Architecture], bool]) -> Architecture:
    """The architecture under the largest width multiplier, in steps of 0.01, that is `within` the
    constraints; it is named after both.

    Args:
        within: which no wider network is where this one is not.

    Raises:
        UsageError: even a hundredth of the width is not.
    """

    def fits(hundredths: int) -> bool:
        return within(scale(architecture, width=hundredths / 100))

    low, high = 0, 1
    while fits(high) and high < _MOST_WIDTH:
        low, high = high, 2 * high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    if not low:
        least = cost(scale(architecture, width=0.01))
        raise UsageError(
            f"no width of {architecture.label} is within the constraints; the least has "
            f"{least.macs:,} multiply-adds and {least.params:,} params"
        )
    name = architecture.label if low == 100 else f"{architecture.label} x{low / 100:g}"
    return scale(architecture, width=low / 100, name=name)


def compound(
    architecture: Architecture,
    phi: float,
    rule: CompoundRule | None = None,
    rounding: Rounding | None = None,
) -> Architecture:
    """Scale by equation 3. Any real phi; below 0 the network shrinks.

    Dropout grows linearly, as from B0 to B7 in the paper, and stays within [0, 0.5].

    Raises:
        UsageError: the resolution vanishes, or is larger than any architecture's.
    """
    rule, rounding = rule or CompoundRule(), rounding or Rounding()
    if not math.isfinite(phi) or abs(phi) > 100:
        raise UsageError(f"phi {phi!r}; allowed: a number from -100 to 100")
    try:
        depth, width = rule.alpha**phi, rule.beta**phi
        pixels = architecture.resolution * rule.gamma**phi
        resolution = round(pixels / rounding.resolution) * rounding.resolution
    except OverflowError:
        raise UsageError(f"phi {phi:g} under {rule} is larger than any number") from None
    if not 1 <= resolution <= MAX_RESOLUTION:
        raise UsageError(
            f"phi {phi:g} gives a resolution of {resolution} pixels; allowed: 1 to "
            f"{MAX_RESOLUTION}"
        )
    base = architecture.dropout_rate
    dropout = base + (_LAST_DROPOUT - 0.2) * phi / _LAST_PHI
    return scale(
        architecture,
        depth=depth,
        width=width,
        resolution=resolution,
        dropout=min(max(dropout, 0.0), max(base, _LAST_DROPOUT)),
        name=f"{architecture.label} phi={phi:g}",
        divisor=rounding.channels,
    )


def published_member(
    architecture: Architecture, coefficients: Coefficients, *, name: str
) -> Architecture:
    """The base under one row of the published table.

    The resolution is the released one's ratio to 224, applied to the base's own.
    """
    ratio = coefficients.resolution / BASE_RESOLUTION
    return scale(
        architecture,
        depth=coefficients.depth,
        width=coefficients.width,
        resolution=round(architecture.resolution * ratio),
        dropout=coefficients.dropout,
        name=name,
    )


def published_family(
    architecture: Architecture, names: tuple[str, ...]
) -> tuple[Architecture, ...]:
    """The base scaled by each released coefficient, B0 to B7."""
    return tuple(
        published_member(architecture, c, name=name)
        for c, name in zip(PUBLISHED, names, strict=True)
    )
