"""Layers that train faster on CPUs; the same function, parameters and gradients to rounding.

oneDNN computes the weight gradient of depthwise kernels wider than three columns (and of kernels
taller than the image) by a dense convolution of sixteen channels with sixteen; its depthwise
routine takes the same gradient in strips of at most three columns. A 1x1 convolution of few
pixels costs it several conversions of memory layout, where a matrix product does. And the gradient
of a mean is written out at full size before it is divided, that of a sum is not.
"""

from typing import Any, final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mnas_search.networks.layers import SqueezeExcite

_STRIP = 3  # columns
_FEW_VALUES = 1 << 15  # of a batch's output; of fewer, one call is cheaper than several
_FEW_PIXELS = 4096  # in a batch; of more, oneDNN's convolution is the faster one


class _Depthwise(torch.autograd.Function):
    """A depthwise convolution with a square kernel and padding."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(x, weight, None, stride, padding, groups=len(weight))

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, None, None]:
        x, weight = ctx.saved_tensors
        how = (gradient, x, weight, ctx.stride, ctx.padding)
        to_x = _of_images(*how) if ctx.needs_input_grad[0] else None
        return to_x, _of_weight(*how), None, None


def _of_images(gradient: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """The gradient of the images. Without a stride it is the convolution with the kernel turned,
    in which oneDNN is the faster one."""
    if stride > 1:
        return _gradient(gradient, x, weight, stride, (padding, padding), of_x=True)
    opposite = weight.shape[2] - 1 - padding
    return F.conv2d(gradient, weight.flip((2, 3)), None, 1, opposite, groups=len(weight))


def _of_weight(gradient: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """The gradient of the weight, from those of strips of its columns.

    The rows of pixels lie one after the other with a gap of zeros between them, so that each strip
    sees its padding in the same memory, the images shifted by whole pixels.
    """
    kernel, (rows, columns), above = weight.shape[2], gradient.shape[2:], padding
    if x.shape[2] < kernel:
        # The depthwise routine also wants images at least as tall as the kernel.
        x = F.pad(x, (0, 0, padding, (rows - 1) * stride + kernel - padding - x.shape[2]))
        above = 0
    count, channels, height, width = x.shape
    gap = max(padding, (columns - 1) * stride + kernel - padding - width)
    last = kernel - _STRIP  # first column of the last strip
    wide, end = width + gap, gap - padding + last
    pixels = x.new_empty(count * height * wide + end, channels)
    images = pixels[:-end].view(count, height, wide, channels)
    images[:, :, gap:] = x.permute(0, 2, 3, 1)
    images[:, :, :gap], pixels[-end:] = 0, 0
    # With wider gaps the convolution of a strip has further columns, which count for nothing.
    further = (wide - _STRIP) // stride + 1 - columns
    if further:
        gradient = F.pad(gradient, (0, further))
    size = (count, channels, height, wide)
    pitch = (height * wide * channels, 1, wide * channels, channels)
    firsts = [*range(0, last, _STRIP), last]
    strips = []
    for first in firsts:
        seen = pixels.as_strided(size, pitch, (gap - padding + first) * channels)
        part, pad = weight[..., first : first + _STRIP], (above, 0)
        strips.append(_gradient(gradient, seen, part, stride, pad, of_x=False))
    strips[-1] = strips[-1][..., len(firsts) * _STRIP - kernel :]  # what no strip before it has
    return torch.cat(strips, 3)


def _gradient(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: int, pad: tuple[int, int], *, of_x: bool
) -> Tensor:
    """PyTorch's own, of the input or the weight."""
    both: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward.default(
        gradient,
        x,
        weight,
        None,
        (stride, stride),
        pad,
        (1, 1),
        False,
        (0, 0),
        len(weight),
        (of_x, not of_x, False),
    )
    return both[0] if of_x else both[1]


