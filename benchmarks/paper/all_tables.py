"""All tables, in the paper's order."""

from mnas_search.benchmarks.paper.lines import Table
from mnas_search.benchmarks.paper.tables import (
    table_1,
    table_2,
    table_3,
    table_4,
    table_5,
    table_7,
)
from mnas_search.benchmarks.paper.text import before, figures_3_and_4, headlines, rule, settings


def all_tables() -> tuple[Table, ...]:
    """Every table and claim, counted again."""
    return (
        headlines(),
        before(),
        rule(),
        settings(),
        figures_3_and_4(),
        table_1(),
        *table_2(),
        table_3(),
        table_4(),
        *table_5(),
        table_7(),
    )
