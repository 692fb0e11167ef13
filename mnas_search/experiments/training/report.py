"""How a training goes, on standard error, and what came of it, on standard output."""

import sys
from pathlib import Path

from mnas_search.common.render.progress import Bar
from mnas_search.common.render.tables import print_table
from mnas_search.common.units import format_duration, format_size
from mnas_search.experiments.training.checkpoints import Epoch
from mnas_search.experiments.training.session import Reporter, TrainingResult


class TrainingReporter(Reporter):
    """A progress bar on a terminal, a line now and then elsewhere."""

    def __init__(self) -> None:
        self.folder: Path | None = None
        self._bar = Bar("epochs")

    def opened(self, folder: Path, done: int, epochs: int) -> None:
        """Print the folder."""
        self.folder = folder
        self.note(f"training folder: {folder}")
        if done:
            self.note(f"{done} of {epochs} epochs were done before")
        if done < epochs:
            self._bar.show(done, epochs, "the next epoch" if done else "the first epoch")

    def note(self, text: str) -> None:
        """Print it."""
        print(text, file=sys.stderr, flush=True)

    def epoch(self, epoch: Epoch, epochs: int) -> None:
        """Move the bar, or print a line."""
        text = f"loss {epoch.loss:.4f}, validation top-1 {epoch.top1:.4f}"
        self._bar.show(epoch.epoch, epochs, text)

    def closed(self) -> None:
        """Take the bar away."""
        self._bar.close()


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
