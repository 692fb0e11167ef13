"""The errors that mnas-search raises on purpose.

    MnasSearchError
    ├── UsageError               the input is wrong: exit code 2
    │   ├── InvalidArchitecture  an invalid stage or network
    │   ├── InvalidChoices       choices or codes outside their decisions
    │   ├── UnknownName          a plug-in, file or architecture that does not exist
    │   └── RunFolderError       a folder without a run, or with another run
    └── WorkFailed               the input is valid, the work failed: exit code 1

Every message is one line: "X must be Y, got Z" or "A requires B".
"""

import contextlib
import traceback
from collections.abc import Iterator


class MnasSearchError(Exception):
    """Base of all errors raised on purpose."""


class UsageError(MnasSearchError, ValueError):
    """The input is wrong; the message quotes it and says what is accepted."""


class InvalidArchitecture(UsageError):
    """A stage or a network that cannot be built."""


class InvalidChoices(UsageError):
    """Choices or codes that lie outside their decisions."""


class UnknownName(UsageError):
    """A plug-in, a file or an architecture that does not exist."""


class RunFolderError(UsageError):
    """A folder without a run, or with another run than the expected one."""


class WorkFailed(MnasSearchError):
    """The input is valid, but the work could not be done."""


def single_line(text: str) -> str:
    """Join text to one printable line."""
    return printable(" ".join(text.split()))


def printable(text: str) -> str:
    """Escape all characters that do not print, except line breaks (control codes, ...)."""
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text
    )


def shorten(text: str, max_length: int) -> str:
    """Cut text to `max_length` characters (at least 20) by leaving out its middle."""
    if len(text) <= max_length:
        return text
    tail = max_length // 3
    return f"{text[: max_length - tail - 5]} ... {text[len(text) - tail :]}"


def describe_exception(error: BaseException) -> str:
    """Format type, message and innermost frame of an exception as one line."""
    frames = traceback.extract_tb(error.__traceback__)
    place = f" ({frames[-1].filename}, line {frames[-1].lineno})" if frames else ""
    return single_line(f"{type(error).__name__}: {error}{place}")


@contextlib.contextmanager
def error_context(what: str) -> Iterator[None]:
    """Raise unexpected exceptions as `WorkFailed`, which names the failed step."""
    try:
        yield
    except MnasSearchError:
        raise
    except Exception as error:
        raise WorkFailed(f"{what} failed: {describe_exception(error)}") from error
