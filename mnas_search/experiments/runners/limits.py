"""How long a job of a run may take, and when what still runs is cut off."""

import json
import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TextIO, final

from mnas_search.common.files import read_text
from mnas_search.common.units import format_duration
from mnas_search.nas.job import TIMED_OUT, AnyJob, EvaluationJob, Job, JobQueue, Outcome
from mnas_search.nas.trial import Evaluation

FACTOR, LEAST, FIRST = 10, 600.0, 86_400.0  # see `TrialLimits`
_LATE = 30.0  # seconds at least of a job that begins after the end of a run's time
MARK = "timed-out.txt"  # in the folder of an experiment


@final
class TrialLimits:
    """The limits of the jobs of one experiment.

    Args:
        seconds: of a job; infinity for no limit. None: ten times the longest so far, at least ten
            minutes; a day, until the first one has ended.
        longest: seconds of the longest job of earlier sessions; 0 for none.
        cut_off: gives the `time.monotonic()` after which what still runs is cut off.
        folder: of the experiment. A process that has to be ended for a job leaves a mark there.
    """

    def __init__(
        self,
        seconds: float | None = None,
        *,
        longest: float = 0.0,
        cut_off: Callable[[], float] = lambda: math.inf,
        folder: Path | None = None,
    ) -> None:
        self._seconds, self._longest, self._cut_off = seconds, longest, cut_off
        self._mark = None if folder is None else folder / MARK
        self._stuck = self._mark and _read_mark(self._mark)
        self._file: TextIO | None = None
        self.cut = 0  # number of jobs that were cut off
        self.lost = 0  # number of workers that died

    @property
    def seconds(self) -> float:
        """Of the next job."""
        if self._seconds is not None:
            return self._seconds
        return max(LEAST, FACTOR * self._longest) if self._longest else FIRST

    @property
    def text(self) -> str:
        """The limit, in words."""
        if self._seconds is not None:
            limit = format_duration(self._seconds)
        else:
            limit = f"{FACTOR} times the longest so far (at least {LEAST / 60:.0f} min)"
        return f"a trial that takes longer than {limit} has timed out (--trial-timeout)"

    @property
    def left(self) -> float:
        """Seconds until what still runs is cut off."""
        return self._cut_off() - time.monotonic()

    @property
    def until_cut_off(self) -> float:
        """The `time.monotonic()` after which the next job is cut off."""
        return max(self._cut_off(), time.monotonic() + _LATE)

    @property
    def until_end(self) -> float:
        """Seconds until the next job has timed out, or is cut off."""
        return min(self.seconds, self.until_cut_off - time.monotonic())

    def record(self, outcome: Outcome, seconds: float) -> None:
        """Take the duration of a job that has ended."""
        if isinstance(outcome, Evaluation):
            self._longest = max(self._longest, seconds)

    def cuts_off(self, outcome: Outcome) -> bool:
        """Return whether a job that ended in this way was cut off by the end of the run's time; it
        is not recorded, and is done by a later session that has more time."""
        cut = outcome == TIMED_OUT and self.left <= 0
        self.cut += cut
        return cut

    def ended_a_process(self, job: Job) -> bool:
        """Return whether an earlier process had to be ended for this job."""
        return self._stuck is not None and self._stuck == _key(job)

    def mark(self, job: Job) -> TextIO | None:
        """Note in the folder that this process begins the job; return the file that gets the place
        in the code where the process is ended for it."""
        if self._mark is None:
            return None
        if self._file is None:
            self._mark.unlink(missing_ok=True)
            self._file = self._mark.open("x", encoding="utf-8")  # follows no link
        self._file.seek(0)
        self._file.truncate()
        self._file.write(json.dumps(_key(job)) + "\n")
        self._file.flush()
        return self._file

    def notes(self) -> Iterator[str]:
        """Say what was cut off, and what was lost."""
        if self.cut:
            jobs = "1 training was" if self.cut == 1 else f"{self.cut} trainings were"
            yield f"{jobs} cut off, after the end of the time budget; resume with a larger one"
        if self.lost:
            workers = "1 worker was" if self.lost == 1 else f"{self.lost} workers were"
            yield f"{workers} lost; a trial whose worker is lost is repeated once"

    def close(self) -> None:
        """Remove the mark: the process ends by itself."""
        if self._file is not None and self._mark is not None:
            self._file.close()
            self._mark.unlink(missing_ok=True)


def next_job(queue: JobQueue[AnyJob], limits: TrialLimits) -> AnyJob | None:
    """Return a queue's next job; record those for which an earlier process had to be ended."""
    while (job := queue.next()) is not None and limits.ended_a_process(job):
        queue.record(job, TIMED_OUT, 0.0)
    return job


def longest_of(events: Sequence[Mapping[str, Any]]) -> float:
    """Return the seconds of the longest candidate's evaluation in a journal; 0 for none."""
    told = [e.get("seconds") for e in events if e["event"] == "tell" and e.get("status") == "ok"]
    return max((s for s in told if isinstance(s, int | float)), default=0.0)


def _key(job: Job) -> list[str | int] | None:
    if not isinstance(job, EvaluationJob):
        return None
    return [job.recipe, job.network.fingerprint, job.seed]


def _read_mark(path: Path) -> list[str | int] | None:
    """Return the key of the job for which a process was ended; None where it ended otherwise."""
    try:
        first, _, place = read_text(path).partition("\n")
        key = json.loads(first)
    except (OSError, ValueError):
        return None
    return key if place.strip() and isinstance(key, list) else None
