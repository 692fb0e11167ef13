"""What follows an experiment while it is under way."""

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import final

from mnas_search.common.errors import UsageError, WorkFailed, describe_exception
from mnas_search.nas.trial import Trial


class Callback:
    """Follows a search. Each hook does nothing; override those of interest.

        class Print(mnas_search.Callback):
            def on_trial(self, trial):
                print(trial.number, trial.accuracy)

        mnas_search.search("150M", callbacks=[Print()])

    Hooks are called in the process of the search, in the order of the journal, after the event is
    in it. They change nothing: a search with and without them is the same. An exception ends the
    search, which can then be resumed.
    """

    def on_start(self, folder: Path) -> None:
        """A session begins, and this is the run's folder."""

    def on_trial(self, trial: Trial) -> None:
        """A trial has finished: `ok`, `failed` or `stopped`; duplicates are left out."""

    def on_rung(self, trial: int, rung: int, accuracy: float) -> None:
        """The training of the trial of this number has reached a rung, with this accuracy in
        [0, 1]; it is stopped there where early stopping decides so."""

    def on_stage(self, text: str) -> None:
        """A part of the run begins, such as the training of the finalists."""

    def on_end(self) -> None:
        """The session has ended, with or without success; the files are written."""


class Listener(Callback):
    """Follows any experiment: a search, a training, a study. What displays show besides."""

    def on_progress(self, done: int, total: int, text: str) -> None:
        """A trial, training or epoch has finished, or the first one is about to begin: `done` of
        `total` over all sessions; the text is the last result, or the best so far."""

    def on_status(self, text: str) -> None:
        """A long stage has come this far."""

    def on_note(self, text: str) -> None:
        """Something worth knowing, a sentence."""

    def on_left_out(self, what: str, folder: Path) -> None:
        """No time was left for a part of the run in this folder; a note says what to do."""
        self.on_note(
            f"no time was left for the {what}; a larger --time-budget makes up for it: "
            f"mnas-search resume {shlex.quote(str(folder))} --time-budget ..."
        )


@final
class Callbacks(Listener):
    """Several callbacks as one listener.

    Raises:
        UsageError: one is no `Callback`.
        WorkFailed: from a hook that raised an exception, with the names of callback and hook.
    """

    def __init__(self, callbacks: Sequence[Callback]) -> None:
        if not isinstance(callbacks, Sequence):
            raise UsageError(f"callbacks must be a list of Callback instances, got {callbacks!r}")
        for one in callbacks:
            if not isinstance(one, Callback):
                raise UsageError(f"callbacks must be instances of Callback, got {one!r}")
        self._callbacks = tuple(callbacks)

    def on_start(self, folder: Path) -> None:
        """Call the hook of each callback."""
        self._call("on_start", folder)

    def on_trial(self, trial: Trial) -> None:
        """Call the hook of each callback."""
        self._call("on_trial", trial)

    def on_rung(self, trial: int, rung: int, accuracy: float) -> None:
        """Call the hook of each callback."""
        self._call("on_rung", trial, rung, accuracy)

    def on_stage(self, text: str) -> None:
        """Call the hook of each callback."""
        self._call("on_stage", text)

    def on_end(self) -> None:
        """Call the hook of each callback."""
        self._call("on_end")

    def _call(self, hook: str, *values: object) -> None:
        for one in self._callbacks:
            try:
                getattr(one, hook)(*values)
            except Exception as error:
                raise WorkFailed(
                    f"callback {type(one).__name__}.{hook} failed: {describe_exception(error)}; "
                    "the run can be resumed"
                ) from error
