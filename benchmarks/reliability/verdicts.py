"""How often each kind of what was broken ended in each way."""

from collections.abc import Iterable, Mapping, Sequence

from mnas_search.benchmarks.results import Outcome, Record


def outcome(
    found: Mapping[tuple[str, str], int],
    name: str,
    kinds: Iterable[str],
    verdicts: Sequence[str],
    failures: Sequence[str],
) -> Outcome:
    """Return a record for each kind, whose column is called `name`, with a column a verdict.

    Args:
        found: how often, by kind and verdict; 0 where one is missing.
        failures: a line for each that ended as it must not.
    """
    return of_records(
        [{name: kind, **{v: found.get((kind, v), 0) for v in verdicts}} for kind in kinds],
        failures,
    )


def of_records(records: list[Record], failures: Sequence[str]) -> Outcome:
    """Return records as an outcome without files."""
    table = [{name: str(value) for name, value in record.items()} for record in records]
    return Outcome(records=records, table=table, files=(), failures=tuple(failures))
