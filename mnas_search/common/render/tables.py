"""Tables on standard output."""

import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from rich import box
from rich.console import Console
from rich.table import Table
from rich.text import Text

from mnas_search.common.errors import printable, single_line
from mnas_search.common.render.output import results

# Piped output has no width of its own; tables there are as wide as they need to be.
_WIDE = 400
_FIGURE = re.compile(r"-|[-+]?\d[\d,.:]*(e[-+]?\d+)?[a-zA-Z%]*( ± \S+)?")


def console(*, stderr: bool = False) -> Console:
    """Return a console that breaks lines only on a terminal and prints text unchanged: a name or
    folder may contain `[/]`."""
    file = None if stderr else results()
    shared = Console(file=file, stderr=stderr, markup=False)
    if shared.is_terminal:
        return shared
    return Console(file=file, stderr=stderr, markup=False, width=_WIDE)


def print_table(
    columns: Sequence[str], rows: Sequence[Sequence[str]], *, title: str | None = None
) -> None:
    """A table; columns whose cells all begin with a digit, sign or dash are set right."""
    if title is not None:
        console().print(Text(f"\n{single_line(title)}", style="bold"))
    table = Table(box=box.SIMPLE_HEAD, pad_edge=False)
    for index, name in enumerate(columns):
        cells = [row[index] for row in rows]
        numeric = bool(cells) and all(_FIGURE.fullmatch(cell) for cell in cells)
        table.add_column(name, justify="right" if numeric else "left", overflow="fold")
    for row in rows:
        table.add_row(*(Text(printable(cell)) for cell in row))
    console().print(table)


def print_lines(lines: Iterable[str]) -> None:
    """Print sentences below a table; a terminal breaks them where they are too long."""
    for line in lines:
        console().print(line, highlight=False, soft_wrap=True)


def print_rows(
    rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str], *, title: str | None = None
) -> None:
    """Print records as a table; `columns` are formats by header: {"MACs": "{macs:,}"}."""
    cells = [tuple(form.format_map(row) for form in columns.values()) for row in rows]
    print_table(tuple(columns), cells, title=title)


def print_records(records: Sequence[Mapping[str, Any]]) -> None:
    """Records with the same keys as a table; floats to four digits, None as a dash."""

    def text(value: Any) -> str:
        if value is None:
            return "-"
        return f"{value:.4f}" if isinstance(value, float) else str(value)

    columns = tuple(records[0])
    print_table(columns, [tuple(text(record[c]) for c in columns) for record in records])
