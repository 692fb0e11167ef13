"""How a prior was trained, and how far it agrees with the trainings so far."""

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

from mnas_search.common.render.pages import Table
from mnas_search.common.statistics import Interval
from mnas_search.experiments.search.prior.agreement import MIN_TRAINED, PRIOR, Agreement
from mnas_search.experiments.search.prior.readings import prior_text
from mnas_search.experiments.search.result import Result


@dataclass(frozen=True, slots=True, kw_only=True)
class PriorReport:
    """A table of rankings, and sentences on them."""

    rankings: Table
    notes: tuple[str, ...]


def prior_report(result: Result) -> PriorReport | None:
    """Return the report of a prior that was trained; None for other runs."""
    found, readings = result.agreement, result.readings
    if found is None or readings is None:
        return None
    notes = (prior_text(readings), *_verdict(found), *_method())
    return PriorReport(rankings=_table(found), notes=notes)


def prior_summary(result: Result) -> dict[str, Any] | None:
    """Return the same as plain JSON values; None for other runs."""
    found, readings = result.agreement, result.readings
    if found is None or readings is None:
        return None
    return {**asdict(found), "steps": readings.steps, "seconds": readings.seconds}


def _table(found: Agreement) -> Table:
    header = (
        "ranking by",
        f"tau with a member's readings, {found.read} networks",
        f"tau with the trainings, {found.trained} networks",
    )
    rows = [(one.name, _text(one.readings), _text(one.trainings)) for one in found.rankings]
    return header, rows


def _text(tau: Interval | None, sign: str = "") -> str:
    return "-" if tau is None else tau.text(f"{sign}.2f")


def _verdict(found: Agreement) -> Iterator[str]:
    best, difference = found.best_count, found.difference
    if best is None or difference is None:
        yield (
            f"whether the prior ranks better than counts is not known: that takes at least "
            f"{MIN_TRAINED} trained networks with different accuracies, and there are "
            f"{found.trained}"
        )
        return
    if difference.low <= 0 <= difference.high:
        verdict = "the prior is not distinguishable from counts"
    else:
        word = "better" if difference.low > 0 else "worse"
        verdict = f"the prior ranks the trained networks {word} than counts"
    yield (
        f"{verdict}: its tau with the {found.trained} trainings less that of {best}, the best "
        f"count, is {_text(difference, '+')}"
    )
    yield (
        "this decides nothing: the search weighs prior and counts by all of its trainings, and a "
        "dozen trainings judge such a difference wrongly in four draws of ten"
    )


def _method() -> Iterator[str]:
    yield (
        "tau is Kendall's tau-b with 95 % intervals, bootstraps over networks; the trained "
        f"networks were chosen with the help of {PRIOR}, so that their taus are not those of "
        "networks drawn at random"
    )
