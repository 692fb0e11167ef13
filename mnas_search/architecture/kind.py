"""Block kinds, and what the plan of a block holds."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from mnas_search.common.errors import InvalidArchitecture
from mnas_search.common.plugins import _installed

Operator = Literal["conv", "batch_norm", "linear"]

_BYTES, _COUNTER = 4, 8  # of an fp32 value; of `num_batches_tracked`


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer with parameters; sizes are sides of square maps, batch 1.

    Attributes:
        path: of its module, inside the block or the network (`blocks.2.0.conv_pw`).
        pad: pixels (before, after) on each axis.
    """

    path: str
    op: Operator
    in_channels: int
    out_channels: int
    in_size: int
    out_size: int
    kernel: int = 1
    stride: int = 1
    groups: int = 1
    pad: tuple[int, int] = (0, 0)
    bias: bool = False

    @property
    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Shapes of the parameters by their name in a `state_dict`."""
        if self.op == "batch_norm":
            return {"weight": (self.out_channels,), "bias": (self.out_channels,)}
        weight: tuple[int, ...] = (self.out_channels, self.in_channels // self.groups)
        if self.op == "conv":
            weight += (self.kernel, self.kernel)
        return {"weight": weight} | ({"bias": (self.out_channels,)} if self.bias else {})

    @property
    def weights(self) -> int:
        """Entries of a convolution's or linear layer's weight: out * in/groups * k^2."""
        return self.out_channels * (self.in_channels // self.groups) * self.kernel**2

    @property
    def params(self) -> int:
        """Trainable parameters."""
        if self.op == "batch_norm":
            return 2 * self.out_channels
        return self.weights + (self.out_channels if self.bias else 0)

    @property
    def state_bytes(self) -> int:
        """Bytes of parameters and buffers in fp32: of batch norm a running mean and variance a
        channel, and a counter."""
        buffers = 2 * self.out_channels * _BYTES + _COUNTER if self.op == "batch_norm" else 0
        return self.params * _BYTES + buffers

    @property
    def macs(self) -> int:
        """Multiply-adds: every weight once an output position; batch norm and biases none."""
        return 0 if self.op == "batch_norm" else self.weights * self.out_size**2


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockSpec:
    """What a plan function is asked for: one block with its input.

    Attributes:
        in_size: side of the square input map.
        padding: `symmetric` or `same`.
        Others as in `Stage`; `stride` is this block's own.
    """

    kind: str
    in_channels: int
    out_channels: int
    in_size: int
    kernel: int
    stride: int
    expansion: float
    se_ratio: float
    skip: str
    activation: str
    padding: str

    @property
    def shortcut(self) -> str:
        """The skip where it can act, else `none`; a projection of the same shape is `identity`."""
        widths_agree = self.in_channels == self.out_channels
        if self.skip == "projection":
            return "identity" if widths_agree and self.stride == 1 else "projection"
        acts = widths_agree and (self.stride == 1 or self.skip == "pool")
        return self.skip if acts else "none"


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockPlan:
    """One block with every integer resolved.

    Attributes:
        kind: block kind.
        in_channels, mid_channels, out_channels: widths; mid is what the spatial convolution sees.
        kernel, stride, pad: of the spatial convolution; pad is (before, after).
        se_channels: width between the squeeze-and-excitation layers, 0 for none.
        shortcut: `identity`, `pool`, `projection` or `none`.
        pool_pad: (before, after) of the pooled shortcut.
        activation: its name.
        in_size, out_size: sides of the maps.
        layers: those with parameters, in order of execution.
        params, macs: their sums.
        state_bytes: bytes of parameters, and of batch norm's buffers.
        peak: largest number of live elements while the block runs.
        saved_for_backward: elements that autograd keeps for the backward pass, input excluded.
        saves_input: whether autograd keeps the input too.
        saves_output: whether the output is among `saved_for_backward`.
    """

    kind: str
    in_channels: int
    mid_channels: int
    out_channels: int
    kernel: int
    stride: int
    pad: tuple[int, int]
    se_channels: int
    shortcut: str
    pool_pad: tuple[int, int]
    activation: str
    in_size: int
    out_size: int
    layers: tuple[Layer, ...]
    params: int
    macs: int
    state_bytes: int
    peak: int
    saved_for_backward: int
    saves_input: bool
    saves_output: bool


def pointwise(
    path: str, op: Operator, in_channels: int, out_channels: int, size: int, *, bias: bool = False
) -> Layer:
    """A layer that leaves the map's size as it is."""
    return Layer(
        path=path,
        op=op,
        in_channels=in_channels,
        out_channels=out_channels,
        in_size=size,
        out_size=size,
        bias=bias,
    )


class StageFields(Protocol):
    """The fields of a `Stage` that a block kind may check."""

    @property
    def kind(self) -> str:
        """Name of the block kind."""

    @property
    def kernel(self) -> int:
        """Size of the spatial convolution."""

    @property
    def stride(self) -> int:
        """Stride of the first block."""

    @property
    def out_channels(self) -> int:
        """Output channels of every block."""

    @property
    def repeats(self) -> int:
        """Number of blocks."""

    @property
    def expansion(self) -> float:
        """Width inside a block over its input width."""

    @property
    def se_ratio(self) -> float:
        """Squeeze-and-excitation width over the block's input width."""

    @property
    def skip(self) -> str:
        """Kind of shortcut."""

    @property
    def activation(self) -> str:
        """Name of the activation."""


def _accept(stage: StageFields) -> None:
    del stage


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockKind:
    """A block kind: how to plan one block, and which module computes it.

    Attributes:
        plan: resolves a `BlockSpec`.
        module: `package.module:Class`, loaded only when a network is built. The class is called
            with (plan, norm, drop_path): the `BlockPlan`, a function channels -> batch norm, and
            the rate of stochastic depth.
        skips: which skips a stage of this kind may have.
        default_skip: what a block string without a skip word means.
        default_expansion: what one without `e` means; None where it has to be given.
        check: raises `InvalidArchitecture` for a stage that this kind cannot be.
    """

    plan: Callable[[BlockSpec], BlockPlan]
    module: str
    skips: tuple[str, ...] = ("none", "identity", "pool")
    default_skip: str = "identity"
    default_expansion: float | None = 1
    check: Callable[[StageFields], None] = field(default=_accept)


def block_kind(name: object) -> "BlockKind":
    """The block kind called `name`; raises `InvalidArchitecture` where there is none."""
    points = _installed("blocks")
    if not isinstance(name, str) or name not in points:
        raise InvalidArchitecture(
            f"block kind {str(name)[:40]!r}; allowed: {', '.join(sorted(points))}"
        )
    return _load_block_kind(name)


@functools.cache
def _load_block_kind(name: str) -> "BlockKind":
    kind: BlockKind = _installed("blocks")[name].load()
    return kind
