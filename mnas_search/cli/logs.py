"""Options that decide what is logged where, and what standard error shows."""

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, TypeVar, final

import click

from mnas_search.common.errors import UsageError, reason_of

_PACKAGE = logging.getLogger("mnas_search")
_FORMAT = "%(asctime)s %(levelname)s %(name)s: %(message)s"
_Command = TypeVar("_Command", bound=Callable[..., Any])


@final
class StandardError(logging.Handler):
    """Prints log records on standard error: by default only warnings about data, about what a
    run's folder stands for, and about journals of earlier versions.

    Records of the command line itself are left out: what they say is printed in any case.
    """

    quiet = False
    verbosity = 0

    def filter(self, record: logging.LogRecord) -> bool:
        """Return whether to print a record."""
        named = ("mnas_search.data.", "mnas_search.experiments.resolve", "mnas_search.nas.journal")
        shown = ("mnas_search.",) if self.verbosity else named
        threshold = logging.WARNING - 10 * self.verbosity
        return (
            not self.quiet
            and record.levelno >= threshold
            and record.name.startswith(shown)
            and not record.name.startswith("mnas_search.cli.")
        )

    def emit(self, record: logging.LogRecord) -> None:
        """Print a record."""
        click.echo(self.format(record), err=True)


@contextmanager
def logging_session() -> Iterator[StandardError]:
    """Give the handler of standard error; at the end remove it, and what options have added."""
    level, handlers = _PACKAGE.level, list(_PACKAGE.handlers)
    console = StandardError()
    _PACKAGE.addHandler(console)
    try:
        yield console
    finally:
        for handler in [one for one in _PACKAGE.handlers if one not in handlers]:
            _PACKAGE.removeHandler(handler)
            handler.close()
        _PACKAGE.setLevel(level)


def log_options(command: _Command) -> _Command:
    """Add --log-file, --verbose and --quiet to a command."""
    for option in (_log_file, _verbose, _quiet):
        command = option(command)
    return command


def is_quiet() -> bool:
    """Return whether the command under way was given --quiet."""
    context = click.get_current_context(silent=True)
    console = None if context is None else context.find_object(StandardError)
    return console is not None and console.quiet


def notify(text: str) -> None:
    """Print a line on standard error, unless --quiet was given."""
    if not is_quiet():
        click.echo(text, err=True)


def _set_verbosity(context: click.Context, parameter: click.Parameter, count: int) -> None:
    if count:
        _console(context).verbosity += count
        _console(context).setFormatter(logging.Formatter(_FORMAT))
        _PACKAGE.setLevel(logging.DEBUG)


def _set_quiet(context: click.Context, parameter: click.Parameter, quiet: bool) -> None:
    if quiet:
        _console(context).quiet = True


def _console(context: click.Context) -> StandardError:
    return context.ensure_object(StandardError)


def _open_log_file(context: click.Context, parameter: click.Parameter, path: str | None) -> None:
    if path is None:
        return
    try:
        handler = logging.FileHandler(path, encoding="utf-8", errors="backslashreplace")
    except OSError as error:
        raise UsageError(
            f"--log-file must be a file that can be written, got {path!r}: {reason_of(error)}"
        ) from None
    handler.setFormatter(logging.Formatter(_FORMAT))
    _PACKAGE.addHandler(handler)
    _PACKAGE.setLevel(logging.DEBUG)


_log_file = click.option(
    "--log-file",
    metavar="FILE",
    expose_value=False,
    callback=_open_log_file,
    help="Append a log of all events to this file.",
)
_verbose = click.option(
    "-v",
    "--verbose",
    count=True,
    type=int,
    show_default=False,
    expose_value=False,
    callback=_set_verbosity,
    help="Log events on standard error; -vv adds details.",
)
_quiet = click.option(
    "--quiet",
    is_flag=True,
    expose_value=False,
    callback=_set_quiet,
    help="Print no progress and no notes on standard error, only errors.",
)
