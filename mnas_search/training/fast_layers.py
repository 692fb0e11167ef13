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
from torch.autograd.function import once_differentiable
from torch.nn import functional as F

from mnas_search.networks.layers import SqueezeExcite

_STRIP = 3  # columns
_FEW_PIXELS = 4096  # in a batch; of more, oneDNN's convolution is the faster one


class _Depthwise(torch.autograd.Function):
    """A depthwise convolution with a square kernel and padding."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        ctx.save_for_backward(x, weight)
        ctx.stride, ctx.padding = stride, padding
        return F.conv2d(x, weight, None, stride, padding, groups=len(weight))

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor | None, Tensor, None, None]:
        x, weight = ctx.saved_tensors
        stride, padding = ctx.stride, ctx.padding
        to_x: Tensor | None = None
        if ctx.needs_input_grad[0]:
            to_x = _gradients(gradient, x, weight, stride, (padding, padding), of_x=True)
        kernel, (rows, columns) = weight.shape[2], gradient.shape[2:]
        # The depthwise routine also wants images at least as tall as the kernel.
        tall = x.shape[2] >= kernel
        above = 0 if tall else padding
        below = 0 if tall else (rows - 1) * stride + kernel - padding - x.shape[2]
        strips = []
        for first in range(0, kernel, _STRIP):
            part = weight[..., first : first + _STRIP]
            left = padding - first
            right = (columns - 1) * stride + part.shape[3] - left - x.shape[3]
            if min(left, right) <= -x.shape[3]:  # nothing
                strips.append(torch.zeros_like(part))
                continue
            seen = F.pad(x, (left, right, above, below))  # what these columns see of the image
            pad = (padding if tall else 0, 0)
            strips.append(_gradients(gradient, seen, part, stride, pad, of_x=False))
        return to_x, torch.cat(strips, 3), None, None


def _gradients(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: int, pad: tuple[int, int], *, of_x: bool
) -> Tensor:
    both: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward(
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


def use_fast_layers(network: nn.Module) -> None:
    """Put the faster layers in, in place; the state dict stays as it was."""
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.SiLU | nn.Hardswish | nn.Mish):
            # Their gradients need what they would overwrite: in place, they first copy it.
            module.inplace = False
        elif isinstance(module, SqueezeExcite):
            network.set_submodule(name, FastSqueezeExcite(module))
        elif isinstance(module, nn.Conv2d) and _wide_depthwise(module):
            network.set_submodule(name, FastDepthwise(module))
        elif isinstance(module, nn.Conv2d) and _pointwise(module):
            network.set_submodule(name, FastPointwise(module))


def _wide_depthwise(conv: nn.Conv2d) -> bool:
    square = len({*conv.kernel_size}) == len({*conv.stride}) == 1
    return (
        square
        and conv.groups == conv.in_channels == conv.out_channels
        and conv.kernel_size[0] > _STRIP
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
