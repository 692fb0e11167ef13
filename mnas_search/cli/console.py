"""What a command prints on standard error while an experiment is under way."""

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Protocol, TypeVar, final

from mnas_search.cli.logs import is_quiet, notify
from mnas_search.cli.options import shown
from mnas_search.common.errors import WorkFailed
from mnas_search.common.render.progress import Bar, Note
from mnas_search.experiments.listener import Listener


@final
class Console(Listener):
    """Follows an experiment on standard error: the folder, stages, and a progress bar.

    Args:
        label: what the folder is called.
        unit: what the bar counts.
    """

    def __init__(self, label: str, unit: str) -> None:
        self.folder: Path | None = None
        self._cwd = Path.cwd()  # the user's code may change it
        self._label, self._bar, self._status = label, Bar(unit), Note()

    def on_start(self, folder: Path) -> None:
        """Print the folder."""
        self.on_end()
        self.folder = Path(shown(folder, self._cwd))
        notify(f"{self._label}: {self.folder}")

    def on_stage(self, text: str) -> None:
        """Print what begins."""
        self.on_end()  # of the stage before
        notify(text)

    def on_progress(self, done: int, total: int, text: str) -> None:
        """Move the bar."""
        if not is_quiet():
            self._bar.show(done, total, text)

    def on_status(self, text: str) -> None:
        """Show how far a stage has come."""
        if not is_quiet():
            self._status(text)

    def on_note(self, text: str) -> None:
        """Print a sentence."""
        notify(text)

    def on_end(self) -> None:
        """Take the bar and the status away."""
        self._bar.close()
        self._status.close()


@contextmanager
def status_line() -> Iterator[Callable[[str], None]]:
    """Give a function that shows on standard error how far the work has come."""
    with Note() as note:
        yield note if not is_quiet() else lambda text: None


class Display(Protocol):
    """What follows an experiment and knows its folder, once it has one."""

    folder: Path | None

    def on_end(self) -> None: ...


AnyDisplay = TypeVar("AnyDisplay", bound=Display)


@contextmanager
def followed(
    label: str, unit: str, command: str, *, also_failed: bool = False
) -> Iterator[Console]:
    """Give a console for an experiment (see `Console`, `resumable`)."""
    with resumable(Console(label, unit), command, also_failed=also_failed) as console:
        yield console


@contextmanager
def resumable(
    console: AnyDisplay, command: str, *, also_failed: bool = False
) -> Iterator[AnyDisplay]:
    """Give the display of an experiment; on Ctrl-C and SIGTERM, print the command
    that resumes it.

    Args:
        command: that resumes the experiment, followed by its folder.
        also_failed: whether to print it after a failure too.
    """
    try:
        yield console
    except (KeyboardInterrupt, WorkFailed) as error:
        console.on_end()
        if console.folder is not None and (also_failed or isinstance(error, KeyboardInterrupt)):
            notify(f"resume with: {command} {shlex.quote(str(console.folder))}")
        raise
    finally:
        console.on_end()
