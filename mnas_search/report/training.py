"""How a training goes, on standard error, and what came of it, on standard output."""

import sys
import time
from pathlib import Path

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from mnas_search.report.tables import console, print_table
from mnas_search.training.full.checkpoints import Epoch
from mnas_search.training.full.session import Reporter, TrainingResult
from mnas_search.units import format_duration, format_size

_QUIET = 10.0  # seconds between lines where there is no terminal to draw a bar on


class TrainingReporter(Reporter):
    """A progress bar on a terminal, a line now and then elsewhere."""

    def __init__(self) -> None:
        self.folder: Path | None = None
        self._bar: Progress | None = None
        self._spoken = 0.0

    def opened(self, folder: Path, done: int, epochs: int) -> None:
        """Print the folder."""
        self.folder = folder
        self.note(f"training folder: {folder}")
        if done:
            self.note(f"{done} of {epochs} epochs were done before")
        if done < epochs and sys.stderr.isatty():
            self._bar = Progress(
                BarColumn(bar_width=20),
                MofNCompleteColumn(),
                TimeRemainingColumn(compact=True),
                TextColumn("left;"),
                TextColumn("{task.description}"),
                console=console(stderr=True),
            )
            self._bar.add_task("the first epoch", total=epochs, completed=done)
            self._bar.start()

    def note(self, text: str) -> None:
        """Print it."""
        print(text, file=sys.stderr, flush=True)

    def epoch(self, epoch: Epoch, epochs: int) -> None:
        """Move the bar, or print a line."""
        text = f"loss {epoch.loss:.4f}, validation top-1 {epoch.top1:.4f}"
        if self._bar is not None:
            self._bar.update(self._bar.task_ids[0], completed=epoch.epoch, description=text)
        elif epoch.epoch in (1, epochs) or time.monotonic() - self._spoken > _QUIET:
            self._spoken = time.monotonic()
            self.note(f"epoch {epoch.epoch}/{epochs}: {text}")

    def closed(self) -> None:
        """Take the bar away."""
        if self._bar is not None:
            self._bar.stop()
            self._bar = None


def print_result(result: TrainingResult) -> None:
    """A table, and where the rest lies."""
    low, high = result.test.interval
    rows = [
        ("name", result.name),
        ("params", f"{result.params:,}"),
        ("FLOPs (multiply-adds)", format_size(result.macs)),
        ("epochs", f"{result.epochs}, best {result.best_epoch}"),
        ("time", format_duration(result.seconds)),
        ("validation", _accuracies(result.accuracy, result.top5)),
        ("test", _accuracies(result.test.top1, result.test.top5)),
        ("", f"top-1's 95 % interval {low:.4f} to {high:.4f}, n = {result.test.n:,}"),
        ("weights", str(Path(result.folder) / "export")),
    ]
    print_table(("", ""), rows)


def _accuracies(top1: float, top5: float | None) -> str:
    return f"top-1 {top1:.4f}" + (f", top-5 {top5:.4f}" if top5 is not None else "")
