"""What listens to a run while it works."""

from pathlib import Path

from mnas_search.nas.trial import Trial


class Reporter:
    """Hears how a run goes. This one says nothing."""

    def opened(self, folder: Path, resumed: int) -> None:
        """The folder is there; `resumed` trials were finished before."""

    def progress(self, done: int, total: int, best: Trial | None) -> None:
        """A trial has finished, or the search begins."""

    def stage(self, what: str) -> None:
        """Something else than the search begins."""

    def note(self, what: str) -> None:
        """How far a stage is."""

    def closed(self) -> None:
        """The search or stage has ended, however."""
