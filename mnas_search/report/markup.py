"""Pieces of HTML. Whatever comes in as text is escaped here, and nowhere else."""

import html
from collections.abc import Iterable, Sequence


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
    """A table that scrolls by itself where the page is too narrow."""
    head = "".join(f'<th scope="col">{escaped(name)}</th>' for name in columns)
    body = "".join(
        "<tr>" + "".join(f"<td>{escaped(cell)}</td>" for cell in row) + "</tr>\n" for row in rows
    )
    return (
        f'<div class="wide"><table>\n<thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}</tbody>\n</table></div>"
    )
