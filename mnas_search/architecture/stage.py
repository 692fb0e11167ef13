"""One stage of a network, and the stem."""

import math
from dataclasses import dataclass

from mnas_search.architecture.kind import block_kind
from mnas_search.common.errors import InvalidArchitecture

ACTIVATIONS = ("silu", "relu", "relu6", "hard_swish", "mish", "gelu")


SKIPS = ("none", "identity", "pool", "projection")


# Bounds that no sensible network meets: they turn a typing error into a message instead of a
# machine out of memory.
MAX_CHANNELS = 65_536


MAX_REPEATS = 1_000


MAX_KERNEL = 63


@dataclass(frozen=True, slots=True, kw_only=True)
class Stem:
    """The first convolution, with batch norm and activation.

    Attributes:
        channels: output channels.
        kernel: odd kernel size.
        stride: 1 or 2.
        pool: whether a 3x3 max pool of stride 2 follows, as in ResNet.
    """

    channels: int = 32
    kernel: int = 3
    stride: int = 2
    pool: bool = False

    def __post_init__(self) -> None:
        _integer("stem channels", self.channels, 1, MAX_CHANNELS)
        _odd("stem kernel", self.kernel)
        _one_of("stem stride", self.stride, (1, 2))
        if not isinstance(self.pool, bool):
            raise InvalidArchitecture(f"stem pool is {self.pool!r}; allowed: true, false")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """`repeats` blocks of one kind; only the first one strides and changes the width.

    Attributes:
        kind: block kind (`cn`, `ds`, `dsa`, `ir`, `er`, `basic`, `bottleneck`, or a plug-in's).
        kernel: odd size of the spatial convolution.
        stride: 1 or 2, of the first block.
        expansion: width inside the block over its input width (MBConv's t); of a `bottleneck`
            over its output width (ResNet's 1/4); 1 for kinds that have no width of their own.
        out_channels: output channels of every block.
        repeats: number of blocks.
        se_ratio: squeeze-and-excitation width over the block's input width; 0 for none.
        skip: `identity` (where stride is 1 and widths agree), `pool` (3x3 average pool of the
            input with the block's stride, where widths agree), `projection` (ResNet's: identity
            where stride is 1 and widths agree, else a 1x1 convolution with the block's stride and
            batch norm), or `none`. Not every kind has every skip.
        activation: one of `ACTIVATIONS`.

    An `ir` of expansion 1 becomes a `ds`: without expansion MBConv has no expansion convolution
    (TensorFlow's EfficientNet).
    """

    kind: str
    kernel: int
    stride: int
    out_channels: int
    repeats: int
    expansion: float = 1
    se_ratio: float = 0.0
    skip: str = "identity"
    activation: str = "silu"

    def __post_init__(self) -> None:
        _odd("kernel", self.kernel)
        _one_of("stride", self.stride, (1, 2))
        _integer("out_channels", self.out_channels, 1, MAX_CHANNELS)
        _integer("repeats", self.repeats, 1, MAX_REPEATS)
        _number("expansion", self.expansion, 0, 64, low_open=True)
        _number("se_ratio", self.se_ratio, 0, 1)
        _one_of("skip", self.skip, SKIPS)
        _one_of("activation", self.activation, ACTIVATIONS)
        # One spelling a value, or equal networks would differ as JSON (6 and 6.0, 0 and 0.0).
        object.__setattr__(self, "expansion", _plain(self.expansion))
        object.__setattr__(self, "se_ratio", float(self.se_ratio) + 0.0)  # no -0.0
        if self.kind == "ir" and self.expansion == 1:
            object.__setattr__(self, "kind", "ds")
        kind = block_kind(self.kind)
        if self.skip not in kind.skips:
            raise InvalidArchitecture(
                f"skip is {self.skip!r} on {self.kind!r}; allowed: {', '.join(kind.skips)}"
            )
        kind.check(self)

    def skip_acts(self, in_channels: int) -> bool:
        """Whether any block of the stage, whose input is `in_channels` wide, has a shortcut."""
        if self.skip in ("none", "projection"):
            return self.skip == "projection"
        first = in_channels == self.out_channels and (self.stride == 1 or self.skip == "pool")
        return first or self.repeats > 1


def _short(value: object) -> str:
    text = ascii(value)
    return text if len(text) <= 60 else text[:57] + "..."


def _plain(value: float) -> float:
    return int(value) if value == int(value) else float(value)


def _integer(name: str, value: object, low: int, high: int) -> None:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InvalidArchitecture(
            f"{name} is {_short(value)}; allowed: a whole number from {low} to {high}"
        )


def _odd(name: str, value: object) -> None:
    _integer(name, value, 1, MAX_KERNEL)
    if isinstance(value, int) and value % 2 == 0:
        raise InvalidArchitecture(f"{name} is {value}; allowed: odd numbers up to {MAX_KERNEL}")


def _number(
    name: str,
    value: object,
    low: float,
    high: float,
    *,
    low_open: bool = False,
    high_open: bool = False,
) -> None:
    good = isinstance(value, (int, float)) and not isinstance(value, bool)
    if good:
        try:
            number = float(value)  # type: ignore[arg-type]
        except OverflowError:
            number = math.inf
        good = (
            math.isfinite(number)
            and (number > low if low_open else number >= low)
            and (number < high if high_open else number <= high)
        )
    if not good:
        left, right = "(" if low_open else "[", ")" if high_open else "]"
        raise InvalidArchitecture(
            f"{name} is {_short(value)}; allowed: a number in {left}{low:g}, {high:g}{right}"
        )


def _one_of(name: str, value: object, allowed: tuple[object, ...]) -> None:
    if isinstance(value, bool) or value not in allowed:
        choices = ", ".join(str(a) for a in allowed)
        raise InvalidArchitecture(f"{name} is {_short(value)}; allowed: {choices}")
