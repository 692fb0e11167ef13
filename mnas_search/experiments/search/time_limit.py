"""The time of a whole run: when its search has to end, so that what follows it ends in time."""

import math
import time
from statistics import fmean
from typing import final

from mnas_search.common.units import format_duration
from mnas_search.nas.journal import Events
from mnas_search.nas.trial import Trial

LATE = 0.08  # of the limit: by how much what follows the search may end late
_LAST = 4  # candidates that tell how fast the machine is now; as many as workers, if more
_LEAST = 30.0  # seconds between the end of the time and the cut-off
_EVENT = "time over"
_SEARCH, _COMPARISON = "search", "comparison"


@final
class TimeLimit:
    """Decides whether a run has time for another candidate, and for what follows the search.

    Trainings after the search are taken to last as long as the candidates did on average, or the
    last of them where these took longer, and a second start of the workers as long as the first.
    The first candidate of each worker counts only until others are known: it may have waited for
    imports.

    That the search, or what follows it, ended by time is an event of the journal, and holds for
    later sessions unless their limit is larger.

    Args:
        seconds: of the whole run over all its sessions; None for no limit.
        journal: of the run, with the events of earlier sessions.
        workers: trainings at a time.
        begun: `time.monotonic()` at which this session began.
    """

    def __init__(
        self, seconds: float | None, journal: Events, *, workers: int, begun: float
    ) -> None:
        self._journal, self._workers = journal, max(1, workers)
        self._total = math.inf if seconds is None else seconds
        self._end = begun + self._total - seconds_spent(journal)
        self._starting: float | None = None  # when the workers' first start began
        self._startup = 0.0  # seconds of it
        self._compares: bool | None = None
        self._in_vain: float | None = None  # seconds spent when there was no time for the first
        ended = (e for e in journal.events if e["event"] == _EVENT)
        self._over = {e.get("phase") for e in ended if (e.get("budget") or 0.0) >= self._total}
        # A broken event is refused later, where the trials are read.
        told = (e for e in journal.events if e["event"] == "tell" and e.get("status") == "ok")
        self._seconds = [e["seconds"] for e in told if e.get("seconds")]

    @property
    def left(self) -> float:
        """Seconds left of the run's; negative after its end."""
        return self._end - time.monotonic()

    @property
    def is_late(self) -> bool:
        """Whether nothing more may begin."""
        return self.left <= -LATE * self._total

    @property
    def mean(self) -> float | None:
        """Mean seconds of a candidate's whole training: of all of them, or of the last ones where
        these took longer, as on a machine that has become slower; None before the first one has
        ended."""
        known = self._seconds[self._workers :] or self._seconds
        last = known[-max(_LAST, self._workers) :]
        return max(fmean(known), fmean(last)) if known else None

    @property
    def left_out(self) -> bool:
        """Whether there was no time for the comparison that follows the search."""
        return _COMPARISON in self._over

    def cut_off(self) -> float:
        """Compute the `time.monotonic()` after which a training that still runs is cut off: half a
        minute after the end, or 8 % of the limit, or twice the longest training (half of the limit
        where none has ended), whichever is longest."""
        training = 2 * max(self._seconds) if self._seconds else self._total / 2
        return self._end + max(_LEAST, LATE * self._total, training)

    def start(self) -> None:
        """Note that the workers' first start begins now."""
        self._starting = time.monotonic()

    def record(self, trial: Trial) -> None:
        """Take the duration of a finished candidate."""
        if self._starting is not None:
            self._startup = max(0.0, time.monotonic() - self._starting - trial.seconds)
            self._starting = None
        if trial.status == "ok":
            self._seconds.append(trial.seconds)

    def duration(self, trainings: int) -> float:
        """Estimate the seconds that trainings after the search take, with the start of workers; 0
        where nothing is known of their duration."""
        if self.mean is None or not trainings:
            return 0.0
        return math.ceil(trainings / self._workers) * self.mean + self._startup

    def allows_candidate(self, following: int, compared: int = 0, reserved: float = 0.0) -> bool:
        """Return whether one more candidate, and what follows the search, end within the limit;
        once refused, all later ones are. As long as nothing is known of their duration, all are
        allowed.

        Args:
            following: number of trainings like a candidate's.
            compared: those of the comparison; where there is no time for it any more, it is left
                out, and the search has its time.
            reserved: seconds of everything else; at most half of the limit is kept for it.
        """
        if _SEARCH in self._over:
            return False
        needed = 0.0
        if self.mean is not None:
            if self._fits(following + compared):
                following += compared
            needed = self.mean + self.duration(following) + min(reserved, self._total / 2)
        if self.left <= needed:
            if self.mean is None:
                self._in_vain = self._total - self.left
            self._end_of(_SEARCH)
        return _SEARCH not in self._over

    def allows_comparison(self, trainings: int) -> bool:
        """Return whether another training of the comparison may begin: none, where all `trainings`
        at its beginning do not fit into the time that is left."""
        if self._compares is None:
            self._compares = self._fits(trainings)
        return self._compares and not self.is_late

    def shortage(self, asked: int) -> str | None:
        """Say why no candidate has ended, `asked` of them having begun; None where it is not for
        lack of time."""
        if self._in_vain is None:
            return None
        budget = f"the time budget of {format_duration(self._total)} ended before"
        if asked:
            return f"{budget} a candidate had"
        spent = format_duration(self._in_vain)
        return f"{budget} the first candidate could begin, {spent} after the start of the command"

    def leave_out_comparison(self) -> None:
        """Note that there was no time for the comparison."""
        self._end_of(_COMPARISON)

    def _fits(self, trainings: int) -> bool:
        return self.duration(trainings) <= self.left + LATE * self._total

    def _end_of(self, phase: str) -> None:
        if phase not in self._over and math.isfinite(self._total):
            self._journal.append({"event": _EVENT, "budget": self._total, "phase": phase})
        self._over.add(phase)


def seconds_spent(journal: Events) -> float:
    """Compute the seconds of earlier sessions, each from its start to its last event; `seconds` of
    its first event are those before it."""
    spent, session, last = 0.0, None, 0.0
    for event in [*journal.events, {"event": "session", "time": 0.0}]:
        if event["event"] == "session":
            spent += (0.0 if session is None else last - session) + (event.get("seconds") or 0.0)
            session = event["time"]
        last = event["time"]
    return spent
