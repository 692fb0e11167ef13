"""The command line, called in this process."""

import contextlib
import io
import traceback
from dataclasses import dataclass

from mnas_search.cli import main
from mnas_search.common.errors import WorkFailed


@dataclass(frozen=True, slots=True, kw_only=True)
class Called:
    """How a command has ended: its exit code, None where an exception left it, and what it wrote
    to standard output and standard error."""

    code: int | None
    out: str
    err: str

    @property
    def error(self) -> str:
        """The last line on standard error; empty without one."""
        return (self.err.splitlines() or [""])[-1]

    @property
    def is_refusal(self) -> bool:
        """Whether it was refused in one line, with the exit code of wrong usage."""
        return self.code == 2 and self.error.startswith("error: ") and not self.has_traceback

    @property
    def has_traceback(self) -> bool:
        """Whether a traceback was printed, or an exception left the command."""
        return self.code is None or "Traceback (most recent call last)" in self.err


def call(*arguments: object) -> Called:
    """Call `mnas-search` with these arguments."""
    out, err = io.StringIO(), io.StringIO()
    code: int | None = 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            main([str(argument) for argument in arguments])
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 0
        except BaseException:
            code = None
            traceback.print_exc(file=err)
    return Called(code=code, out=out.getvalue(), err=err.getvalue())


def must(*arguments: object) -> Called:
    """Call `mnas-search` with these arguments; raise `WorkFailed` where it fails."""
    called = call(*arguments)
    if called.code != 0:
        raise WorkFailed(f"mnas-search {arguments[0]} failed: {called.error}")
    return called
