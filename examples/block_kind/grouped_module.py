"""The module of `gc`; it imports torch and mnas_search.networks.layers alone, so that an exported
`model.py` can hold its source."""

from torch import Tensor, nn

from mnas_search.networks.layers import (
    ACTIVATIONS,
    Norm,
    Plan,
    chain,
    conv,
    residual,
    squeeze_excite,
)


class Grouped(nn.Module):
    """Grouped convolution, squeeze-and-excitation, 1x1 without activation."""

    def __init__(self, plan: Plan, norm: Norm, drop_path: float) -> None:
        super().__init__()
        width = plan.in_channels
        groups = 4 if width % 4 == 0 else 1
        self.conv = conv(
            width, width, plan.kernel, stride=plan.stride, groups=groups, pad=plan.pad
        )
        self.bn1 = norm(width)
        self.act = ACTIVATIONS[plan.activation]()
        self.se = squeeze_excite(plan, width)
        self.conv_pw = conv(width, plan.out_channels)
        self.bn2 = norm(plan.out_channels)
        self.residual = residual(plan, drop_path)

    def forward(self, x: Tensor) -> Tensor:
        branch = chain(x, self.conv, self.bn1, self.act, self.se, self.conv_pw, self.bn2)
        return self.residual(branch, x)
