"""Data sets as values, and where they come from."""

from mnas_search.data.digits import digits
from mnas_search.data.loading import load
from mnas_search.data.splits import assemble
from mnas_search.data.values import Dataset, Split

__all__ = ["Dataset", "Split", "assemble", "digits", "load"]
