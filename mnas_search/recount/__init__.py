"""The EfficientNet paper's figures counted again, each beside what is printed."""

from mnas_search.recount.everything import everything
from mnas_search.recount.lines import ROUNDING, Line, Table

__all__ = ["ROUNDING", "Line", "Table", "everything"]
