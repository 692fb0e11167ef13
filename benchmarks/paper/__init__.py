"""The EfficientNet paper's figures counted again, each beside what is printed."""

from mnas_search.benchmarks.paper.all_tables import all_tables
from mnas_search.benchmarks.paper.lines import ROUNDING, Line, Table

__all__ = ["ROUNDING", "Line", "Table", "all_tables"]
