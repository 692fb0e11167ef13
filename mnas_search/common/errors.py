"""The errors that mnas-search raises on purpose.

    MnasSearchError
    ├── UsageError               the input is wrong: exit code 2
    │   ├── InvalidArchitecture  a network that cannot be
    │   ├── InvalidChoices       choices or codes outside their decisions
    │   ├── UnknownName          a plug-in, file or architecture that is not there
    │   └── RunFolderError       a folder that is no run, or another run than the one asked for
    └── WorkFailed               the input was fine, the work was not done: exit code 1

Every message is one line that quotes the value and says what is allowed.
"""

import contextlib
import traceback
from collections.abc import Iterator


class MnasSearchError(Exception):
    """Base of all errors raised on purpose."""


class UsageError(MnasSearchError, ValueError):
    """The input is wrong; the message quotes it and says what is allowed."""


class InvalidArchitecture(UsageError):
    """A stage or a network that cannot be built."""


class InvalidChoices(UsageError):
    """Choices or codes that lie outside their decisions."""


class UnknownName(UsageError):
    """A plug-in, a file or an architecture that is not there."""


class RunFolderError(UsageError):
    """A folder that is no run, or holds another run than the one asked for."""


class WorkFailed(MnasSearchError):
    """The input was fine, but the work could not be done."""


def single_line(text: str) -> str:
    """Text that fits one line of a terminal or a table, whatever an exception said."""
    return printable(" ".join(text.split()))


def printable(text: str) -> str:
    """Text whose characters all print but for line breaks; others, such as those that tell a
    terminal what to do, are written out."""
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text
    )


def shorten(text: str, most: int) -> str:
    """Text of at most `most` characters, at least 20. What is too much is left out of its middle:
    messages begin with what is wrong and end with what is allowed."""
    if len(text) <= most:
        return text
    tail = most // 3
    return f"{text[: most - tail - 5]} ... {text[len(text) - tail :]}"


def describe_exception(error: BaseException) -> str:
    """Type, message and innermost place of somebody else's exception, as one line."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return single_line(f"{type(error).__name__}: {error}{place}")


@contextlib.contextmanager
def error_context(what: str) -> Iterator[None]:
    """Say which part of a search an unexpected exception came from."""
    try:
        yield
    except MnasSearchError:
        raise
    except Exception as error:
        raise WorkFailed(f"{what} failed: {describe_exception(error)}") from error
