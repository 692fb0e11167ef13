"""Compound scaling: from one architecture to its family (EfficientNet section 3).

    depth d = alpha^phi, width w = beta^phi, resolution r = gamma^phi        (eq. 3)
    alpha * beta^2 * gamma^2 ~ 2,  alpha, beta, gamma >= 1

so that FLOPs, which grow with d * w^2 * r^2, grow by about 2^phi. phi = 0 is the base, B0 in the
paper; below 0 the network shrinks. The coefficients released for B1 to B7 are *not* alpha^phi for
any phi: they are the table `PUBLISHED`.

Channels, repeats and resolution are rounded as in the reference code (efficientnet_model.py,
tensorflow/tpu): channels to a multiple of 8 that is no less than 90 % of the value, repeats up,
the resolution to a pixel. `Rounding` overrides it.
"""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from mnas_search.architecture.blocks.arithmetic import make_divisible, round_repeats
from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.value import MAX_RESOLUTION, Architecture
from mnas_search.common.checks import check_integer, check_number
from mnas_search.common.errors import InvalidArchitecture, UsageError

BASE_RESOLUTION = 224
# The last dropout rate of the paper's linear increase from B0 (0.2) to B7 (0.5), section 5.2.
_LAST_DROPOUT, _LAST_PHI = 0.5, 7
_MAX_WIDTH = 3200  # hundredths
_MAX_MULTIPLE = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class Coefficients:
    """The scaling coefficients of one member of a family."""

    # depth, width: multipliers of repeats and channels
    depth: float
    width: float
    resolution: float  # side of the input for a base of 224 pixels
    dropout: float  # rate before the classifier


def _rows(*rows: tuple[float, float, int, float]) -> tuple[Coefficients, ...]:
    """Return coefficients of (width, depth, resolution, dropout)."""
    return tuple(Coefficients(width=w, depth=d, resolution=r, dropout=p) for w, d, r, p in rows)


# efficientnet_builder.py (tensorflow/tpu): B0 to B7.
PUBLISHED = _rows(
    *((1.0, 1.0, 224, 0.2), (1.0, 1.1, 240, 0.2), (1.1, 1.2, 260, 0.3), (1.2, 1.4, 300, 0.3)),
    *((1.4, 1.8, 380, 0.4), (1.6, 2.2, 456, 0.4), (1.8, 2.6, 528, 0.5), (2.0, 3.1, 600, 0.5)),
)
# From the same file: two networks larger than B7, which the paper does not have.
LARGER = dict(zip(("b8", "l2"), _rows((2.2, 3.6, 672, 0.5), (4.3, 5.3, 800, 0.5)), strict=True))
# efficientnet_lite_builder.py (tensorflow/tpu): Lite0 to Lite4.
LITE = _rows(
    *((1.0, 1.0, 224, 0.2), (1.0, 1.1, 240, 0.2), (1.1, 1.2, 260, 0.3), (1.2, 1.4, 280, 0.3)),
    (1.4, 1.8, 300, 0.3),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Rounding:
    """The multiples that scaled sizes are rounded to."""

    channels: int = 8  # of widths, never below 90 % of the exact value
    resolution: int = 1  # of the side of the input, to the nearest

    def __post_init__(self) -> None:
        check_integer("multiple of channels", self.channels, 1, _MAX_MULTIPLE)
        check_integer("multiple of resolution", self.resolution, 1, _MAX_MULTIPLE)


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
                raise UsageError(f"{name} must be 1 or more (equation 3), got {value!r}")

    @property
    def product(self) -> float:
        """alpha * beta^2 * gamma^2: the factor on FLOPs of one step of phi."""
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
            widths follow from the scaled input. 1 keeps them unchanged.
        resolution: new side of the input; None keeps it.
        dropout: new rate before the classifier; None keeps it.
        divisor: channels become multiples of it.

    Raises:
        UsageError: `depth` or `width` is not positive.
    """
    for what, value in (("depth", depth), ("width", width)):
        if not (math.isfinite(value) and value > 0):
            raise UsageError(f"{what} must be a positive number, got {value!r}")

    def channels(value: int) -> int:
        return value if width == 1 else make_divisible(value * width, divisor)

    head = architecture.head_channels
    return replace(
        architecture,
        stages=tuple(
            replace(
                stage,
                out_channels=channels(stage.out_channels),
                repeats=round_repeats(stage.repeats, depth),
            )
            for stage in architecture.stages
        ),
        stem=replace(architecture.stem, channels=channels(architecture.stem.channels)),
        head_channels=None if head is None else channels(head),
        resolution=architecture.resolution if resolution is None else resolution,
        dropout_rate=architecture.dropout_rate if dropout is None else dropout,
        name=name,
    )


def widest(
    architecture: Architecture, is_feasible: Callable[[Architecture], bool]
) -> Architecture:
    """Scale to the largest feasible width multiplier, in steps of 0.01, by bisection.

    Args:
        is_feasible: False for every network that is wider than an infeasible one.

    Raises:
        UsageError: even a hundredth of the width is infeasible.
    """

    def fits(hundredths: int) -> bool:
        return is_feasible(scale(architecture, width=hundredths / 100))

    high = 1
    while fits(high) and high < _MAX_WIDTH:
        high *= 2
    low = last_true(fits, high // 2, high)
    if not low:
        least = cost(scale(architecture, width=0.01))
        raise UsageError(
            f"no width of {architecture.label} is within the constraints: at a hundredth it has "
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
    """Scale by equation 3 of arXiv 1905.11946, for any real phi; below 0 the network shrinks.

        compound(reference.architecture("efficientnet_b0"), phi=1)

    Dropout grows linearly, as from B0 to B7 in the paper, and stays within [0, 0.5].

    Raises:
        UsageError: the resolution is below 1 or above the maximum of architectures.
    """
    rule, rounding = rule or CompoundRule(), rounding or Rounding()
    check_number("phi", phi, "[-100, 100]")
    try:
        depth, width = rule.alpha**phi, rule.beta**phi
        pixels = architecture.resolution * rule.gamma**phi
        resolution = round(pixels / rounding.resolution) * rounding.resolution
    except OverflowError:
        raise UsageError(f"phi {phi:g} overflows under {rule}") from None
    if not 1 <= resolution <= MAX_RESOLUTION:
        raise UsageError(
            f"resolution must be from 1 to {MAX_RESOLUTION}, got {resolution} at phi {phi:g}"
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


def compound_or_none(
    architecture: Architecture,
    phi: float,
    rule: CompoundRule | None = None,
    rounding: Rounding | None = None,
) -> Architecture | None:
    """Scale as `compound` does; return None where no such network exists."""
    try:
        return compound(architecture, phi, rule, rounding)
    except (UsageError, InvalidArchitecture):
        return None


def last_true(holds: Callable[[int], bool], low: int, high: int) -> int:
    """Bisect for the last number in [low, high] at which a condition holds that holds at `low`
    and, once it fails, nowhere above."""
    if holds(high):
        return high
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (middle, high) if holds(middle) else (low, middle)
    return low


def published_member(
    architecture: Architecture, coefficients: Coefficients, *, name: str
) -> Architecture:
    """Scale the base by one row of the published table; the resolution by its ratio to 224."""
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
    """Scale the base by the coefficients of B0 to B7."""
    return tuple(
        published_member(architecture, c, name=name)
        for c, name in zip(PUBLISHED, names, strict=True)
    )
