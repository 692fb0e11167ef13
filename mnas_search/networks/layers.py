"""The modules of the built-in block kinds; parameter names and order are timm's.

Each takes (plan, norm, drop_path): a `BlockPlan`, a function channels -> batch norm, and the rate
of stochastic depth. This module imports torch only: an exported `model.py` contains its source.
"""

from collections.abc import Callable
from typing import Protocol

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Norm = Callable[[int], nn.Module]


class Plan(Protocol):
    """The fields of a plan (`mnas_search.blocks.BlockPlan`) that the modules read."""

    @property
    def in_channels(self) -> int: ...
    @property
    def mid_channels(self) -> int: ...
    @property
    def out_channels(self) -> int: ...
    @property
    def kernel(self) -> int: ...
    @property
    def stride(self) -> int: ...
    @property
    def pad(self) -> tuple[int, int]: ...
    @property
    def se_channels(self) -> int: ...
    @property
    def shortcut(self) -> str: ...
    @property
    def pool_pad(self) -> tuple[int, int]: ...
    @property
    def activation(self) -> str: ...


ACTIVATIONS: dict[str, Callable[[], nn.Module]] = {
    "silu": lambda: nn.SiLU(inplace=True),
    "relu": lambda: nn.ReLU(inplace=True),
    "relu6": lambda: nn.ReLU6(inplace=True),
    "hard_swish": lambda: nn.Hardswish(inplace=True),
    "mish": lambda: nn.Mish(inplace=True),
    "gelu": nn.GELU,
}


class PaddedConv2d(nn.Conv2d):
    """A convolution with asymmetric padding: TensorFlow's `same` at stride 2."""

    def __init__(
        self,
        in_channels: int,
        out_channels: int,
        kernel: int,
        *,
        stride: int,
        groups: int,
        pad: tuple[int, int],
    ) -> None:
        super().__init__(
            in_channels, out_channels, kernel, stride=stride, groups=groups, bias=False
        )
        self.pad = (*pad, *pad)

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(F.pad(x, self.pad))


def conv(
    in_channels: int,
    out_channels: int,
    kernel: int = 1,
    *,
    stride: int = 1,
    groups: int = 1,
    pad: tuple[int, int] = (0, 0),
) -> nn.Conv2d:
    """Make a convolution without bias, padded by (before, after) on each axis."""
    if pad[0] != pad[1]:
        return PaddedConv2d(
            in_channels, out_channels, kernel, stride=stride, groups=groups, pad=pad
        )
    return nn.Conv2d(
        in_channels, out_channels, kernel, stride=stride, padding=pad[0], groups=groups, bias=False
    )


def chain(x: Tensor, *layers: nn.Module) -> Tensor:
    """Apply layers in order; unlike local variables of a `forward`, it keeps no intermediate map
    alive."""
    for layer in layers:
        x = layer(x)
    return x


class GlobalAvgPool(nn.Module):
    """Global average pooling, [N, C, H, W] -> [N, C]."""

    def forward(self, x: Tensor) -> Tensor:
        return x.mean((2, 3))


