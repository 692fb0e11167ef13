"""The time of a whole run: when its search has to end, so that what follows it ends in time."""

import math
import time
from typing import final

from mnas_search.nas.journal import Events
from mnas_search.nas.trial import Trial


@final
class TimeLimit:
    """Decides whether a search has time for another candidate.

    Trainings after the search are taken to last as long as the candidates did on average, and a
    second start of the workers as long as the first. The first candidate of each worker is left
    out: it may have waited for imports.

    Args:
        seconds: of the whole run over all its sessions; None for no limit.
        journal: of the run, with the events of earlier sessions.
        workers: trainings at a time.
        begun: `time.monotonic()` at which this session began.
    """

    def __init__(
        self, seconds: float | None, journal: Events, *, workers: int, begun: float
    ) -> None:
        self._begun, self._workers = begun, max(1, workers)
        self._total = math.inf if seconds is None else seconds
        self._end = begun + self._total - seconds_spent(journal)
        self._startup: float | None = None  # seconds until the first candidate is asked for
        self._over = False
        # A broken event is refused later, where the trials are read.
        told = (e for e in journal.events if e["event"] == "tell" and e.get("status") == "ok")
        self._seconds = [e["seconds"] for e in told if e.get("seconds")]

    @property
    def left(self) -> float:
        """Seconds left of the run's; negative after its end."""
        return self._end - time.monotonic()

    @property
    def mean(self) -> float | None:
        """Mean seconds of a candidate's whole training; None as long as it is not known."""
        known = self._seconds[self._workers :]
        return sum(known) / len(known) if known else None

    def record(self, trial: Trial) -> None:
        """Take the duration of a finished candidate."""
        if trial.status == "ok":
            self._seconds.append(trial.seconds)

    def duration(self, trainings: int) -> float:
        """Estimate the seconds that trainings after the search take, with the start of workers; 0
        where nothing is known of their duration."""
        if self.mean is None or not trainings:
            return 0.0
        return math.ceil(trainings / self._workers) * self.mean + (self._startup or 0.0)

    def allows_candidate(self, following: int, reserved: float = 0.0) -> bool:
        """Return whether one more candidate, and what follows the search, end within the limit;
        once refused, all later ones are. As long as nothing is known of their duration, all are
        allowed.

        Args:
            following: number of trainings like a candidate's.
            reserved: seconds of everything else; at most half of the limit is kept for it.
        """
        if self._startup is None:
            self._startup = time.monotonic() - self._begun
        needed = 0.0
        if self.mean is not None:
            needed = self.mean + self.duration(following) + min(reserved, self._total / 2)
        self._over = self._over or self.left <= needed
        return not self._over


def seconds_spent(journal: Events) -> float:
    """Compute the seconds of earlier sessions, each from its start to its last event."""
    spent, session, last = 0.0, None, 0.0
    for event in [*journal.events, {"event": "session", "time": 0.0}]:
        if event["event"] == "session":
            spent += 0.0 if session is None else last - session
            session = event["time"]
        last = event["time"]
    return spent
