"""Plans -> `torch.nn.Module`, without any arithmetic of its own."""

from mnas_search.networks.network import StagewiseNetwork, build

__all__ = ["StagewiseNetwork", "build"]
