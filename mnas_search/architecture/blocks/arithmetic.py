"""Rounding, padding and sizes."""

import math


def make_divisible(value: float, divisor: int = 8) -> int:
    """Round `value` to a multiple of `divisor`, never below 90 % of it. The rule of MobileNet,
    MnasNet and EfficientNet (`round_filters` in TensorFlow's efficientnet_model.py)."""
    rounded = max(divisor, int(value + divisor / 2) // divisor * divisor)
    return rounded + divisor if rounded < 0.9 * value else rounded


def round_repeats(repeats: int, depth: float) -> int:
    """Compute ceil(depth * repeats), EfficientNet's rule. Products are first rounded to nine
    decimals: 1.1 * 10 is 11 blocks, not the 12 that 11.000000000000002 would give."""
    return max(1, math.ceil(round(repeats * depth, 9)))


def squeeze_channels(in_channels: int, se_ratio: float) -> int:
    """Compute the squeeze-and-excitation width from the block's *input* width. TensorFlow's
    EfficientNet: max(1, int(input_filters * se_ratio)); 0 without SE."""
    return max(1, int(in_channels * se_ratio)) if se_ratio else 0


def strided(size: int, stride: int) -> int:
    """Compute the output size of a layer with an odd kernel: ceil(size / stride)."""
    return -(-size // stride)


def padding(mode: str, size: int, kernel: int, stride: int) -> tuple[int, int]:
    """Compute the pixels added (before, after) on each axis.

    `symmetric`: (k - 1) // 2 on both sides (PyTorch). `same`: TensorFlow's total of
    max((ceil(n / s) - 1) * s + k - n, 0), the smaller half before.
    """
    if mode == "symmetric":
        return (kernel - 1) // 2, (kernel - 1) // 2
    total = max((strided(size, stride) - 1) * stride + kernel - size, 0)
    return total // 2, total - total // 2


def drop_path_rates(last_rate: float, blocks: int) -> tuple[float, ...]:
    """Compute blocks' stochastic-depth rates: last_rate * i / N, i from 0 (EfficientNet)."""
    return tuple(last_rate * i / blocks for i in range(blocks))
