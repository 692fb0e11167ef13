"""Layers that train faster; parameters, outputs and gradients are equal up to rounding.

`use_lean_layers` removes operations that no result needs, on every device: copies before SiLU, and
the counters of batch norms. The other layers are for CPUs. Wide depthwise kernels use
`depthwise.py`. For few pixels, oneDNN's 1x1 convolution converts memory layouts several times,
where one matrix product suffices. The gradient of a mean is materialised at full size, not
channels last, before it is divided; that of a sum is not.
"""

from typing import final

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mnas_search.networks.layers import GlobalAvgPool, SqueezeExcite
from mnas_search.training.fast.depthwise import STRIP, depthwise

_FEW_PIXELS = 4096  # in a batch; for more, oneDNN's convolution is faster


@final
class FastDepthwise(nn.Module):
    """A depthwise `nn.Conv2d` without bias, with the same weight."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight = conv.weight
        self.stride, self.padding = int(conv.stride[0]), int(conv.padding[0])
        self.pad = getattr(conv, "pad", None)  # of a PaddedConv2d

    def forward(self, x: Tensor) -> Tensor:
        """Compute the layer on images [N, C, H, W]."""
        if self.pad is not None:
            x = F.pad(x, self.pad)
        return depthwise(x, self.weight, self.stride, self.padding)


@final
class FastSqueezeExcite(nn.Module):
    """A `SqueezeExcite` with the same parameters."""

    def __init__(self, block: SqueezeExcite) -> None:
        super().__init__()
        self.conv_reduce, self.act = block.conv_reduce, block.act
        self.conv_expand = block.conv_expand

    def forward(self, x: Tensor) -> Tensor:
        """Compute the layer on images [N, C, H, W]."""
        reduce, expand = self.conv_reduce, self.conv_expand
        gate = self.act(F.linear(_means(x), reduce.weight.flatten(1), reduce.bias))
        gate = F.linear(gate, expand.weight.flatten(1), expand.bias).sigmoid()
        return x * gate[:, :, None, None]


@final
class FastGlobalAvgPool(nn.Module):
    """A `GlobalAvgPool`."""

    def forward(self, x: Tensor) -> Tensor:
        """Compute the layer on images [N, C, H, W]."""
        return _means(x)


def _means(x: Tensor) -> Tensor:
    return x.sum((2, 3)) / (x.shape[2] * x.shape[3])


@final
class FastPointwise(nn.Module):
    """A 1x1 `nn.Conv2d` without bias, with the same weight."""

    def __init__(self, conv: nn.Conv2d) -> None:
        super().__init__()
        self.weight = conv.weight

    def forward(self, x: Tensor) -> Tensor:
        """Compute the layer on images [N, C, H, W]; for few pixels the output is channels last."""
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
        """Compute the layer on images [N, C, H, W]."""
        state = (self.weight, self.bias, self.running_mean, self.running_var)
        cudnn = torch.backends.cudnn.enabled
        return torch.batch_norm(x, *state, self.training, self.momentum, self.eps, cudnn)


def use_lean_layers(network: nn.Module) -> None:
    """Replace layers by ones with fewer operations on any device, in place; the state dict keeps
    its names."""
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.SiLU | nn.Hardswish | nn.Mish):
            # Their gradients need the input, which in-place operation would copy first.
            module.inplace = False
        elif type(module) is nn.BatchNorm2d and _running(module):
            network.set_submodule(name, FastBatchNorm(module))


def use_products(network: nn.Module) -> None:
    """Replace squeeze-and-excitation, pooling and 1x1 convolutions of few pixels by matrix
    products and sums, in place; the state dict keeps its names."""
    for name, module in list(network.named_modules()):
        if isinstance(module, SqueezeExcite):
            network.set_submodule(name, FastSqueezeExcite(module))
        elif isinstance(module, GlobalAvgPool):
            network.set_submodule(name, FastGlobalAvgPool())
        elif isinstance(module, nn.Conv2d) and _pointwise(module):
            network.set_submodule(name, FastPointwise(module))


def use_fast_layers(network: nn.Module) -> None:
    """Replace layers by ones that are faster on CPUs, in place; the state dict keeps its names."""
    use_lean_layers(network)
    use_products(network)
    for name, module in list(network.named_modules()):
        if isinstance(module, nn.Conv2d) and _wide_depthwise(module):
            network.set_submodule(name, FastDepthwise(module))


def _running(norm: nn.BatchNorm2d) -> bool:
    return norm.track_running_stats and norm.momentum is not None


def _wide_depthwise(conv: nn.Conv2d) -> bool:
    # With wider padding an image and its gap would be narrower than the strips.
    square = len({*conv.kernel_size}) == len({*conv.stride}) == 1
    return (
        square
        and conv.groups == conv.in_channels == conv.out_channels
        and conv.kernel_size[0] > STRIP
        and conv.padding in {(side, side) for side in range(conv.kernel_size[0] - STRIP + 1)}
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
