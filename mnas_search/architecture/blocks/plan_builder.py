"""Builds a plan layer by layer, and tracks the memory that the layers take.

Sizes are elements of one image. A tensor is live from the layer that writes it to the last that
reads it; a part's input is live throughout, since the caller holds it. Batch norm and sums write a
new tensor; activations except GELU work in place.

For the backward pass autograd keeps what gradients are computed from; a tensor that two layers
need is kept once:

    convolution, linear     the input, or its padded copy where padding is asymmetric
    batch norm              the input
    relu                    the result
    other activations       a copy of the input, which they overwrite; gelu the input itself
    squeeze-and-excitation  the map, the gate, and what its two convolutions take
    max pool                the input, and indices of eight bytes
    average pool            the input
    mean, sum               nothing
"""

from mnas_search.architecture.blocks.arithmetic import padding, strided
from mnas_search.architecture.kind import BlockPlan, BlockSpec, Layer, pointwise

_FROM_RESULT = ("relu",)  # the gradient is computed from the result
_NEW_TENSOR = ("gelu",)  # not in place
_INDEX = 2  # an int64, in elements of fp32


class PlanBuilder:
    """Collects layers, and tracks width, size, live tensors and tensors kept for gradients.

    Attributes:
        layers: the layers with parameters, in the order of a state dict.
        channels, size: of the current map.
        peak: largest number of live elements so far.
        saved_for_backward: elements kept for the backward pass, without the part's input.
        saves_input: whether the input is kept too.
    """

    def __init__(self, channels: int, size: int, padding: str, *, shortcut: str = "none") -> None:
        self.layers: list[Layer] = []
        self.channels, self.size = channels, size
        self.peak, self.saved_for_backward, self.saves_input = 0, 0, False
        self._padding, self._shortcut = padding, shortcut
        self._in_channels, self._in_size = channels, size
        self._at_input, self._current_saved = True, False

    @property
    def saves_output(self) -> bool:
        """Whether the current map is among `saved_for_backward`."""
        return self._current_saved

    def conv(
        self, path: str, out_channels: int, *, kernel: int = 1, stride: int = 1, groups: int = 1
    ) -> tuple[int, int]:
        """Add a convolution without bias; returns its padding (before, after)."""
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
        copied = 0 if pad[0] == pad[1] else self.channels * (self.size + sum(pad)) ** 2
        if copied:
            self.saved_for_backward += copied
        else:
            self._save()
        self._write(layer, beside=copied)
        return pad

    def batch_norm(self, path: str, activation: str | None = None) -> None:
        """Add a batch norm over the current map, and an activation where one is given."""
        self._save()
        self._write(pointwise(path, "batch_norm", self.channels, self.channels, self.size))
        if activation is not None:
            self.activation(activation)

    def linear(self, path: str, out_features: int) -> None:
        """Add a linear layer with bias over a map of size 1."""
        self._save()
        self._write(pointwise(path, "linear", self.channels, out_features, self.size, bias=True))

    def activation(self, name: str) -> None:
        """Add an activation of the current map."""
        if name in _FROM_RESULT:
            self._save()
        elif name in _NEW_TENSOR:
            self._save()
            self._become(self.channels, self.size)
        else:
            self.saved_for_backward += self._elements  # a copy of the input; not yet the result

    def squeeze_excite(self, path: str, squeezed: int, activation: str) -> None:
        """Add a pool, two 1x1 convolutions with bias and a product; nothing if `squeezed` is 0."""
        if not squeezed:
            return
        self.layers += [
            pointwise(f"{path}.conv_reduce", "conv", self.channels, squeezed, 1, bias=True),
            pointwise(f"{path}.conv_expand", "conv", squeezed, self.channels, 1, bias=True),
        ]
        self._save()
        # Means, what the activation gives (and takes, unless it is kept as its result), sigmoids.
        inside = squeezed if activation in _FROM_RESULT else 2 * squeezed
        self.saved_for_backward += 2 * self.channels + inside
        self._become(self.channels, self.size, beside=2 * self.channels)

    def max_pool(self, stride: int) -> None:
        """Add a max pool, which writes indices beside its result."""
        self._save()
        size = strided(self.size, stride)
        indices = _INDEX * self.channels * size**2
        self.saved_for_backward += indices
        self._become(self.channels, size, beside=indices)

    def global_pool(self) -> None:
        """Add the average over the whole map."""
        self._become(self.channels, 1)

    def add_shortcut(self, stride: int) -> None:
        """Add the sum with the block's input, pooled or projected first as the shortcut says."""
        if self._shortcut == "none":
            return
        if self._shortcut == "projection":
            self._project("downsample", stride)
        if self._shortcut == "identity":
            self._become(self.channels, self.size)
        else:
            self.saves_input = True
            self._become(self.channels, self.size, beside=self._elements)

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
        norm = pointwise(f"{path}.1", "batch_norm", self.channels, self.channels, self.size)
        self.layers += [conv, norm]
        self.saved_for_backward += self._elements  # the batch norm's input
        self._alive(3 * self._elements)  # the branch, the batch norm's input and output

    def _write(self, layer: Layer, *, beside: int = 0) -> None:
        self.layers.append(layer)
        self._become(layer.out_channels, layer.out_size, beside=beside)

    def _become(self, channels: int, size: int, *, beside: int = 0) -> None:
        """Replace the current map by a new one, with `beside` further elements live meanwhile."""
        before = 0 if self._at_input else self._elements
        self.channels, self.size = channels, size
        self._at_input, self._current_saved = False, False
        self._alive(before + self._elements + beside)

    @property
    def _elements(self) -> int:
        return self.channels * self.size**2

    def _alive(self, elements: int) -> None:
        self.peak = max(self.peak, self._in_channels * self._in_size**2 + elements)

    def _save(self) -> None:
        if self._at_input:
            self.saves_input = True
        elif not self._current_saved:
            self.saved_for_backward += self._elements
            self._current_saved = True


def finish_block(
    spec: BlockSpec,
    builder: PlanBuilder,
    *,
    mid_channels: int,
    pad: tuple[int, int],
    se_channels: int,
    last_activation: bool = False,
) -> BlockPlan:
    """Add the shortcut and return the plan of the block.

    Args:
        mid_channels, pad, se_channels: as in `BlockPlan`.
        last_activation: whether an activation follows the sum with the shortcut.
    """
    builder.add_shortcut(spec.stride)
    if last_activation:
        builder.activation(spec.activation)
    pool_pad = padding(spec.padding, spec.in_size, 3, spec.stride)
    return BlockPlan(
        kind=spec.kind,
        in_channels=spec.in_channels,
        mid_channels=mid_channels,
        out_channels=builder.channels,
        kernel=spec.kernel,
        stride=spec.stride,
        pad=pad,
        se_channels=se_channels,
        shortcut=spec.shortcut,
        pool_pad=pool_pad,
        activation=spec.activation,
        in_size=spec.in_size,
        out_size=builder.size,
        layers=tuple(builder.layers),
        params=sum(layer.params for layer in builder.layers),
        macs=sum(layer.macs for layer in builder.layers),
        state_bytes=sum(layer.state_bytes for layer in builder.layers),
        peak=builder.peak,
        saved_for_backward=builder.saved_for_backward,
        saves_input=builder.saves_input,
        saves_output=builder.saves_output,
    )
