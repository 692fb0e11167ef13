"""Published architectures, by name."""

from mnas_search.reference.published import architecture, names

__all__ = ["architecture", "names"]
