"""Readings over processes, kept as JSON lines: what is there is not computed again."""

import hashlib
import json
import signal
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass
from multiprocessing import get_context
from pathlib import Path

from mnas_search.benchmarks.ranking import networks
from mnas_search.benchmarks.ranking.readings import Reading
from mnas_search.benchmarks.ranking.trials import Trial
from mnas_search.common.errors import MnasSearchError, WorkFailed, describe_exception


@dataclass(frozen=True, slots=True, kw_only=True)
class Work:
    """One trial on one network."""

    trial: Trial
    row: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Store:
    """A file a trial, a line a network: `{"network": row, "readings": [[name, value, s], ...]}`.

    The file's name holds a hash of the trial's settings: other settings, another file. A line
    torn by an interruption counts as absent.
    """

    folder: Path

    def read(self, trial: Trial) -> dict[int, tuple[Reading, ...]]:
        """Readings by row."""
        file = self._file(trial)
        if not file.exists():
            return {}
        found = {}
        for line in file.read_text().splitlines():
            try:
                content = json.loads(line)
            except ValueError:
                continue
            found[int(content["network"])] = tuple(
                Reading(name=name, value=float("nan") if value is None else value, seconds=seconds)
                for name, value, seconds in content["readings"]
            )
        return found

    def append(self, work: Work, readings: Sequence[Reading]) -> None:
        """Add a line, on a line of its own even behind a torn one."""
        content = {
            "network": work.row,
            "readings": [
                # JSON has no NaN and no infinity.
                [r.name, r.value if abs(r.value) < float("inf") else None, round(r.seconds, 4)]
                for r in readings
            ],
        }
        file = self._file(work.trial)
        try:
            file.parent.mkdir(parents=True, exist_ok=True)
            with file.open("ab+") as stream:
                torn = False
                if stream.tell():
                    stream.seek(-1, 2)
                    torn = stream.read(1) != b"\n"
                stream.write(b"\n" * torn + json.dumps(content).encode() + b"\n")
        except OSError as error:
            raise WorkFailed(f"cannot write {file}: {error.strerror}") from error

    def _file(self, trial: Trial) -> Path:
        digest = hashlib.sha256(repr((trial.measure, trial.seed)).encode()).hexdigest()[:8]
        return self.folder / "readings" / f"{trial.name}-{digest}.jsonl"


def compute(
    store: Store, work: Sequence[Work], processes: int, note: Callable[[str], None]
) -> list[str]:
    """Read all that is asked for; returns a line for each that failed."""
    failures: list[str] = []
    step = max(1, len(work) // 20)

    def done(n: int, piece: Work, outcome: tuple[Reading, ...] | BaseException) -> None:
        if isinstance(outcome, BaseException):
            reason = (
                str(outcome)
                if isinstance(outcome, MnasSearchError)
                else describe_exception(outcome)
            )
            failures.append(f"{piece.trial.name} on network {piece.row}: {reason}")
            note(f"failed: {failures[-1]}")
        else:
            store.append(piece, outcome)
        if n % step == 0 or n == len(work):
            note(f"{n:,} of {len(work):,} readings")

    if processes == 1 or len(work) < 2:
        for n, piece in enumerate(work, 1):
            done(n, piece, _attempt(piece))
        return failures
    pool = ProcessPoolExecutor(
        min(processes, len(work)), mp_context=get_context("spawn"), initializer=_start
    )
    try:
        futures = {pool.submit(measure, piece): piece for piece in work}
        for n, future in enumerate(as_completed(futures), 1):
            error = future.exception()
            done(n, futures[future], future.result() if error is None else error)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    return failures


def measure(work: Work) -> tuple[Reading, ...]:
    """The trial's readings of one network, on one thread."""
    from mnas_search.common.machine import one_thread

    with one_thread():
        return tuple(work.trial.measure(networks.network(work.row), work.trial.seed))


def _attempt(work: Work) -> tuple[Reading, ...] | BaseException:
    try:
        return measure(work)
    except Exception as error:
        return error


def _start() -> None:
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # die without a traceback
