"""`mnas-search bench paper`: the paper's figures beside this code's, as tables, JSON, page."""

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from string import ascii_lowercase
from typing import Any

from markupsafe import Markup

from mnas_search.architecture.cost.base import CONVENTION
from mnas_search.benchmarks.paper import ROUNDING, Line, Table, all_tables
from mnas_search.benchmarks.paper.figures import RunFamily, flops_figure, params_figure, run_family
from mnas_search.benchmarks.paper.printed import PAPER, Printed
from mnas_search.common.errors import UsageError
from mnas_search.common.files import write_atomically
from mnas_search.common.render.pages import render
from mnas_search.common.render.tables import console, print_table

_TEMPLATE = Path(__file__).parent / "templates" / "paper.html.j2"
_LEGEND = (
    f"{PAPER}: figures as printed, and in brackets those of versions 1 to 3 where they differ; "
    "beside each, under 'here', what this code computes and by how much that is more; '-' where "
    "it computes nothing"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Section:
    """A table as text, with what its letters mean among the notes."""

    title: str
    columns: tuple[str, ...]
    rows: list[tuple[str, ...]]
    notes: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """The paper's tables, computed again, and the family of a run; None for none."""

    tables: tuple[Table, ...]
    family: RunFamily | None


def read(folder: Path | None) -> Comparison:
    """Compute all tables, and read the family of the run in `folder` if there is one."""
    family = None if folder is None else run_family(folder)
    return Comparison(tables=all_tables(), family=family)


def record(found: Comparison) -> dict[str, Any]:
    """Return everything as plain JSON values: a list of lines, one a figure."""
    tables, own = found.tables, found.family
    return {
        "paper": PAPER,
        "convention": CONVENTION,
        "lines": [_line(t, line) for t in tables for line in t.lines],
        "notes": [{"table": t.title, "note": note} for t in tables for note in t.notes],
        "family": None
        if own is None
        else {
            "name": own.name,
            "accuracy": own.accuracy,
            "note": own.note,
            "members": [{"name": m.name, "params": m.params, "macs": m.macs} for m in own.members],
        },
    }


def _line(t: Table, line: Line) -> dict[str, Any]:
    return {
        "table": t.key,
        "title": t.title,
        "row": line.row,
        "quantity": line.quantity,
        "printed": None if line.printed is None else line.printed.text,
        "value": None if line.printed is None else line.printed.value,
        "earlier": None if line.earlier is None else line.earlier.text,
        "computed": line.computed,
        "difference": line.difference,
        "reason": line.reason or None,
    }


def show(found: Comparison) -> None:
    """Print the tables."""
    family = [] if found.family is None else [_family(found.family)]
    for section in (*map(_section, found.tables), *family):
        print_table(section.columns, section.rows, title=section.title)
        for note in section.notes:
            console().print(note, markup=False, highlight=False)
    console().print(f"\n{_LEGEND}\n{CONVENTION}", markup=False, highlight=False)


def write(folder: Path, found: Comparison) -> list[Path]:
    """Write the page, the figures and the JSON."""
    own = found.family
    figures = {"params.svg": params_figure(own), "flops.svg": flops_figure(own)}
    text = json.dumps(record(found), indent=2) + "\n"
    return [
        write_atomically(folder / "paper.html", _page(found, list(figures.values()))),
        *(write_atomically(folder / name, svg) for name, svg in figures.items()),
        write_atomically(folder / "paper.json", text),
    ]


def as_printed(printed: Printed, value: float) -> str:
    """Format a value in the unit of a printed figure, with two more digits."""
    unit = printed.text.lstrip("-0123456789.")
    digits = printed.text.rstrip(unit).partition(".")[2]
    scale = printed.value / float(printed.text.rstrip(unit)) if unit else 1.0
    return f"{value / scale:.{len(digits) + 2}f}{unit}"


def check_output(folder: Path, *, force: bool) -> None:
    """Raise `UsageError` for a file, and for a folder that holds something without `force`."""
    if folder.exists() and not folder.is_dir():
        raise UsageError(f"--output must be a folder, got the file {str(folder)!r}")
    if folder.is_dir() and any(folder.iterdir()) and not force:
        raise UsageError(f"{str(folder)!r} is not empty: choose a new folder, or add --force")


def _page(found: Comparison, figures: Sequence[str]) -> str:
    """Return the page; the family of a run comes before the paper's tables."""
    family = [] if found.family is None else [_family(found.family)]
    values = {
        "title": "The figures of the EfficientNet paper, counted again",
        "introduction": [_LEGEND, CONVENTION],
        "figures": [Markup(svg) for svg in figures],
        "sections": [*family, *map(_section, found.tables)],
    }
    return render(_TEMPLATE, values)


def _family(own: RunFamily) -> _Section:
    return _Section(
        title=f"The family of {own.name}",
        columns=("name", "params", "FLOPs"),
        rows=[(m.name, f"{m.params:,}", f"{m.macs:,}") for m in own.members],
        notes=(own.note,),
    )


def _section(t: Table) -> _Section:
    """Return rows of the paper's table; computed figures stand beside the printed ones."""
    rows: dict[str, dict[str, Line]] = {}
    for line in t.lines:
        rows.setdefault(line.row, {})[line.quantity] = line
    quantities = tuple(dict.fromkeys(line.quantity for line in t.lines))
    computed = {line.quantity for line in t.lines if line.computed is not None}
    printed = {line.quantity for line in t.lines if line.printed is not None}
    reasons = dict.fromkeys(line.reason for line in t.lines if _differs(line))
    letters = dict(zip(reasons, ascii_lowercase, strict=False))
    explained = any(line.difference for line in t.lines)
    columns = [t.rows]
    for quantity in quantities:
        columns += [quantity] if quantity in printed else []
        here = "here" if quantity in printed else f"{quantity} here"
        columns += [here] if quantity in computed else []
    cells = []
    for name, lines in rows.items():
        row = [name]
        for quantity in quantities:
            found = lines.get(quantity)
            row += [_printed(found)] if quantity in printed else []
            row += [_here(found)] if quantity in computed else []
        cells.append((*row, *([_why(lines.values(), letters)] if explained else [])))
    missing = dict.fromkeys(x.reason for x in t.lines if x.computed is None and x.printed)
    return _Section(
        title=t.title,
        columns=(*columns, *(["why"] if explained else [])),
        rows=cells,
        notes=(
            *(f"({letter}) {reason}" for reason, letter in letters.items()),
            *([f"not computed: {'; '.join(missing)}"] if missing else []),
            *t.notes,
        ),
    )


def _differs(line: Line) -> bool:
    """Return whether printed and computed figure differ by more than rounding."""
    return line.difference is not None and line.reason not in ("", ROUNDING)


def _why(lines: Iterable[Line], letters: Mapping[str, str]) -> str:
    lines = list(lines)
    found = sorted({letters[line.reason] for line in lines if _differs(line)})
    rounded = any(line.reason == ROUNDING for line in lines)
    return ", ".join([*found, *(["rounding"] if rounded else [])])


def _printed(line: Line | None) -> str:
    if line is None or line.printed is None:
        return "-"
    earlier = "" if line.earlier is None else f" ({line.earlier.text})"
    return f"{line.printed.text}{earlier}"


def _here(line: Line | None) -> str:
    if line is None or line.computed is None:
        return "-"
    if line.printed is None:
        return _size(line.computed)
    if line.difference is None or not line.reason:
        return line.printed.text
    return f"{as_printed(line.printed, line.computed)} {line.difference:+.1f}%"


def _size(value: float) -> str:
    return f"{value / 1e9:.3g}B" if value >= 1e9 else f"{value / 1e6:.3g}M"
