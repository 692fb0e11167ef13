"""What follows an experiment while it is under way."""

from pathlib import Path


class Listener:
    """Follows an experiment: a search, a training, a study. Each method does nothing; override
    those of interest."""

    def on_start(self, folder: Path) -> None:
        """A session begins, and this is the experiment's folder."""

    def on_stage(self, text: str) -> None:
        """A part of the experiment begins, such as the training of the finalists."""

    def on_progress(self, done: int, total: int, text: str) -> None:
        """A trial, training or epoch has finished, or the first one is about to begin: `done` of
        `total` over all sessions; the text is the last result, or the best so far."""

    def on_status(self, text: str) -> None:
        """A long stage has come this far."""

    def on_note(self, text: str) -> None:
        """Something worth knowing, a sentence."""

    def on_end(self) -> None:
        """The work of a session has ended, with or without success."""
