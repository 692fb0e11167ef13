"""Progress of a run on the terminal."""

import sys
from pathlib import Path

from mnas_search.common.render.progress import Bar, Note
from mnas_search.common.units import format_latency, format_size
from mnas_search.experiments.listener import Reporter
from mnas_search.nas.trial import Trial


class ConsoleReporter(Reporter):
    """A run on standard error."""

    def __init__(self) -> None:
        self.folder: Path | None = None
        self._bar, self._note = Bar("candidates"), Note()

    def opened(self, folder: Path, resumed: int) -> None:
        """Print the folder."""
        self.folder = folder
        print(f"run folder: {folder}", file=sys.stderr, flush=True)
        if resumed:
            print(f"{resumed} trials were finished before", file=sys.stderr, flush=True)

    def progress(self, done: int, total: int, best: Trial | None) -> None:
        """Show the best so far."""
        text = "no candidate yet"
        if best is not None:
            costs = [f"{format_size(best.macs)} FLOPs"]
            if best.latency is not None:
                costs.append(format_latency(best.latency))
            text = f"best {best.accuracy:.4f} at {', '.join(costs)}, reward {best.reward:.4f}"
        self._bar.show(done, total, text)

    def stage(self, what: str) -> None:
        """Print what begins."""
        print(what, file=sys.stderr, flush=True)

    def note(self, what: str) -> None:
        """Show how far a stage is."""
        self._note(what)

    def closed(self) -> None:
        """Take bar and note away."""
        self._bar.close()
        self._note.close()
