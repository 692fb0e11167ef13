"""Pieces of HTML. Whatever comes in as text is escaped here, and nowhere else."""

import html
import re
from collections.abc import Iterable, Sequence

_FIGURES = re.compile(r"[-+±.,%\d\sKMGTBx()]+")


def escaped(text: object) -> str:
    """Text as HTML and XML both take it; characters that do not print are written out."""
    shown = (
        c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(text)
    )
    return html.escape("".join(shown))


def paragraph(text: str) -> str:
    """A paragraph of one sentence."""
    return f"<p>{escaped(sentence(text))}</p>"


def items(texts: Iterable[str]) -> str:
    """A list of sentences."""
    rows = "".join(f"<li>{escaped(sentence(text))}</li>\n" for text in texts)
    return f"<ul>\n{rows}</ul>"


def sentence(text: str) -> str:
    """With a capital and a full stop."""
    text = text.strip()
    return text[:1].upper() + text[1:] + ("" if text.endswith((".", "!", "?")) else ".")


def facts(pairs: Iterable[tuple[str, object]]) -> str:
    """Names and values."""
    rows = "".join(
        f'<tr><th scope="row">{escaped(name)}</th><td>{escaped(value)}</td></tr>\n'
        for name, value in pairs
    )
    return f'<table class="facts">\n<tbody>\n{rows}</tbody>\n</table>'


def table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table that scrolls by itself where the page is too narrow; figures are set right."""
    rows = list(rows)
    kinds = [
        ' class="figures"' if all(_FIGURES.fullmatch(row[index]) for row in rows) else ""
        for index in range(len(columns))
    ]
    head = "".join(
        f'<th scope="col"{kind}>{escaped(name)}</th>'
        for kind, name in zip(kinds, columns, strict=True)
    )
    body = "".join(f"<tr>{_cells(kinds, row)}</tr>\n" for row in rows)
    return (
        f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}</tbody>\n</table></div>"
    )


def _cells(kinds: Sequence[str], row: Sequence[str]) -> str:
    return "".join(
        f"<td{kind}>{escaped(cell)}</td>" for kind, cell in zip(kinds, row, strict=True)
    )
