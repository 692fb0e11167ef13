"""Depthwise convolutions with wide kernels that train faster on CPUs; equal to rounding.

oneDNN computes the weight gradient of depthwise kernels wider than three columns (and of kernels
taller than the image) by a dense convolution of sixteen channels with sixteen; its depthwise
routine takes the same gradient in strips of at most three columns. Of very few pixels a channel,
the convolution as a matrix is cheaper than oneDNN's calls.
"""

import functools
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

STRIP = 3  # columns
_FEW_VALUES = 1 << 15  # of a batch's output; of fewer, one call is cheaper than several
_FEW_PIXELS = 16  # of an image


def depthwise(x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """Images [N, C, H, W] with a square kernel [C, 1, K, K] and as much padding on every side."""
    if torch.is_grad_enabled() and x.shape[2] * x.shape[3] <= _FEW_PIXELS:
        out: Tensor = _ByMatrices.apply(x, weight, stride, padding)  # type: ignore[no-untyped-call]
    elif torch.is_grad_enabled() and x.numel() > _FEW_VALUES * stride**2:
        out = _InStrips.apply(x, weight, stride, padding)  # type: ignore[no-untyped-call]
    else:
        out = F.conv2d(x, weight, None, stride, padding, groups=len(weight))
    return out


class _ByMatrices(torch.autograd.Function):
    """Each channel's pixels [N, HW] by a matrix [HW, H'W'], which has the kernel's weights."""

    @staticmethod
    def forward(ctx: Any, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
        channels, (height, width), kernel = len(weight), x.shape[2:], weight.shape[2]
        taps = _taps(height, width, kernel, stride, padding, weight.dtype)
        matrices = weight.view(channels, -1).mm(taps).view(channels, height * width, -1)
        pixels = _by_channel(x)
        ctx.save_for_backward(pixels, weight, matrices, taps)
        ctx.height = height
        return _by_image(pixels.bmm(matrices), 1 + (height + 2 * padding - kernel) // stride)

    @staticmethod
    def backward(ctx: Any, gradient: Tensor) -> tuple[Tensor, Tensor, None, None]:
        pixels, weight, matrices, taps = ctx.saved_tensors
        gradient = _by_channel(gradient)
        of_matrices = pixels.transpose(1, 2).bmm(gradient)
        of_weight = of_matrices.view(len(weight), -1).mm(taps.t()).view_as(weight)
        of_x = gradient.bmm(matrices.transpose(1, 2))
        return _by_image(of_x, ctx.height), of_weight, None, None


@functools.cache
def _taps(
    height: int, width: int, kernel: int, stride: int, padding: int, dtype: torch.dtype
) -> Tensor:
    """[KK, HW H'W']: 1 where a weight takes a pixel of the input to one of the output."""
    every = torch.eye(height * width, dtype=dtype).view(-1, 1, height, width)
    seen = F.unfold(every, kernel, padding=padding, stride=stride)
    return seen.transpose(0, 1).reshape(kernel**2, -1)


def _by_channel(x: Tensor) -> Tensor:
    """[C, N, HW] of [N, C, H, W], which is channels last. A matrix, since PyTorch copies only
    transposed matrices in blocks."""
    pixels = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])
    return pixels.t().contiguous().view(x.shape[1], len(x), -1)


def _by_image(pixels: Tensor, height: int) -> Tensor:
    """The inverse of `_by_channel`."""
    channels, count, _ = pixels.shape
    x = pixels.view(channels, -1).t().contiguous()
    return x.view(count, height, -1, channels).permute(0, 3, 1, 2)


class _InStrips(torch.autograd.Function):
    """PyTorch's convolution, with gradients of its own."""

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
    last = kernel - STRIP  # first column of the last strip
    wide = width + gap
    # An image more than there are, for the last one's gap.
    pixels = torch.constant_pad_nd(x.permute(0, 2, 3, 1), (0, 0, gap, 0, 0, 0, 0, 1))
    # With wider gaps the convolution of a strip has further columns, which count for nothing.
    further = (wide - STRIP) // stride + 1 - columns
    if further:
        gradient = F.pad(gradient, (0, further))
    size = (count, channels, height, wide)
    pitch = (height * wide * channels, 1, wide * channels, channels)
    firsts = [*range(0, last, STRIP), last]
    strips = []
    for first in firsts:
        seen = pixels.as_strided(size, pitch, (gap - padding + first) * channels)
        part, pad = weight[..., first : first + STRIP], (above, 0)
        strips.append(_gradient(gradient, seen, part, stride, pad, of_x=False))
    strips[-1] = strips[-1][..., len(firsts) * STRIP - kernel :]  # what no strip before it has
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
