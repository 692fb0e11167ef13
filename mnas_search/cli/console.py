"""What a command prints on standard error while an experiment is under way."""

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import final

from mnas_search.cli.logs import is_quiet, notify
from mnas_search.cli.options import shown
from mnas_search.common.errors import WorkFailed
from mnas_search.common.render.progress import Bar, Countdown, Note
from mnas_search.experiments.fit.clock import Clock, FitListener


@final
class Console(FitListener):
    """Follows an experiment on standard error: the folder, stages, and a progress bar; in a fit,
    how much time is left.

    Args:
        label: what the folder is called.
        unit: what the bar counts.
    """

    def __init__(self, label: str, unit: str) -> None:
        self.folder: Path | None = None
        self._cwd = Path.cwd()  # the user's code may change it
        self._label, self._bar, self._status = label, Bar(unit), Note()
        self._countdown: Countdown | None = None

    def on_start(self, folder: Path) -> None:
        """Print the folder."""
        self.on_end()
        self.folder = Path(shown(folder, self._cwd))
        notify(f"{self._label}: {self.folder}")

    def on_stage(self, text: str) -> None:
        """Print what begins."""
        self.on_end()  # of the stage before
        notify(text)
        self._show_time()

    def on_clock(self, clock: Clock) -> None:
        """Show the time left from now on, in the place of the bar."""
        self._countdown = Countdown(lambda: (clock.share, clock.left, clock.description))
        self._show_time()

    def on_progress(self, done: int, total: int, text: str) -> None:
        """Move the bar."""
        if self._countdown is None and not is_quiet():
            self._bar.show(done, total, text)
        self._show_time()

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
        if self._countdown is not None:
            self._countdown.close()

    def _show_time(self) -> None:
        if self._countdown is not None and not is_quiet():
            self._countdown.show()


@contextmanager
def status_line() -> Iterator[Callable[[str], None]]:
    """Give a function that shows on standard error how far the work has come."""
    with Note() as note:
        yield note if not is_quiet() else lambda text: None


@contextmanager
def followed(
    label: str, unit: str, command: str, *, also_failed: bool = False
) -> Iterator[Console]:
    """Give a console for an experiment; on Ctrl-C and SIGTERM, print the command that resumes it.

    Args:
        label, unit: of the console.
        command: that resumes the experiment, followed by its folder.
        also_failed: whether to print it after a failure too.
    """
    console = Console(label, unit)
    try:
        yield console
    except (KeyboardInterrupt, WorkFailed) as error:
        console.on_end()
        if console.folder is not None and (also_failed or isinstance(error, KeyboardInterrupt)):
            notify(f"resume with: {command} {shlex.quote(str(console.folder))}")
        raise
    finally:
        console.on_end()
