"""Plans -> `torch.nn.Module`, without any arithmetic of its own."""

from mnas_search.networks.network import Network, build

__all__ = ["Network", "build"]