@final
class FastDepthwise(nn.Module):
    """A depthwise `nn.Conv2d` without bias, with the same weight."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight = conv.weight
        self.stride, self.padding = int(conv.stride[0]), int(conv.padding[0])
        self.pad = getattr(conv, "pad", None)  # of a PaddedConv2d

    def forward(self, x: Tensor) -> Tensor:
        """Images [N, C, H, W]."""
        if self.pad is not None:
            x = F.pad(x, self.pad)
        if x.numel() <= _FEW_VALUES * self.stride**2:
            return F.conv2d(
                x, self.weight, None, self.stride, self.padding, groups=len(self.weight)
            )
        out: Tensor = _Depthwise.apply(x, self.weight, self.stride, self.padding)  # type: ignore[no-untyped-call]
        return out


@final
class FastSqueezeExcite(nn.Module):
    """A `SqueezeExcite` with the same parameters."""

    def __init__(self, block: SqueezeExcite) -> None:
        super().__init__()
        self.conv_reduce, self.act, self.conv_expand = (
            block.conv_reduce,
            block.act,
            block.conv_expand,
        )

    def forward(self, x: Tensor) -> Tensor:
        """Images [N, C, H, W]."""
        count, channels, height, width = x.shape
        reduce, expand = self.conv_reduce, self.conv_expand
        gate = x.sum((2, 3)) / (height * width)
        gate = self.act(F.linear(gate, reduce.weight.view(-1, channels), reduce.bias))
        gate = F.linear(gate, expand.weight.view(channels, -1), expand.bias).sigmoid()
        return x * gate.view(count, channels, 1, 1)


@final
class FastPointwise(nn.Module):
    """A 1x1 `nn.Conv2d` without bias, with the same weight."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight = conv.weight

    def forward(self, x: Tensor) -> Tensor:
        """Images [N, C, H, W]; the output is channels last where they are few."""
        count, channels, height, width = x.shape
        if count * height * width > _FEW_PIXELS:
            return F.conv2d(x, self.weight)
        pixels = x.permute(0, 2, 3, 1).reshape(-1, channels)
        out = pixels.mm(self.weight.view(-1, channels).t())
        return out.view(count, height, width, -1).permute(0, 3, 1, 2)


@final
class FastBatchNorm(nn.Module):
    """An `nn.BatchNorm2d` with the same parameters and statistics; batches are not counted."""

    running_mean: Tensor
    running_var: Tensor

    def __init__(self, norm: nn.BatchNorm2d) -> None:
        super().__init__()
        self.weight, self.bias = norm.weight, norm.bias
        for name, buffer in norm.named_buffers():
            self.register_buffer(name, buffer)
        assert norm.momentum is not None
        self.momentum, self.eps, self.training = norm.momentum, norm.eps, norm.training

    def forward(self, x: Tensor) -> Tensor:
        """Images [N, C, H, W]."""
        return torch.batch_norm(
            x,
            self.weight,
            self.bias,
            self.running_mean,
            self.running_var,
            self.training,
            self.momentum,
            self.eps,
            False,
        )


def use_fast_layers(network: nn.Module) -> None:
    """Put the faster layers in, in place; the state dict keeps its names."""
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.SiLU | nn.Hardswish | nn.Mish):
            # Their gradients need what they would overwrite: in place, they first copy it.
            module.inplace = False
        elif isinstance(module, SqueezeExcite):
            network.set_submodule(name, FastSqueezeExcite(module))
        elif type(module) is nn.BatchNorm2d and _running(module):
            network.set_submodule(name, FastBatchNorm(module))
        elif isinstance(module, nn.Conv2d) and _wide_depthwise(module):
            network.set_submodule(name, FastDepthwise(module))
        elif isinstance(module, nn.Conv2d) and _pointwise(module):
            network.set_submodule(name, FastPointwise(module))


def _running(norm: nn.BatchNorm2d) -> bool:
    return norm.track_running_stats and norm.momentum is not None


def _wide_depthwise(conv: nn.Conv2d) -> bool:
    # With wider padding an image and its gap would be narrower than what the strips see.
    square = len({*conv.kernel_size}) == len({*conv.stride}) == 1
    return (
        square
        and conv.groups == conv.in_channels == conv.out_channels
        and conv.kernel_size[0] > _STRIP
        and conv.padding in {(side, side) for side in range(conv.kernel_size[0] - _STRIP + 1)}
        and conv.padding_mode == "zeros"
        and conv.dilation == (1, 1)
        and conv.bias is None
    )


def _pointwise(conv: nn.Conv2d) -> bool:
    return (
        conv.kernel_size == conv.stride == (1, 1)
        and conv.padding == (0, 0)
        and conv.groups == 1
        and conv.bias is None
    )
