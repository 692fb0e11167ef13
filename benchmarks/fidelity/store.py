"""The kept results of tasks, in a journal: nothing is computed twice."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, final

from mnas_search.benchmarks import tasks_over_processes
from mnas_search.benchmarks.fidelity.place import Place
from mnas_search.benchmarks.fidelity.tasks import Result, Task
from mnas_search.benchmarks.tasks_over_processes import Note
from mnas_search.common.errors import UsageError
from mnas_search.nas.event_kinds import COUNT, OBJECT, TEXT, EventKinds
from mnas_search.nas.journal import Journal

JOURNAL = "readings.jsonl"
_DONE, _PLANNED, _DATA = "reading", "plan", "data"
_EVENTS: EventKinds = {
    _DONE: {"task": TEXT, "result": OBJECT},
    _PLANNED: {"name": TEXT, "length": COUNT},
    _DATA: {"sha256": TEXT},
}


@final
class Store:
    """Results by the keys of their tasks, and plans by name.

    Args:
        folder: of one space; the journal is in it.
        part: of the space's networks, which most tasks are of.
    """

    def __init__(self, folder: Path, part: str = "") -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._part = part
        self._journal = Journal(folder / JOURNAL, _EVENTS)
        self._results: dict[str, Result] = {}
        self._plans: dict[str, int] = {}
        self._data: str | None = None
        for event in self._journal.events:
            if event["event"] == _DONE:
                self._results[event["task"]] = event["result"]
            elif event["event"] == _PLANNED:
                self._plans[event["name"]] = event["length"]
            else:
                self._data = event["sha256"]

    def __enter__(self) -> "Store":
        return self

    def __exit__(self, *error: object) -> None:
        self._journal.close()

    def check_data(self, sha256: str) -> None:
        """Remember the data that tasks are done on.

        Raises:
            UsageError: others were used before.
        """
        if self._data is None:
            self._journal.append({"event": _DATA, "sha256": sha256})
            self._data = sha256
        if self._data != sha256:
            raise UsageError("--data must be the images of the kept readings, got others")

    def result(self, task: Task) -> Result | None:
        """Return the result of a task; None where it is not done."""
        return self._results.get(self._key(task))

    def results(self, tasks: Sequence[Task]) -> list[Result] | None:
        """Return the results of all tasks; None where one is not done."""
        found = [result for task in tasks if (result := self.result(task)) is not None]
        return found if len(found) == len(tasks) else None

    def plan(self, name: str, length: float | None = None) -> int | None:
        """Return a planned length; where there is none yet, keep `length`, rounded and at least
        1."""
        if name not in self._plans and length is not None:
            self._plans[name] = max(1, round(length))
            self._journal.append(
                {"event": _PLANNED, "name": name, "length": self._plans[name]}, sync=True
            )
        return self._plans.get(name)

    def compute(
        self, tasks: Iterable[Task], place: Place, *, processes: int, note: Note
    ) -> list[str]:
        """Do the tasks that are not done; return a line for each that failed."""
        missing = [task for task in dict.fromkeys(tasks) if self.result(task) is None]
        return tasks_over_processes.compute(
            _Work(place),
            missing,
            processes=processes,
            unit="tasks",
            describe=lambda task: task.key,
            note=note,
            keep=self._keep,
        )

    def _keep(self, task: Task, result: Mapping[str, Any]) -> None:
        key = self._key(task)
        self._journal.append({"event": _DONE, "task": key, "result": dict(result)}, sync=True)
        self._results[key] = result

    def _key(self, task: Task) -> str:
        return f"{self._part}: {task.key}" if self._part and task.of_part else task.key


class _Work:
    """Does a task in a worker process."""

    def __init__(self, place: Place) -> None:
        self._place = place

    def __call__(self, task: Task) -> Result:
        return task.run(self._place)
