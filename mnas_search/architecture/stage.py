"""One stage of a network, and the stem."""

from dataclasses import dataclass
from functools import partial

from mnas_search.architecture.kind import block_kind
from mnas_search.common import checks
from mnas_search.common.errors import InvalidArchitecture

ACTIVATIONS = ("silu", "relu", "relu6", "hard_swish", "mish", "gelu")
SKIPS = ("none", "identity", "pool", "projection")

# Far above any sensible network: a typing error becomes a message instead of exhausted memory.
MAX_CHANNELS = 65_536
MAX_REPEATS = 1_000
MAX_KERNEL = 63

check_integer = partial(checks.check_integer, error=InvalidArchitecture)
check_number = partial(checks.check_number, error=InvalidArchitecture)
check_choice = partial(checks.check_choice, error=InvalidArchitecture)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stem:
    """The first convolution, followed by batch norm and activation.

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
        check_integer("stem channels", self.channels, 1, MAX_CHANNELS)
        check_integer("stem kernel", self.kernel, 1, MAX_KERNEL, odd=True)
        check_choice("stem stride", self.stride, (1, 2))
        if not isinstance(self.pool, bool):
            raise InvalidArchitecture(f"stem pool must be true or false, got {self.pool!r}")


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """`repeats` blocks of one kind; only the first one strides and changes the width.

    Two MBConv6 blocks of MnasNet-A1 (arXiv 1807.11626, figure 7):

        Stage(kind="ir", kernel=3, stride=2, out_channels=24, repeats=2, expansion=6)

    An `ir` of expansion 1 becomes a `ds`: without expansion, MBConv has no expansion convolution
    (TensorFlow's EfficientNet).

    Attributes:
        kind: block kind (`cn`, `ds`, `dsa`, `ir`, `er`, `basic`, `bottleneck`, or a plug-in's).
        kernel: odd size of the spatial convolution.
        stride: 1 or 2, of the first block.
        expansion: width inside the block over its input width (MBConv's t); for `bottleneck` over
            its output width (ResNet's 1/4); 1 for kinds without an inner width.
        out_channels: output channels of every block.
        repeats: number of blocks.
        se_ratio: squeeze-and-excitation width over the block's input width; 0 for none.
        skip: `identity` (where stride is 1 and widths agree), `pool` (3x3 average pool of the
            input with the block's stride, where widths agree), `projection` (ResNet's: identity
            where stride is 1 and widths agree, else a 1x1 convolution with the block's stride and
            batch norm), or `none`. Each kind supports some of them.
        activation: one of `ACTIVATIONS`.
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
        check_integer("kernel", self.kernel, 1, MAX_KERNEL, odd=True)
        check_choice("stride", self.stride, (1, 2))
        check_integer("out_channels", self.out_channels, 1, MAX_CHANNELS)
        check_integer("repeats", self.repeats, 1, MAX_REPEATS)
        check_number("expansion", self.expansion, "(0, 64]")
        check_number("se_ratio", self.se_ratio, "[0, 1]")
        check_choice("skip", self.skip, SKIPS)
        check_choice("activation", self.activation, ACTIVATIONS)
        # One spelling per value, or equal networks would differ as JSON (6 and 6.0, 0 and 0.0).
        whole = self.expansion == int(self.expansion)
        object.__setattr__(self, "expansion", (int if whole else float)(self.expansion))
        object.__setattr__(self, "se_ratio", float(self.se_ratio) + 0.0)  # no -0.0
        if self.kind == "ir" and self.expansion == 1:
            object.__setattr__(self, "kind", "ds")
        kind = block_kind(self.kind)
        check_choice(f"skip of {self.kind!r}", self.skip, kind.skips)
        kind.check(self)

    def skip_acts(self, in_channels: int) -> bool:
        """Tell whether any block of the stage has a shortcut, for an input of `in_channels`."""
        if self.skip in ("none", "projection"):
            return self.skip == "projection"
        first = in_channels == self.out_channels and (self.stride == 1 or self.skip == "pool")
        return first or self.repeats > 1
