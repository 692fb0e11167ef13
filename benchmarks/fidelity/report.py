"""What is written: the table as Markdown and JSON, tau against seconds as a figure."""

from collections.abc import Sequence

from mnas_search.benchmarks.fidelity.agreement import RESAMPLES
from mnas_search.benchmarks.fidelity.rows import FIT, Row
from mnas_search.benchmarks.fidelity.settings import Settings
from mnas_search.benchmarks.fidelity.subject import Subject
from mnas_search.benchmarks.figure_style import label_points, new_figure, rendered
from mnas_search.benchmarks.results import Record, markdown_table, rounded
from mnas_search.common.statistics import Interval
from mnas_search.common.units import format_size

_KINDS = ("yardstick", "count", "score", "proxy", "supernet", "control", "none")
_COLOURS = {"score": "#8a6d3b", "proxy": "#b3475c", "supernet": "#2f6f9f", "control": "#8c96a0"}
MACRO_NOTES = """\
NAS-Bench-Macro (arXiv 2103.11922): 98 % of the variance of its accuracies is which layers there
are; kernel and expansion carry 2 %. The recorded accuracy is that of the best epoch on the test
set. A recorded training takes about 6 CPU-hours. That `bayesian` models log(1 - accuracy) was
chosen on networks that overlap `confirm`.
"""


def records(rows: Sequence[Row]) -> list[Record]:
    """Return all figures, for JSON."""
    return [
        {
            "predictor": row.name,
            "kind": row.kind,
            "use": row.use,
            "trainings": row.trainings,
            "networks": row.agreement.networks,
            "seconds": round(row.seconds, 2),
            "tau": rounded(row.agreement.all),
            "top half": rounded(row.agreement.top),
            "FLOPs quintiles": rounded(row.agreement.quintiles),
            "equal depth": rounded(row.agreement.depth),
            "regret": rounded(row.agreement.regret),
            f"difference to {FIT}": rounded(row.difference),
        }
        for row in rows
    ]


def table(rows: Sequence[Row]) -> list[dict[str, str]]:
    """Return rows as cells of text."""
    return [
        {
            "predictor": row.name,
            "use": row.use,
            "trainings": str(row.trainings or ""),
            "networks": str(row.agreement.networks),
            "s": f"{row.seconds:,.0f}",
            "tau": _text(row.agreement.all),
            "top half": _text(row.agreement.top),
            "quintiles": _text(row.agreement.quintiles),
            "depth": _text(row.agreement.depth),
            "regret": _text(row.agreement.regret),
            "difference": _text(row.difference, sign="+"),
        }
        for row in rows
    ]


def markdown(rows: Sequence[Row], settings: Settings, subject: Subject) -> str:
    """Return the table with what its columns mean, a section for predictors alone and one for
    each use as a prior."""
    parts = [f"# Fidelity: {_title(settings, subject)}", "", _legend(settings, subject)]
    for use in dict.fromkeys(row.use for row in rows):
        own = sorted(
            (row for row in rows if row.use == use),
            key=lambda row: (_KINDS.index(row.kind), row.trainings),
        )
        parts += [f"## {_heading(use, settings)}", ""]
        without = ("use",) if any(row.trainings for row in own) else ("use", "trainings")
        parts += markdown_table(table(own), without=without)
    return "\n".join(parts)


def draw(rows: Sequence[Row]) -> bytes:
    """Draw tau over all networks against seconds, as PNG: predictors alone, and the counts as
    lines."""
    alone = [row for row in rows if row.use == "alone" and row.agreement.all is not None]
    with new_figure(7.2, 4.2) as figure:
        panel = figure.add_subplot()
        panel.set_xscale("log")
        panel.set_xlabel("CPU seconds for all networks that were read, training included")
        panel.set_ylabel("Kendall's tau with recorded accuracies")
        points = []
        for kind, colour in _COLOURS.items():
            for row in (row for row in alone if row.kind == kind):
                tau = _known(row.agreement.all)
                errors = [[tau.value - tau.low], [tau.high - tau.value]]
                panel.errorbar(row.seconds, tau.value, errors, fmt="o", ms=4, lw=0.8, color=colour)
                points.append((row.name, row.seconds, tau.value))
        for row in (row for row in alone if row.kind in ("count", "yardstick")):
            value = _known(row.agreement.all).value
            panel.axhline(value, color="#333333", lw=0.7, ls="--")
            panel.annotate(
                f" {row.name}",
                (1, value),
                xycoords=("axes fraction", "data"),
                va="center",
                fontsize=7,
            )
        label_points(panel, points, size=6)
        return rendered(figure, "png")


def _title(settings: Settings, subject: Subject) -> str:
    name = "NAS-Bench-Macro" if settings.is_macro else f"space `{settings.space}`"
    part = f", part `{settings.split}`" if settings.is_macro else ""
    return f"{len(subject)} networks of {name}{part}"


def _legend(settings: Settings, subject: Subject) -> str:
    targets = ", ".join(format_size(target) for target in settings.targets_of(subject.macs))
    truth = (
        "the mean of three recorded trainings"
        if settings.is_macro
        else f"the mean of {settings.reference_seeds} trainings of about "
        f"{settings.reference_seconds:g} s"
    )
    told = (
        "Recorded trainings are not counted."
        if settings.is_macro
        else "Trainings that are told are counted."
    )
    notes = f"\n{MACRO_NOTES}" if settings.is_macro else ""
    return f"""\
- tau: Kendall's tau-b with {truth}, 95 % interval (bootstrap over networks, and over supernets
  where there are several; {RESAMPLES:,} resamples). top half: among the better half of the
  networks; quintiles: over pairs in one quintile of multiply-adds; depth: over pairs with equally
  many blocks. Networks whose accuracy is told are left out.
- regret: percentage points of accuracy lost to the best network within a target by taking the one
  that is predicted best, the mean over {targets} multiply-adds.
- difference: of tau to that of the {FIT}, on the same networks.
- s: CPU seconds (by the clock on a GPU) for all networks that were read, training included. A
  zero-cost score and a supernet read {settings.networks} networks, a proxy {settings.trained}.
  {told}
- A prior is a Gaussian process that is fitted to these readings.
{notes}"""


def _heading(use: str, settings: Settings) -> str:
    headings = {
        "alone": "Alone",
        "prior": "As a prior, no training told",
        "recorded": "As the prior of `bayesian`, told trainings of the yardstick",
    }
    return headings.get(
        use,
        f"As the prior of `bayesian`, told trainings of about {use.removesuffix(' each')}: "
        f"{settings.total:,.0f} s in total",
    )


def _text(interval: Interval | None, *, sign: str = "") -> str:
    return "" if interval is None else interval.text(f"{sign}.2f")


def _known(interval: Interval | None) -> Interval:
    assert interval is not None
    return interval
