"""Options of the project's own benchmarks, and what their commands have in common."""

import os
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any, TypeVar

import click

from mnas_search.cli.options import FOLDER, print_json, print_rows
from mnas_search.common.errors import WorkFailed
from mnas_search.common.render.output import echo

_Command = TypeVar("_Command", bound=Callable[..., Any])
ONE_OR_MORE = click.IntRange(min=1)


def quick_option(text: str) -> Callable[[_Command], _Command]:
    """Return a decorator that adds `--quick`."""
    return click.option("--quick", is_flag=True, help=text)


def count_option(flag: str, default: int, text: str) -> Callable[[_Command], _Command]:
    """Return a decorator that adds an option for a number of at least 1."""
    return click.option(flag, type=ONE_OR_MORE, default=default, show_default=True, help=text)


def names_option(
    flag: str, text: str, *, default: str = "all", metavar: str = "A,B"
) -> Callable[[_Command], _Command]:
    """Return a decorator that adds an option for names between commas."""
    return click.option(flag, metavar=metavar, default="", show_default=default, help=text)


processes_option = click.option(
    "--processes",
    type=ONE_OR_MORE,
    default=os.cpu_count() or 1,
    show_default="the number of CPUs",
    help="Number of processes that compute at a time.",
)


def kept_options(folder: str) -> Callable[[_Command], _Command]:
    """Return a decorator that adds the options of a benchmark that keeps its results."""

    def decorate(command: _Command) -> _Command:
        for option in (
            click.option(
                "--report-only", is_flag=True, help="Report the kept results; compute nothing."
            ),
            click.option(
                "--results",
                type=FOLDER,
                default=Path(folder),
                show_default=True,
                help="Folder that keeps the results and receives the report.",
            ),
        ):
            command = option(command)
        return command

    return decorate


def print_outcome(outcome: Any, form: str, *, unit: str) -> None:
    """Print what a benchmark that keeps its results returned, and raise if a part failed."""
    if form == "json":
        print_json({"records": outcome.records, "failures": list(outcome.failures)})
    else:
        if outcome.table:
            print_rows(outcome.table, form)
        for file in outcome.files:
            echo(str(file))
    if outcome.failures:
        count = len(outcome.failures)
        raise WorkFailed(
            f"{count} {unit}{'s' * (count > 1)} failed; the first: {outcome.failures[0]}"
        )


def print_tables(tables: Mapping[str, Sequence[Mapping[str, Any]]], form: str) -> None:
    """Print tables, one below the other, or all as JSON."""
    if form == "json":
        print_json(tables)
    else:
        for rows in tables.values():
            print_rows(rows, form)


def note_line(line: str) -> None:
    """Print progress."""
    click.echo(line, err=True)


def split_names(text: str) -> tuple[str, ...]:
    """Return the names between commas."""
    return tuple(part.strip() for part in text.split(",") if part.strip())


def load_benchmark(name: str) -> Any:
    """Import a benchmark by name, as plug-ins are: the framework imports none of them."""
    return import_module(f"mnas_search.benchmarks.{name}")
