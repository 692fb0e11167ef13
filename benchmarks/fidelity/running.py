"""The benchmark: does what is missing, and writes the table."""

from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import fmean

import numpy as np

from mnas_search.benchmarks.fidelity import report
from mnas_search.benchmarks.fidelity.macro import recorded
from mnas_search.benchmarks.fidelity.phases import PARTS, check_parts, phases, references
from mnas_search.benchmarks.fidelity.place import Place
from mnas_search.benchmarks.fidelity.predictors import predictors
from mnas_search.benchmarks.fidelity.rows import Table
from mnas_search.benchmarks.fidelity.settings import Settings, confirm_settings
from mnas_search.benchmarks.fidelity.store import Store
from mnas_search.benchmarks.fidelity.subject import Subject
from mnas_search.benchmarks.results import Outcome, write_files
from mnas_search.common.errors import UsageError
from mnas_search.data.loading import absolute
from mnas_search.training.recipe import ProxyRecipe
from mnas_search.training.supernet import SupernetRecipe

Note = Callable[[str], None]


def run(
    *,
    data: str | None,
    results: Path,
    settings: Settings | None = None,
    only: Sequence[str] = (),
    report_only: bool = False,
    open_confirm: bool = False,
    processes: int = 1,
    note: Note = lambda line: None,
) -> Outcome:
    """Do the tasks that `results` lacks, and write the table there.

    Args:
        data: what `--data` names; not needed for counts alone.
        results: the folder; each space has one below it.
        settings: None for those of the part `confirm`.
        only: parts of the table, of `phases.PARTS`.
        report_only: use the results that are there.
        open_confirm: whether to read the accuracies of the part `confirm`. Without, its tasks are
            done and no table is made; with it none is done, and all must have been.
        processes: tasks at a time.
        note: hears of progress, a line at a time.
    """
    settings = settings or confirm_settings()
    parts = check_parts(only)
    _check_recipes(settings)
    confirms = settings.is_macro and settings.split == "confirm"
    place = Place(
        settings=settings,
        data=None if data is None else absolute(data),
        folder=results / Path(settings.space).stem,
    )
    part = settings.split if settings.is_macro else ""
    failures: list[str] = []
    with Store(place.folder, part) as store:
        subject = place.subject()
        if open_confirm:
            _check_whole(settings, subject, store)
        elif not report_only and (parts != ("counts",) or not settings.is_macro):
            store.check_data(place.dataset().sha256)
            for tasks in phases(settings, subject, store, parts):
                failures += store.compute(tasks, place, processes=processes, note=note)
        if confirms and not open_confirm:
            note("the accuracies of `confirm` stay unread; --open-confirm reads them")
            return Outcome(records=[], table=[], files=(), failures=tuple(failures))
        note("rows of the table")
        found = predictors(settings, subject, store, parts)
        rows = list(_table(settings, subject, store).rows(found))
    files = {
        "fidelity.md": report.markdown(rows, settings, subject),
        "fidelity.json": report.records(rows),
        "fidelity.png": report.draw(rows),
        "settings.json": settings.to_json(),
    }
    return Outcome(
        records=report.records(rows),
        table=report.table(rows),
        files=write_files(place.folder / part, files),
        failures=tuple(failures),
    )


def _check_recipes(settings: Settings) -> None:
    """Raise `UsageError` for a recipe that cannot be read, before any task."""
    SupernetRecipe().override(settings.supernet)
    for recipe in settings.proxies:
        ProxyRecipe().override(recipe)


def _check_whole(settings: Settings, subject: Subject, store: Store) -> None:
    """Raise `UsageError` if a task of any part is not done."""
    missing = [
        task
        for tasks in phases(settings, subject, store, PARTS)
        for task in tasks
        if store.result(task) is None
    ]
    if missing:
        raise UsageError(
            f"--open-confirm requires all readings, got {len(missing):,} or more missing (run "
            "without it first)"
        )


def _table(settings: Settings, subject: Subject, store: Store) -> Table:
    """Return the table of the recorded accuracies, or of those of the networks' trainings."""
    if settings.is_macro:
        return Table(settings, subject, store, recorded.accuracies(settings.split))
    done = store.results(references(settings, subject, store))
    if not done:
        raise UsageError(f"the trainings of networks of space {settings.space!r} are not all done")
    accuracy = np.array([result["accuracy"] for result in done])
    return Table(
        settings,
        subject,
        store,
        accuracy.reshape(settings.reference_seeds, len(subject)).T,
        seconds=fmean(result["seconds"] for result in done),
    )
