"""The figures of the EfficientNet paper, computed again, each beside the printed one."""

from mnas_search.benchmarks.paper import tables, text
from mnas_search.benchmarks.paper.lines import Line, Table
from mnas_search.benchmarks.paper.reasons import ROUNDING

__all__ = ["ROUNDING", "Line", "Table", "all_tables"]


def all_tables() -> tuple[Table, ...]:
    """Compute every table and claim, in the paper's order."""
    return (
        text.headlines(),
        text.before(),
        text.rule(),
        text.settings(),
        text.figures_3_and_4(),
        tables.table_1(),
        *tables.table_2(),
        tables.table_3(),
        tables.table_4(),
        *tables.table_5(),
        tables.table_7(),
    )
