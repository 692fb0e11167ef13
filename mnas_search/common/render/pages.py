"""Pages from jinja2 templates: one file without scripts, links or images from elsewhere.

`templates/base.html.j2` is the shell with its style; `templates/parts.html.j2` has macros for
tables, facts and lists. Everything is escaped but SVG, which arrives as `Markup`.
"""

import re
from collections.abc import Mapping, Sequence
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from mnas_search.common.errors import single_line

Table = tuple[Sequence[str], Sequence[Sequence[str]]]  # header and rows

_TEMPLATES = Path(__file__).parent / "templates"
_NUMBER = re.compile(r"[-+±.,%\d\sKMGTBx()]+")


def render(template: Path, values: Mapping[str, object]) -> str:
    """The page that a template makes of values."""
    environment = Environment(
        loader=FileSystemLoader([template.parent, _TEMPLATES]),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_printable,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["sentence"] = sentence
    environment.filters["classes"] = _classes
    return environment.get_template(template.name).render(values)


def sentence(text: str) -> str:
    """Text with a capital and a full stop."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def _printable(value: object) -> object:
    """The value; characters that do not print are written out."""
    return value if isinstance(value, Markup) else single_line(str(value))


def _classes(table: Table) -> list[str]:
    """The class of each column: numbers are aligned to the right."""
    columns, rows = table
    return [
        "number" if rows and all(_NUMBER.fullmatch(row[index]) for row in rows) else ""
        for index in range(len(columns))
    ]
