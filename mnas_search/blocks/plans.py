"""What a plan holds, and the pen that writes one layer after the other."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

from mnas_search.blocks.arithmetic import padding, strided

if TYPE_CHECKING:
    from mnas_search.architecture import Stage

Operator = Literal["conv", "batch_norm", "linear"]


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
        peak: largest number of live elements while the block runs (`LayerPen`).
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
    peak: int


class LayerPen:
    """Writes layers down one after the other, following width, size and live tensors.

    A tensor is live from the layer that writes it to the last that reads it. While a layer runs,
    its input and its output are live, batch norm included (it writes a new tensor; activations
    work in place), and what is kept for later: the block's input under a shortcut, the map that
    squeeze-and-excitation will scale.
    """

    def __init__(self, channels: int, size: int, padding: str, *, shortcut: str = "none") -> None:
        self.layers: list[Layer] = []
        self.channels, self.size = channels, size
        self.peak = 0
        self._padding = padding
        self._shortcut = shortcut
        self._in_channels, self._in_size = channels, size
        self._input = channels * size * size
        self._at_input = True

    @property
    def _elements(self) -> int:
        return self.channels * self.size * self.size

    def _alive(self, elements: int) -> None:
        # The input counts among a first layer's own tensors and must not be counted twice.
        kept = 0 if self._at_input or self._shortcut == "none" else self._input
        self.peak = max(self.peak, elements + kept)

    def conv(
        self, path: str, out_channels: int, *, kernel: int = 1, stride: int = 1, groups: int = 1
    ) -> tuple[int, int]:
        """A convolution without bias; returns its padding (before, after)."""
        pad = padding(self._padding, self.size, kernel, stride)
        layer = Layer(
            path=path,
            op="conv",
            in_channels=self.channels,
            out_channels=out_channels,
            in_size=self.size,
            out_size=strided(self.size, stride),
            kernel=kernel,
            stride=stride,
            groups=groups,
            pad=pad,
        )
        self._write(layer)
        return pad

    def batch_norm(self, path: str) -> None:
        """A batch norm over the current map."""
        self._write(_pointwise(path, "batch_norm", self.channels, self.channels, self.size))

    def linear(self, path: str, out_features: int) -> None:
        """A linear layer with bias over a map of size 1."""
        self._write(_pointwise(path, "linear", self.channels, out_features, self.size, bias=True))

    def squeeze_excite(self, path: str, squeezed: int) -> None:
        """Pool, two 1x1 convolutions with bias, and a product with the map; nothing for 0."""
        if not squeezed:
            return
        self.layers.append(
            _pointwise(f"{path}.conv_reduce", "conv", self.channels, squeezed, 1, bias=True)
        )
        self.layers.append(
            _pointwise(f"{path}.conv_expand", "conv", squeezed, self.channels, 1, bias=True)
        )
        self._alive(2 * self._elements + self.channels)

    def pool(self, stride: int) -> None:
        """A pooling layer without parameters."""
        before = self._elements
        self.size = strided(self.size, stride)
        self._alive(before + self._elements)
        self._at_input = False

    def global_pool(self) -> None:
        """The average over the whole map."""
        before = self._elements
        self.size = 1
        self._alive(before + self._elements)
        self._at_input = False

    def add_shortcut(self, stride: int) -> None:
        """The block's end: the shortcut, pooled or projected with the stride where it is so, is
        added in place."""
        if self._shortcut == "projection":
            self._project("downsample", stride)
        pooled = self._elements if self._shortcut == "pool" else 0
        self._alive(self._elements + pooled)

    def _project(self, path: str, stride: int) -> None:
        conv = Layer(
            path=f"{path}.0",
            op="conv",
            in_channels=self._in_channels,
            out_channels=self.channels,
            in_size=self._in_size,
            out_size=self.size,
            stride=stride,
        )
        norm = _pointwise(f"{path}.1", "batch_norm", self.channels, self.channels, self.size)
        self.layers += [conv, norm]
        self._alive(3 * self._elements)  # the branch, and the batch norm's input and output

    def _write(self, layer: Layer) -> None:
        before = self._elements
        self.layers.append(layer)
        self.channels, self.size = layer.out_channels, layer.out_size
        self._alive(before + self._elements)
        self._at_input = False


def _pointwise(
    path: str, op: Operator, in_channels: int, out_channels: int, size: int, *, bias: bool = False
) -> Layer:
    return Layer(
        path=path,
        op=op,
        in_channels=in_channels,
        out_channels=out_channels,
        in_size=size,
        out_size=size,
        bias=bias,
    )


def finish_block(
    spec: BlockSpec, pen: LayerPen, *, mid_channels: int, pad: tuple[int, int], se_channels: int
) -> BlockPlan:
    """Close a plan: the shortcut, and the sums over the layers."""
    pen.add_shortcut(spec.stride)
    pool_pad = padding(spec.padding, spec.in_size, 3, spec.stride)
    return BlockPlan(
        kind=spec.kind,
        in_channels=spec.in_channels,
        mid_channels=mid_channels,
        out_channels=pen.channels,
        kernel=spec.kernel,
        stride=spec.stride,
        pad=pad,
        se_channels=se_channels,
        shortcut=spec.shortcut,
        pool_pad=pool_pad,
        activation=spec.activation,
        in_size=spec.in_size,
        out_size=pen.size,
        layers=tuple(pen.layers),
        params=sum(layer.params for layer in pen.layers),
        macs=sum(layer.macs for layer in pen.layers),
        peak=pen.peak,
    )


def _accept(stage: "Stage") -> None:
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
    check: Callable[["Stage"], None] = field(default=_accept)
