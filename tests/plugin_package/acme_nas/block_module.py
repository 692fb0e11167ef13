"""The module of `pd`."""

from torch import Tensor, nn

from mnas_search.networks.layers import ACTIVATIONS, Norm, Plan, chain, conv, residual


class PointwiseDepthwise(nn.Module):
    """1x1 convolution, activation, depthwise convolution."""

    def __init__(self, plan: Plan, norm: Norm, drop_path: float) -> None:
        super().__init__()
        width = plan.out_channels
        self.conv_pw = conv(plan.in_channels, width)
        self.bn1 = norm(width)
        self.act = ACTIVATIONS[plan.activation]()
        self.conv_dw = conv(
            width, width, plan.kernel, stride=plan.stride, groups=width, pad=plan.pad
        )
        self.bn2 = norm(width)
        self.residual = residual(plan, drop_path)

    def forward(self, x: Tensor) -> Tensor:
        branch = chain(x, self.conv_pw, self.bn1, self.act, self.conv_dw, self.bn2)
        return self.residual(branch, x)
