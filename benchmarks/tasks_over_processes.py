"""Work through a list of tasks over processes: a task that fails ends no other."""

import signal
from collections.abc import Callable, Generator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool
from contextlib import closing
from multiprocessing import active_children, get_context
from typing import Any, TypeVar

from mnas_search.common.errors import MnasSearchError, describe_exception

Task = TypeVar("Task")
Result = TypeVar("Result")
Note = Callable[[str], None]


def compute(
    work: Callable[[Task], Result],
    tasks: Sequence[Task],
    *,
    processes: int,
    unit: str,
    describe: Callable[[Task], str],
    note: Note,
    keep: Callable[[Task, Result], None] = lambda task, result: None,
) -> list[str]:
    """Compute all tasks and return a line for each that failed.

    Args:
        work: computes one task; must be picklable for more than one process.
        processes: number of tasks at a time.
        unit: what several tasks are called.
        describe: names a task in messages.
        note: receives lines about progress and failures.
        keep: receives each result, in this process.
    """
    failures: list[str] = []
    step = max(1, len(tasks) // 20)
    with closing(_outcomes(work, tasks, processes)) as outcomes:
        for n, (task, outcome) in enumerate(outcomes, 1):
            if isinstance(outcome, BaseException):
                known = isinstance(outcome, MnasSearchError)
                reason = str(outcome) if known else describe_exception(outcome)
                failures.append(f"{describe(task)}: {reason}")
                note(f"failed: {failures[-1]}")
            else:
                keep(task, outcome)
            if n % step == 0 or n == len(tasks):
                note(f"{n:,} of {len(tasks):,} {unit}")
    return failures


def _outcomes(
    work: Callable[[Task], Result], tasks: Sequence[Task], processes: int
) -> Generator[tuple[Task, Result | BaseException], None, None]:
    """Yield each task with its result or error, as they finish."""
    if processes == 1 or len(tasks) < 2:
        for task in tasks:
            try:
                outcome: Result | BaseException = work(task)
            except Exception as raised:
                outcome = raised
            yield task, outcome
        return
    pool = ProcessPoolExecutor(
        min(processes, len(tasks)),
        mp_context=get_context("spawn"),
        initializer=_start,
        initargs=(work,),
    )
    try:
        futures = {pool.submit(_work_on, task): task for task in tasks}
        for future in as_completed(futures):
            error = future.exception()
            yield futures[future], future.result() if error is None else error
            if isinstance(error, BrokenProcessPool):
                return  # a worker was killed: no more results can come
    except BaseException:  # Ctrl-C and SIGTERM, of which the workers may know nothing
        for process in active_children():
            process.terminate()
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


_work: Callable[[Any], Any] | None = None  # of a worker process


def _start(work: Callable[[Any], Any]) -> None:
    global _work
    _work = work
    signal.signal(signal.SIGINT, signal.SIG_DFL)  # die without a traceback


def _work_on(task: Any) -> Any:
    assert _work is not None
    return _work(task)
