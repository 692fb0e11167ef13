"""Published architectures, by name: `reference.architecture("efficientnet_b0")`."""

from mnas_search.architecture.published import architecture, names

__all__ = ["architecture", "names"]
