"""What `mnas-search fit` prints on standard error: one display of all phases."""

from pathlib import Path
from typing import final

from mnas_search.cli.logs import is_quiet, notify
from mnas_search.cli.options import shown
from mnas_search.common.render.progress import Countdown, Note
from mnas_search.experiments.fit.clock import Clock, FitListener


@final
class FitConsole(FitListener):
    """Follows a fit: the folder, the plan, what begins, and how much time is left."""

    def __init__(self) -> None:
        self.folder: Path | None = None
        self._cwd = Path.cwd()  # the user's code may change it
        self._countdown: Countdown | None = None
        self._status = Note()

    def on_start(self, folder: Path) -> None:
        """Print the folder."""
        self.folder = Path(shown(folder, self._cwd))
        notify(f"fit folder: {self.folder}")

    def on_clock(self, clock: Clock) -> None:
        """Show the time left from now on."""
        self._countdown = Countdown(lambda: (clock.share, clock.left, clock.description))
        self._show()

    def on_stage(self, text: str) -> None:
        """Print what begins."""
        notify(text)
        self._show()

    def on_progress(self, done: int, total: int, text: str) -> None:
        """Show what has finished."""
        self._show()

    def on_status(self, text: str) -> None:
        """Show how far a stage has come."""
        if not is_quiet():
            self._status(text)

    def on_note(self, text: str) -> None:
        """Print a sentence."""
        notify(text)

    def on_end(self) -> None:
        """Take the display away."""
        self._status.close()
        if self._countdown is not None:
            self._countdown.close()

    def _show(self) -> None:
        if self._countdown is not None and not is_quiet():
            self._countdown.show()
