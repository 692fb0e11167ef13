"""How a run goes, on standard error."""

import sys
import time
from collections.abc import Callable

from rich.console import RenderableType
from rich.live import Live
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn
from rich.progress_bar import ProgressBar
from rich.status import Status
from rich.table import Table

from mnas_search.common.render.tables import console
from mnas_search.common.units import format_duration

_QUIET = 10.0  # seconds between lines where there is no terminal to draw a bar on


class Bar:
    """A progress bar on a terminal, a line now and then elsewhere."""

    def __init__(self, what: str) -> None:
        self._what = what
        self._bar: Progress | None = None
        self._spoken = 0.0

    def show(self, done: int, total: int, text: str) -> None:
        """Move the bar, or print a line."""
        if sys.stderr.isatty():
            self._draw(done, total, text)
        elif done in (0, total) or time.monotonic() - self._spoken > _QUIET:
            self._spoken = time.monotonic()
            print(f"{done}/{total} {self._what}, {text}", file=sys.stderr, flush=True)

    def close(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None

    def _draw(self, done: int, total: int, text: str) -> None:
        if self._bar is None:
            self._bar = Progress(
                BarColumn(bar_width=20),
                MofNCompleteColumn(),
                TimeRemainingColumn(compact=True),
                TextColumn("left;"),
                TextColumn("{task.description}"),
                console=console(stderr=True),
            )
            self._bar.add_task(text, total=total, completed=done)
            self._bar.start()
        self._bar.update(self._bar.task_ids[0], completed=done, description=text)


class Countdown:
    """A bar over the whole of some work. On a terminal it moves by itself, between results too;
    elsewhere, a line is printed now and then.

    Args:
        state: gives the share that is done, from 0 to 1, the seconds left, and a text.
    """

    def __init__(self, state: Callable[[], tuple[float, float, str]]) -> None:
        self._state = state
        self._live: Live | None = None
        self._spoken = 0.0

    def show(self) -> None:
        """Begin to draw, or print a line."""
        if sys.stderr.isatty():
            if self._live is None:
                self._live = Live(
                    get_renderable=self._draw,
                    console=console(stderr=True),
                    refresh_per_second=2,
                    transient=True,
                )
                self._live.start()
        elif time.monotonic() - self._spoken > _QUIET:
            self._spoken = time.monotonic()
            print(self._line(), file=sys.stderr, flush=True)

    def close(self) -> None:
        """Take the bar away."""
        if self._live is not None:
            self._live.stop()
            self._live = None

    def _line(self) -> str:
        _, left, text = self._state()
        return f"{format_duration(left)} left; {text}"

    def _draw(self) -> RenderableType:
        share, _, _ = self._state()
        row = Table.grid(padding=(0, 1))
        row.add_row(ProgressBar(total=1.0, completed=share, width=20), self._line())
        return row


class Note:
    """One line that changes on a terminal, a line now and then elsewhere; as a context, it takes
    the line away at its end."""

    def __init__(self) -> None:
        self._status: Status | None = None
        self._spoken = 0.0

    def __call__(self, text: str) -> None:
        """Show the current state."""
        if sys.stderr.isatty():
            if self._status is None:
                self._status = console(stderr=True).status(text)
                self._status.start()
            self._status.update(text)
        elif time.monotonic() - self._spoken > _QUIET:
            self._spoken = time.monotonic()
            print(text, file=sys.stderr, flush=True)

    def close(self) -> None:
        """Take the line away."""
        if self._status is not None:
            self._status.stop()
            self._status = None

    def __enter__(self) -> "Note":
        return self

    def __exit__(self, *error: object) -> None:
        self.close()
