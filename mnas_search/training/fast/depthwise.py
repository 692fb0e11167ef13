"""Depthwise convolutions with wide kernels that train faster on CPUs, equal up to rounding.

oneDNN computes the weight gradient of depthwise kernels wider than three columns (and of kernels
taller than the image) by a dense convolution of 16 by 16 channels; its depthwise routine computes
it in strips of at most three columns. For very few pixels per channel, a matrix product is cheaper
than oneDNN's calls.
"""

import functools
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

STRIP = 3  # columns
_FEW_VALUES = 1 << 15  # of a batch's output; for fewer, one call is cheaper than several
_FEW_PIXELS = 16  # of an image


def depthwise(x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """Convolve images [N, C, H, W] with a square kernel [C, 1, K, K] and symmetric padding."""
    if torch.is_grad_enabled() and x.shape[2] * x.shape[3] <= _FEW_PIXELS:
        out: Tensor = _ByMatrices.apply(x, weight, stride, padding)  # type: ignore[no-untyped-call]
    elif torch.is_grad_enabled() and x.numel() > _FEW_VALUES * stride**2:
        out = _InStrips.apply(x, weight, stride, padding)  # type: ignore[no-untyped-call]
    else:
        out = F.conv2d(x, weight, None, stride, padding, groups=len(weight))
    return out


class _ByMatrices(torch.autograd.Function):
    """Multiplies the pixels [N, HW] of each channel by a matrix [HW, H'W'] of kernel weights."""

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
    """Return [KK, HW H'W']: 1 where a weight maps a pixel of the input to one of the output."""
    every = torch.eye(height * width, dtype=dtype).view(-1, 1, height, width)
    seen = F.unfold(every, kernel, padding=padding, stride=stride)
    return seen.transpose(0, 1).reshape(kernel**2, -1)


def _by_channel(x: Tensor) -> Tensor:
    """Return [C, N, HW] of [N, C, H, W] in channels-last memory, via a matrix, since PyTorch
    transposes only matrices in blocks."""
    pixels = x.permute(0, 2, 3, 1).reshape(-1, x.shape[1])
    return pixels.t().contiguous().view(x.shape[1], len(x), -1)


def _by_image(pixels: Tensor, height: int) -> Tensor:
    """Invert `_by_channel`."""
    channels, count, _ = pixels.shape
    x = pixels.view(channels, -1).t().contiguous()
    return x.view(count, height, -1, channels).permute(0, 3, 1, 2)


class _InStrips(torch.autograd.Function):
    """PyTorch's convolution with gradients by strips."""

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
    """Compute the gradient of the images; at stride 1 by a convolution with the flipped kernel,
    which is faster in oneDNN."""
    if stride > 1:
        return _gradient(gradient, x, weight, stride, (padding, padding), of_x=True)
    opposite = weight.shape[2] - 1 - padding
    return F.conv2d(gradient, weight.flip((2, 3)), None, 1, opposite, groups=len(weight))


def _of_weight(gradient: Tensor, x: Tensor, weight: Tensor, stride: int, padding: int) -> Tensor:
    """Compute the gradient of the weight from those of strips of its columns.

    Rows of pixels are stored with a gap of zeros between them, so that each strip reads its
    padding from the same memory, shifted by whole pixels.
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
    # One more image, for the gap of the last one.
    pixels = torch.constant_pad_nd(x.permute(0, 2, 3, 1), (0, 0, gap, 0, 0, 0, 0, 1))
    # With wider gaps the convolution of a strip has surplus columns, whose gradient is zero.
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
    strips[-1] = strips[-1][..., len(firsts) * STRIP - kernel :]  # columns of no earlier strip
    return torch.cat(strips, 3)


def _gradient(
    gradient: Tensor, x: Tensor, weight: Tensor, stride: int, pad: tuple[int, int], *, of_x: bool
) -> Tensor:
    """Compute PyTorch's gradient of the input or of the weight."""
    both: tuple[Tensor, Tensor, Tensor] = torch.ops.aten.convolution_backward.default(
        *(gradient, x, weight, None, (stride, stride), pad, (1, 1), False, (0, 0), len(weight)),
        (of_x, not of_x, False),
    )
    return both[0] if of_x else both[1]
