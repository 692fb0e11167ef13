"""Block kinds, and the plan of a block: every integer resolved, layer by layer."""

import functools
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, Protocol

from mnas_search.common.checks import alternatives
from mnas_search.common.errors import InvalidArchitecture
from mnas_search.common.plugins import _installed

Operator = Literal["conv", "batch_norm", "linear"]

_BYTES, _COUNTER = 4, 8  # of an fp32 value; of `num_batches_tracked`


@dataclass(frozen=True, slots=True, kw_only=True)
class Layer:
    """One layer with parameters; sizes are sides of square maps at batch 1.

    Attributes:
        path: of its module inside the block or the network (`blocks.2.0.conv_pw`).
        pad: pixels added (before, after) on each axis.
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
        """Shapes of the parameters by name in a `state_dict`."""
        if self.op == "batch_norm":
            return {"weight": (self.out_channels,), "bias": (self.out_channels,)}
        weight: tuple[int, ...] = (self.out_channels, self.in_channels // self.groups)
        if self.op == "conv":
            weight += (self.kernel, self.kernel)
        return {"weight": weight} | ({"bias": (self.out_channels,)} if self.bias else {})

    @property
    def weights(self) -> int:
        """Entries of the weight of a convolution or linear layer: out * in / groups * k^2."""
        return self.out_channels * (self.in_channels // self.groups) * self.kernel**2

    @property
    def params(self) -> int:
        """Trainable parameters."""
        if self.op == "batch_norm":
            return 2 * self.out_channels
        return self.weights + (self.out_channels if self.bias else 0)

    @property
    def state_bytes(self) -> int:
        """Bytes of parameters and buffers in fp32; batch norm buffers a running mean and variance
        per channel, and a counter."""
        buffers = 2 * self.out_channels * _BYTES + _COUNTER if self.op == "batch_norm" else 0
        return self.params * _BYTES + buffers

    @property
    def macs(self) -> int:
        """Multiply-adds: each weight once per output position; batch norm and biases none."""
        return 0 if self.op == "batch_norm" else self.weights * self.out_size**2


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockSpec:
    """One block and its input: the argument of a plan function.

    Attributes:
        in_size: side of the square input map.
        padding: `symmetric` or `same`.
        stride: of this block; the other fields are as in `Stage`.
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
        """The skip where it can act, else `none`; a projection of equal shape is `identity`."""
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
        in_channels, mid_channels, out_channels: widths; mid is that of the spatial convolution.
        kernel, stride, pad: of the spatial convolution; pad is (before, after).
        se_channels: width between the squeeze-and-excitation layers, 0 for none.
        shortcut: `identity`, `pool`, `projection` or `none`.
        pool_pad: (before, after) of the pooled shortcut.
        activation: name of the activation.
        in_size, out_size: sides of the maps.
        layers: the layers with parameters, in order of execution.
        params, macs: sums over the layers.
        state_bytes: bytes of parameters and of batch norm's buffers.
        peak: largest number of elements that are live at once while the block runs.
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

    @property
    def is_shortcut(self) -> bool:
        """Whether the block is no more than a shortcut: nothing, or a 1x1 convolution where the
        shape changes."""
        weighted = [layer for layer in self.layers if layer.op != "batch_norm"]
        return not weighted or (len(weighted) == 1 and weighted[0].kernel == 1)


def pointwise(
    path: str, op: Operator, in_channels: int, out_channels: int, size: int, *, bias: bool = False
) -> Layer:
    """Return a layer that keeps the size of the map."""
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
    """The fields of `Stage`, which `BlockKind.check` reads."""

    @property
    def kind(self) -> str: ...
    @property
    def kernel(self) -> int: ...
    @property
    def stride(self) -> int: ...
    @property
    def out_channels(self) -> int: ...
    @property
    def repeats(self) -> int: ...
    @property
    def expansion(self) -> float: ...
    @property
    def se_ratio(self) -> float: ...
    @property
    def skip(self) -> str: ...
    @property
    def activation(self) -> str: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class BlockKind:
    """A block kind: how to plan one block, and which module computes it.

        GC = BlockKind(plan=plan, module="grouped_module:Grouped")

    Attributes:
        plan: resolves a `BlockSpec`.
        module: `package.module:Class`, loaded only when a network is built. The class is called
            with (plan, norm, drop_path): the `BlockPlan`, a function channels -> batch norm, and
            the rate of stochastic depth.
        skips: the skips that a stage of this kind may have.
        default_skip: the skip of a block string without a skip word.
        default_expansion: the expansion of a block string without `e`; None if `e` is required.
        check: raises `InvalidArchitecture` for a stage that this kind does not support.
    """

    plan: Callable[[BlockSpec], BlockPlan]
    module: str
    skips: tuple[str, ...] = ("none", "identity", "pool")
    default_skip: str = "identity"
    default_expansion: float | None = 1
    check: Callable[[StageFields], None] = field(default=lambda stage: None)


def block_kind(name: object) -> BlockKind:
    """Return the block kind called `name`; raises `InvalidArchitecture` if there is none."""
    points = _installed("blocks")
    if not isinstance(name, str) or name not in points:
        kinds = alternatives(sorted(points))
        raise InvalidArchitecture(f"block kind must be {kinds}, got {str(name)[:40]!r}")
    return _load_block_kind(name)


@functools.cache
def _load_block_kind(name: str) -> BlockKind:
    kind: BlockKind = _installed("blocks")[name].load()
    return kind
