"""A stand-in for torchvision's EfficientNet, to run exports if torchvision is not installed.

Arguments, structure and therefore parameter names are those of `torchvision.models.efficientnet`,
as far as an exported `model.py` uses them. torchvision's wheel does not import with a CPU build of
torch.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

from torch import Tensor, nn

from mnas_search.architecture.blocks import make_divisible

Make = Callable[..., nn.Module]


class SqueezeExcitation(nn.Module):
    """Squeeze-and-excitation."""

    def __init__(self, channels: int, squeezed: int, activation: Make) -> None:
        super().__init__()
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.fc1 = nn.Conv2d(channels, squeezed, 1)
        self.fc2 = nn.Conv2d(squeezed, channels, 1)
        self.activation = activation()
        self.scale_activation = nn.Sigmoid()

    def forward(self, x: Tensor) -> Tensor:
        gate = self.fc2(self.activation(self.fc1(self.avgpool(x))))
        scaled: Tensor = x * self.scale_activation(gate)
        return scaled


def _conv(
    in_channels: int,
    out_channels: int,
    norm: Make,
    kernel: int = 1,
    stride: int = 1,
    groups: int = 1,
    *,
    activates: bool = True,
) -> nn.Sequential:
    layers = [
        nn.Conv2d(
            in_channels, out_channels, kernel, stride, (kernel - 1) // 2, groups=groups, bias=False
        ),
        norm(out_channels),
    ]
    return nn.Sequential(*layers, *([nn.SiLU(inplace=True)] if activates else []))


class _Block(nn.Module):
    """`block` with a shortcut where stride and widths allow one."""

    def __init__(self, config: "_Config", layers: list[nn.Module]) -> None:
        super().__init__()
        self.block = nn.Sequential(*layers)
        self.adds = config.stride == 1 and config.input_channels == config.out_channels

    def forward(self, x: Tensor) -> Tensor:
        branch: Tensor = self.block(x)
        return branch + x if self.adds else branch


class MBConv(_Block):
    """1x1 expansion if there is one, depthwise convolution, `se_layer`, 1x1."""

    def __init__(
        self, config: "_Config", drop: float, norm: Make, se_layer: Make = SqueezeExcitation
    ) -> None:
        del drop  # stochastic depth is used in training only
        inside, mid = config.input_channels, config.mid_channels
        layers: list[nn.Module] = [] if mid == inside else [_conv(inside, mid, norm)]
        layers.append(_conv(mid, mid, norm, config.kernel, config.stride, mid))
        layers.append(se_layer(mid, max(1, inside // 4), activation=nn.SiLU))
        layers.append(_conv(mid, config.out_channels, norm, activates=False))
        super().__init__(config, layers)


class FusedMBConv(_Block):
    """k x k expansion and 1x1; without expansion, one k x k convolution."""

    def __init__(self, config: "_Config", drop: float, norm: Make) -> None:
        del drop
        inside, mid, outside = config.input_channels, config.mid_channels, config.out_channels
        if mid == inside:
            layers = [_conv(inside, outside, norm, config.kernel, config.stride)]
        else:
            layers = [
                _conv(inside, mid, norm, config.kernel, config.stride),
                _conv(mid, outside, norm, activates=False),
            ]
        super().__init__(config, [*layers])


@dataclass(frozen=True, slots=True)
class _Config:
    expand_ratio: float
    kernel: int
    stride: int
    input_channels: int
    out_channels: int
    num_layers: int
    block: Make

    @property
    def mid_channels(self) -> int:
        return make_divisible(self.input_channels * self.expand_ratio)


def MBConvConfig(*numbers: Any, block: Make = MBConv) -> _Config:
    """Return a stage of (expand ratio, kernel, stride, input, output channels, layers)."""
    ratio, kernel, stride, inside, outside, layers = numbers
    inside, outside = make_divisible(inside), make_divisible(outside)
    return _Config(ratio, kernel, stride, inside, outside, layers, block)


def FusedMBConvConfig(*numbers: Any) -> _Config:
    """Return a stage of fused blocks."""
    ratio, kernel, stride, inside, outside, layers = numbers
    return _Config(ratio, kernel, stride, inside, outside, layers, FusedMBConv)


class EfficientNet(nn.Module):
    """Stem, stages and head in `features`; `classifier`."""

    def __init__(
        self,
        inverted_residual_setting: Sequence[_Config],
        dropout: float,
        stochastic_depth_prob: float,
        num_classes: int,
        norm_layer: Make,
        last_channel: int,
    ) -> None:
        super().__init__()
        settings = inverted_residual_setting
        features = [_conv(3, settings[0].input_channels, norm_layer, 3, 2)]
        for first in settings:
            later = replace(first, input_channels=first.out_channels, stride=1)
            configs = [first] + [later] * (first.num_layers - 1)
            blocks = [c.block(c, stochastic_depth_prob, norm_layer) for c in configs]
            features.append(nn.Sequential(*blocks))
        features.append(_conv(settings[-1].out_channels, last_channel, norm_layer))
        self.features = nn.Sequential(*features)
        self.avgpool = nn.AdaptiveAvgPool2d(1)
        self.classifier = nn.Sequential(nn.Dropout(dropout), nn.Linear(last_channel, num_classes))

    def forward(self, images: Tensor) -> Tensor:
        logits: Tensor = self.classifier(self.avgpool(self.features(images)).flatten(1))
        return logits
