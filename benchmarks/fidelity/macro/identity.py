"""The module of `id`; it imports torch and mnas_search.networks.layers alone, so that an exported
`model.py` can hold its source."""

from torch import Tensor, nn

from mnas_search.networks.layers import Norm, Plan, conv


class IdentityBlock(nn.Module):
    """The input itself; where the shape changes, a 1x1 convolution with batch norm."""

    def __init__(self, plan: Plan, norm: Norm, drop_path: float) -> None:
        super().__init__()
        del drop_path  # of a branch beside a shortcut, and there is none
        self.conv: nn.Module = nn.Identity()
        self.bn1: nn.Module = nn.Identity()
        if plan.stride != 1 or plan.in_channels != plan.out_channels:
            self.conv = conv(plan.in_channels, plan.out_channels, stride=plan.stride)
            self.bn1 = norm(plan.out_channels)

    def forward(self, x: Tensor) -> Tensor:
        projected: Tensor = self.bn1(self.conv(x))
        return projected
