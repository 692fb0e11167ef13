"""Readings, kept as JSON lines: nothing is computed twice."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from mnas_search.benchmarks import tasks_over_processes
from mnas_search.benchmarks.ranking import networks
from mnas_search.benchmarks.ranking.readings import Reading
from mnas_search.benchmarks.ranking.trials import Trial
from mnas_search.benchmarks.tasks_over_processes import Note
from mnas_search.common.checksums import checked, with_checksum
from mnas_search.common.errors import UsageError, WorkFailed, reason_of
from mnas_search.common.files import open_unlinked


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
        """Return the kept readings by row."""
        file = self._file(trial)
        if not file.exists():
            return {}
        found = {}
        for number, line in enumerate(file.read_text().splitlines(), start=1):
            try:
                content = json.loads(line)
            except ValueError:
                continue
            try:
                content = checked(content)
            except ValueError as error:
                raise UsageError(f"{file} line {number}: {error}") from None
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
            with open_unlinked(file) as stream:
                torn = False
                if stream.tell():
                    stream.seek(-1, 2)
                    torn = stream.read(1) != b"\n"
                stream.write(b"\n" * torn + json.dumps(with_checksum(content)).encode() + b"\n")
        except OSError as error:
            raise WorkFailed(f"cannot write {file}: {reason_of(error)}") from error

    def _file(self, trial: Trial) -> Path:
        digest = hashlib.sha256(repr((trial.measure, trial.seed)).encode()).hexdigest()[:8]
        return self.folder / "readings" / f"{trial.name}-{digest}.jsonl"


def compute(store: Store, work: Sequence[Work], processes: int, note: Note) -> list[str]:
    """Read all that is asked for and return a line for each reading that failed."""
    return tasks_over_processes.compute(
        measure,
        work,
        processes=processes,
        unit="readings",
        describe=lambda piece: f"{piece.trial.name} on network {piece.row}",
        note=note,
        keep=store.append,
    )


def measure(work: Work) -> tuple[Reading, ...]:
    """Return the trial's readings of one network, on one thread."""
    from mnas_search.common.machine import one_thread

    with one_thread():
        return tuple(work.trial.measure(networks.network(work.row), work.trial.seed))
