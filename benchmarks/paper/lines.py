"""A printed figure beside a computed one, and the reason where they differ."""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mnas_search.benchmarks.paper import reasons
from mnas_search.benchmarks.paper.printed import ABOUT, Printed


@dataclass(frozen=True, slots=True, kw_only=True)
class Line:
    """One figure."""

    # row, quantity: where it stands in its table
    row: str
    quantity: str
    printed: Printed | None  # the paper's figure; None where it prints none
    computed: float | None  # what this code gives; None where it can give nothing
    reason: str  # why there is nothing, or why the two differ; empty where they are equal
    earlier: Printed | None = None  # the figure of versions 1 to 3, where another one

    @property
    def difference(self) -> float | None:
        """Percent by which the computed figure is larger; None without one of the two."""
        if self.printed is None or self.computed is None:
            return None
        return 100 * (self.computed / self.printed.value - 1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Table:
    """Lines that belong together."""

    key: str  # number of the paper's table, or where else the figures stand
    title: str  # what it shows
    rows: str  # what a row is
    lines: tuple[Line, ...]  # row by row, quantities in the same order
    notes: tuple[str, ...] = ()  # what a reader has to know besides


def table(name: str, lines: Sequence[Line]) -> Table:
    """Make a table whose title and notes are in `printed.json`."""
    about = ABOUT[name]
    return Table(
        key=about["key"],
        title=about["title"],
        rows=about["rows"],
        lines=tuple(lines),
        notes=tuple(about["notes"]),
    )


def compare(
    row: str, quantity: str, printed: Printed | None, computed: float | None, *, why: str
) -> Line:
    """Make a line; `why` is its reason unless the figures are equal or differ by rounding."""
    reason = reasons.NOT_PRINTED if printed is None and computed is None else why
    if printed is not None and computed is not None:
        if computed == printed.value:
            reason = ""
        elif printed.rounds(computed):
            reason = reasons.ROUNDING
    return Line(row=row, quantity=quantity, printed=printed, computed=computed, reason=reason)


def accuracy(row: str, quantity: str, printed: Printed, earlier: Printed | None = None) -> Line:
    """Make the line of an accuracy, which nothing here computes."""
    return replace(compare(row, quantity, printed, None, why=reasons.NOT_TRAINED), earlier=earlier)


def ratio(
    row: str,
    quantity: str,
    printed: Printed | None,
    over: tuple[Printed | None, float | None],
    under: tuple[Printed | None, float | None],
) -> Line:
    """A ratio of two figures, each as (printed, counted), counted ones taken where there are."""
    if printed is None or over[0] is None or under[0] is None:
        return compare(row, quantity, printed, None, why=reasons.NOT_PRINTED)
    computed = (over[1] or over[0].value) / (under[1] or under[0].value)
    if printed.follows(over[0], under[0]):
        why = reasons.FROM_PRINTED
    else:
        own = f"{over[0].text} / {under[0].text} = {over[0].value / under[0].value:.2g}x"
        why = f"{reasons.NO_RATIO}, {own}"
    return compare(row, quantity, printed, computed, why=why)