class SqueezeExcite(nn.Module):
    """Squeeze-and-excitation: scales channels by a gate of their means (arXiv 1709.01507)."""

    def __init__(self, channels: int, squeezed: int, activation: str) -> None:
        super().__init__()
        self.conv_reduce = nn.Conv2d(channels, squeezed, 1)
        self.act = ACTIVATIONS[activation]()
        self.conv_expand = nn.Conv2d(squeezed, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        gate = x.mean((2, 3), keepdim=True)
        gate = self.conv_expand(self.act(self.conv_reduce(gate)))
        return x * gate.sigmoid()


def squeeze_excite(plan: Plan, channels: int) -> nn.Module:
    """Make squeeze-and-excitation over `channels`, or an identity if the plan has none."""
    if not plan.se_channels:
        return nn.Identity()
    return SqueezeExcite(channels, plan.se_channels, plan.activation)


class DropPath(nn.Module):
    """Stochastic depth (arXiv 1603.09382): in training, drops each sample's branch at `rate`."""

    def __init__(self, rate: float) -> None:
        super().__init__()
        self.rate = rate

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return x
        keep = torch.rand((x.shape[0], 1, 1, 1), dtype=x.dtype, device=x.device) >= self.rate
        return x * keep / (1 - self.rate)


class Residual(nn.Module):
    """The sum of a block's branch and its shortcut, which is pooled for `pool`."""

    def __init__(self, plan: Plan, drop_path: float) -> None:
        super().__init__()
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()
        self.pool: nn.Module = nn.Identity()
        if plan.shortcut == "pool":
            before, after = plan.pool_pad
            self.pool = nn.AvgPool2d(
                3, plan.stride, before, ceil_mode=before != after, count_include_pad=False
            )

    def forward(self, branch: Tensor, x: Tensor) -> Tensor:
        return self.drop_path(branch) + self.pool(x)


class NoResidual(nn.Module):
    """The end of a block without a shortcut: the branch."""

    def forward(self, branch: Tensor, x: Tensor) -> Tensor:
        return branch


def residual(plan: Plan, drop_path: float) -> nn.Module:
    """Make the end of a block."""
    return NoResidual() if plan.shortcut == "none" else Residual(plan, drop_path)


def downsample(plan: Plan, norm: Norm) -> nn.Module:
    """Make the shortcut of a `projection`: strided 1x1 convolution, batch norm."""
    if plan.shortcut != "projection":
        return nn.Identity()
    return nn.Sequential(
        conv(plan.in_channels, plan.out_channels, stride=plan.stride), norm(plan.out_channels)
    )


class ConvBlock(nn.Module):
    """`cn`: convolution, batch norm, activation, squeeze-and-excitation."""

    def __init__(self, plan: Plan, norm: Norm, drop_path: float) -> None:
        super().__init__()
        self.conv = conv(
            plan.in_channels, plan.out_channels, plan.kernel, stride=plan.stride, pad=plan.pad
        )
        self.bn1 = norm(plan.out_channels)
        self.act = ACTIVATIONS[plan.activation]()
        self.se = squeeze_excite(plan, plan.out_channels)
        self.residual = residual(plan, drop_path)

    def forward(self, x: Tensor) -> Tensor:
        return self.residual(chain(x, self.conv, self.bn1, self.act, self.se), x)


class DepthwiseSeparable(nn.Module):
    """`ds`: depthwise convolution, squeeze-and-excitation, 1x1 without activation (MBConv1)."""

    def __init__(self, plan: Plan, norm: Norm, drop_path: float) -> None:
        super().__init__()
        width = plan.in_channels
        self.conv_dw = conv(
            width, width, plan.kernel, stride=plan.stride, groups=width, pad=plan.pad
        )
        self.bn1 = norm(width)
        self.act = ACTIVATIONS[plan.activation]()
        self.se = squeeze_excite(plan, width)
        self.conv_pw = conv(width, plan.out_channels)
        self.bn2 = norm(plan.out_channels)
        self.residual = residual(plan, drop_path)

    def forward(self, x: Tensor) -> Tensor:
        branch = chain(x, self.conv_dw, self.bn1, self.act, self.se, self.conv_pw, self.bn2)
        return self.residual(branch, x)


class DepthwiseSeparableAct(nn.Module):
    """`dsa`: as `ds`, with an activation at the end and never a shortcut (MobileNetV1)."""

    def __init__(self, plan: Plan, norm: Norm, drop_path: float) -> None:
        super().__init__()
        width = plan.in_channels
        self.conv_dw = conv(
            width, width, plan.kernel, stride=plan.stride, groups=width, pad=plan.pad
        )
        self.bn1 = norm(width)
        self.act1 = ACTIVATIONS[plan.activation]()
        self.se = squeeze_excite(plan, width)
        self.conv_pw = conv(width, plan.out_channels)
        self.bn2 = norm(plan.out_channels)
        self.act2 = ACTIVATIONS[plan.activation]()

    def forward(self, x: Tensor) -> Tensor:
        depthwise = (self.conv_dw, self.bn1, self.act1, self.se)
        return chain(x, *depthwise, self.conv_pw, self.bn2, self.act2)


class InvertedResidual(nn.Module):
    """`ir`: MBConv, 1x1 expansion, depthwise convolution, SE, 1x1 without activation."""

    def __init__(self, plan: Plan, norm: Norm, drop_path: float) -> None:
        super().__init__()
        width = plan.mid_channels
        self.conv_pw = conv(plan.in_channels, width)
        self.bn1 = norm(width)
        self.act1 = ACTIVATIONS[plan.activation]()
        self.conv_dw = conv(
            width, width, plan.kernel, stride=plan.stride, groups=width, pad=plan.pad
        )
        self.bn2 = norm(width)
        self.act2 = ACTIVATIONS[plan.activation]()
        self.se = squeeze_excite(plan, width)
        self.conv_pwl = conv(width, plan.out_channels)
        self.bn3 = norm(plan.out_channels)
        self.residual = residual(plan, drop_path)

    def forward(self, x: Tensor) -> Tensor:
        expand = (self.conv_pw, self.bn1, self.act1)
        spatial = (self.conv_dw, self.bn2, self.act2, self.se)
        return self.residual(chain(x, *expand, *spatial, self.conv_pwl, self.bn3), x)


class EdgeResidual(nn.Module):
    """`er`: Fused-MBConv, k x k expansion, SE, 1x1 without activation."""

    def __init__(self, plan: Plan, norm: Norm, drop_path: float) -> None:
        super().__init__()
        width = plan.mid_channels
        self.conv_exp = conv(
            plan.in_channels, width, plan.kernel, stride=plan.stride, pad=plan.pad
        )
        self.bn1 = norm(width)
        self.act = ACTIVATIONS[plan.activation]()
        self.se = squeeze_excite(plan, width)
        self.conv_pwl = conv(width, plan.out_channels)
        self.bn2 = norm(plan.out_channels)
        self.residual = residual(plan, drop_path)

    def forward(self, x: Tensor) -> Tensor:
        branch = chain(x, self.conv_exp, self.bn1, self.act, self.se, self.conv_pwl, self.bn2)
        return self.residual(branch, x)


class BasicBlock(nn.Module):
    """`basic`: two k x k convolutions, activation after the sum (ResNet-18 and -34)."""

    def __init__(self, plan: Plan, norm: Norm, drop_path: float) -> None:
        super().__init__()
        width = plan.out_channels
        self.conv1 = conv(plan.in_channels, width, plan.kernel, stride=plan.stride, pad=plan.pad)
        self.bn1 = norm(width)
        self.act1 = ACTIVATIONS[plan.activation]()
        # At stride 1 an odd kernel is padded symmetrically in both padding modes.
        self.conv2 = conv(width, width, plan.kernel, pad=(plan.kernel // 2, plan.kernel // 2))
        self.bn2 = norm(width)
        self.downsample = downsample(plan, norm)
        self.residual = residual(plan, drop_path)
        self.act2 = ACTIVATIONS[plan.activation]()

    def forward(self, x: Tensor) -> Tensor:
        branch = chain(x, self.conv1, self.bn1, self.act1, self.conv2, self.bn2)
        return self.act2(self.residual(branch, self.downsample(x)))


class Bottleneck(nn.Module):
    """`bottleneck`: 1x1 reduction, k x k with the stride, 1x1, activation after the sum
    (ResNet-50 and deeper)."""

    def __init__(self, plan: Plan, norm: Norm, drop_path: float) -> None:
        super().__init__()
        width = plan.mid_channels
        self.conv1 = conv(plan.in_channels, width)
        self.bn1 = norm(width)
        self.act1 = ACTIVATIONS[plan.activation]()
        self.conv2 = conv(width, width, plan.kernel, stride=plan.stride, pad=plan.pad)
        self.bn2 = norm(width)
        self.act2 = ACTIVATIONS[plan.activation]()
        self.conv3 = conv(width, plan.out_channels)
        self.bn3 = norm(plan.out_channels)
        self.downsample = downsample(plan, norm)
        self.residual = residual(plan, drop_path)
        self.act3 = ACTIVATIONS[plan.activation]()

    def forward(self, x: Tensor) -> Tensor:
        first = (self.conv1, self.bn1, self.act1)
        branch = chain(x, *first, self.conv2, self.bn2, self.act2, self.conv3, self.bn3)
        return self.act3(self.residual(branch, self.downsample(x)))
