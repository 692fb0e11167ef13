"""Plans -> `torch.nn.Module`; all arithmetic is in the plans."""

from mnas_search.networks.network import StagewiseNetwork, build

__all__ = ["StagewiseNetwork", "build"]
