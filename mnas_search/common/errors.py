"""The errors that mnas-search raises on purpose.

    MnasSearchError
    ├── UsageError               the input is wrong: exit code 2
    │   ├── InvalidArchitecture  an invalid stage or network
    │   ├── InvalidChoices       choices or codes outside their decisions
    │   ├── UnknownName          a plug-in, file or architecture that does not exist
    │   └── RunFolderError       a folder without a run, or with another run
    ├── DamagedFile              a file is not that of its checksum: exit code 2
    └── WorkFailed               the input is valid, the work failed: exit code 1

Every message is one line: "X must be Y, got Z" or "A requires B".
"""

import contextlib
import sys
import traceback
from collections.abc import Iterator
from pathlib import Path
from types import FrameType


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


class DamagedFile(MnasSearchError):
    """A file of mnas-search that is not that of its checksum. It is no `ValueError`: files of
    others that cannot be read may count as missing, this one must not."""


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


def text_of(error: BaseException) -> str:
    """Return an exception's own text; a note in its place where that cannot be had."""
    try:
        return str(error)
    except BaseException as broken:
        return f"its text cannot be had: __str__ raised {type(broken).__name__}"


def reason_of(error: OSError) -> str:
    """Return why the system, or a library, refused: never empty."""
    return single_line(str(error.strerror or "") or text_of(error) or type(error).__name__)


def describe_exception(error: BaseException) -> str:
    """Format type, message and place of an exception as one line.

    The place is the innermost line of the user's own code; without any, the innermost line.
    """
    frames = list(traceback.walk_tb(error.__traceback__))
    place = _own_place(error)
    if not place and frames and not isinstance(error, SyntaxError):  # which names its place
        place = _place(*frames[-1])
    return _described(error, text_of(error), place)


def describe_failure(error: BaseException) -> str:
    """Format an exception as `describe_exception` does, but with the first line of its message,
    and with a place only in the user's own code."""
    return _described(error, "".join(text_of(error).splitlines()[:1]), _own_place(error))


def _described(error: BaseException, text: str, place: str) -> str:
    return single_line(f"{type(error).__name__}{': ' if text else ''}{text}{place}")


def _own_place(error: BaseException) -> str:
    own = [found for found in traceback.walk_tb(error.__traceback__) if _is_own(found[0])]
    return _place(*own[-1]) if own else ""


def _place(frame: FrameType, line: int) -> str:
    return f" ({frame.f_code.co_filename}, line {line})"


def passed_own_code(error: BaseException) -> bool:
    """Return whether an exception comes from, or through, the user's own code."""
    return bool(_own_place(error))


def _is_own(frame: FrameType) -> bool:
    """Return whether a frame is the user's: not of Python, an installed package, or ours."""
    file, module = frame.f_code.co_filename, str(frame.f_globals.get("__name__"))
    installed = {"site-packages", "dist-packages"} & set(Path(file).parts)
    root = module.partition(".")[0]
    return not (
        installed
        or file.startswith("<frozen")
        or root in sys.stdlib_module_names
        or root == __name__.partition(".")[0]
    )


@contextlib.contextmanager
def error_context(what: str) -> Iterator[None]:
    """Call code of users: what it raises becomes `WorkFailed`, which names the failed step.

    Exits count too: only Ctrl-C, and what ends a process for its own reasons, passes.
    """
    try:
        yield
    except MnasSearchError:
        raise
    except (Exception, SystemExit) as error:
        raise WorkFailed(f"{what} failed: {describe_exception(error)}") from error
