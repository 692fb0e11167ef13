"""Standard output, which belongs to a command's result.

    with results_only():         # by the command line, around a command
        train()                  # prints of the user's code, of libraries, of child processes
        echo('{"accuracy": 0.9}')

What is printed by anything else within `results_only`, through `sys.stdout` or to descriptor 1,
appears on standard error.
"""

import contextlib
import os
import sys
from collections.abc import Iterator
from contextvars import ContextVar
from typing import TextIO

import click

_RESULTS = ContextVar[TextIO | None]("results", default=None)


def results() -> TextIO:
    """Return the stream of a command's result: standard output, as it was before."""
    return _RESULTS.get() or sys.stdout


def echo(text: str, *, end: str = "\n") -> None:
    """Print a part of a command's result."""
    click.echo(f"{text}{end}", file=results(), nl=False)


@contextlib.contextmanager
def results_only() -> Iterator[None]:
    """Keep standard output for `echo` and for consoles on `results()`.

    Raises:
        OSError: the result cannot be written, or its reader has left (`BrokenPipeError`).
    """
    given = sys.stdout
    if given is None:  # closed before the start
        yield
        return
    with contextlib.ExitStack() as streams:
        kept = streams.enter_context(_kept_descriptor(given)) if _is_descriptor_1(given) else given
        token = _RESULTS.set(kept)
        sys.stdout = sys.stderr if sys.stderr is not None else given
        try:
            yield
            kept.flush()
        finally:
            sys.stdout = given
            _RESULTS.reset(token)


def _is_descriptor_1(stream: TextIO) -> bool:
    try:
        return stream.fileno() == 1
    except (AttributeError, OSError, ValueError):  # a notebook's, or a test's in memory
        return False


@contextlib.contextmanager
def _kept_descriptor(given: TextIO) -> Iterator[TextIO]:
    """Give a stream on what descriptor 1 is, which stands for descriptor 2 meanwhile."""
    given.flush()
    with open(os.dup(1), "w", encoding=given.encoding, errors=given.errors) as kept:
        with contextlib.suppress(OSError):  # standard error is closed
            os.dup2(2, 1)
        try:
            yield kept
        finally:
            with contextlib.suppress(OSError):
                given.flush()  # what was printed meanwhile
            os.dup2(kept.fileno(), 1)
