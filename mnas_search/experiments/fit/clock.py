"""How much of a fit's time is left, by its plan and by what has happened since."""

import time
from collections.abc import Mapping
from pathlib import Path
from typing import final

from mnas_search.experiments.listener import Listener

PHASES = ("measuring", "baselines", "search", "comparison", "training", "finish")


@final
class Clock:
    """Estimates the seconds that are left.

    At the beginning of a phase its planned duration counts, and then the pace between its reports.
    The phases that follow count as planned.

    Args:
        planned: seconds of each phase.
        spent: seconds of earlier sessions.
        begun: `time.monotonic()` at which this session began.
    """

    def __init__(self, planned: Mapping[str, float], *, spent: float, begun: float) -> None:
        self._planned = dict(planned)
        self._began = begun - spent
        self._phase, self._phase_began = PHASES[0], time.monotonic()
        self._reports = 0
        self._first: tuple[float, int] | None = None  # when the second report came, and how far
        self._last = (0.0, 0, 1)  # when the last one came; done of total
        self.text = ""

    @property
    def elapsed(self) -> float:
        """Seconds since the fit began, over all sessions."""
        return time.monotonic() - self._began

    def begin(self, phase: str, seconds: float | None = None) -> None:
        """Begin a phase; `seconds` replaces its planned duration."""
        self._phase, self._phase_began = phase, time.monotonic()
        self._reports, self._first, self.text = 0, None, ""
        if seconds is not None:
            self._planned[phase] = seconds

    def progress(self, done: int, total: int, text: str) -> None:
        """Take how far the phase has come."""
        now = time.monotonic()
        if self._reports == 1:  # the report before it had the start of the workers to come
            self._first = (now, done)
        self._reports += 1
        self._last, self.text = (now, done, max(total, 1)), f"{done} of {total}, {text}"

    @property
    def phase(self) -> str:
        """The phase under way."""
        return self._phase

    @property
    def description(self) -> str:
        """The phase, and how far it has come."""
        return f"{self._phase}: {self.text}" if self.text else self._phase

    @property
    def left(self) -> float:
        """Estimated seconds until the end of the last phase; never negative."""
        later = PHASES[PHASES.index(self._phase) + 1 :]
        return self._left_of_phase() + sum(self._planned.get(phase, 0.0) for phase in later)

    @property
    def share(self) -> float:
        """Estimated share of the whole that is done, from 0 to 1."""
        return self.elapsed / max(self.elapsed + self.left, 1e-9)

    def _left_of_phase(self) -> float:
        now = time.monotonic()
        planned = self._planned.get(self._phase, 0.0) - (now - self._phase_began)
        if self._first is None or self._last[1] <= self._first[1]:
            return max(0.0, planned)
        (first, start), (last, done, total) = self._first, self._last
        pace = (last - first) / (done - start)
        return max(0.0, (total - done) * pace - (now - last))


class FitListener(Listener):
    """Follows a fit; each method does nothing."""

    def on_clock(self, clock: Clock) -> None:
        """The phases begin, and this says how much time is left."""


@final
class PhaseListener(Listener):
    """Passes on what a run or a training says of itself, to one display of the whole fit."""

    def __init__(self, listener: Listener, clock: Clock) -> None:
        self._listener, self._clock = listener, clock

    def on_stage(self, text: str) -> None:
        """Pass on; what follows the candidates of a search is its comparison."""
        if self._clock.phase == "search":
            self._clock.begin("comparison")
        self._listener.on_stage(text)

    def on_progress(self, done: int, total: int, text: str) -> None:
        """Move the clock, and the display."""
        self._clock.progress(done, total, text)
        self._listener.on_progress(done, total, text)

    def on_note(self, text: str) -> None:
        """Pass on."""
        self._listener.on_note(text)

    def on_left_out(self, what: str, folder: Path) -> None:
        """Say what to do: the time is the whole fit's, and its plan is fixed."""
        del folder  # the run's
        self.on_note(f"no time was left for the {what}; a new fit with a longer --time has it")
