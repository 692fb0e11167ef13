"""Draw regret curves with bands, a panel for each problem."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnas_search.benchmarks.discovery.report import Scores
from mnas_search.benchmarks.discovery.roster import ABLATIONS, REFERENCE, STARTED, label
from mnas_search.benchmarks.figure_style import new_figure, rendered

_EVALUATIONS = (5, 10, 25, 50, 100, 300, 1_000)
_POINTS = (0, 0.2, 0.5, 1, 2, 5, 10)
_COLUMNS = 3

Curves = Mapping[str, Sequence[NDArray[np.float64]]]  # regrets [n] of each seed, by controller


def draw(scores: Sequence[Scores]) -> dict[str, bytes]:
    """Return discovery.png and discovery.svg; ablations and shared starts are left out."""
    left_out = {*ABLATIONS, *STARTED}
    return draw_curves(
        {
            one.problem.name: {
                label(name): [one.regret(run) for run in runs.values()]
                for name, runs in one.runs.items()
                if name not in left_out
            }
            for one in scores
            if one.runs
        },
        {one.problem.name: one.perfect_regret for one in scores},
    )


def draw_curves(curves: Mapping[str, Curves], perfect: Mapping[str, float]) -> dict[str, bytes]:
    """Draw medians, and bands between the quartiles, by problem.

    A curve ends where fewer than half of its seeds continue; `perfect` is the regret of a perfect
    search of the rewards that controllers are told.
    """
    columns = min(_COLUMNS, len(curves))
    lines = -(-len(curves) // columns)
    names = list(dict.fromkeys(name for own in curves.values() for name in own))
    with new_figure(4 * columns, 3.1 * lines + 0.5) as figure:
        panels = list(np.ravel(figure.subplots(lines, columns, squeeze=False)))
        lines_by_name: dict[str, Any] = {}
        for panel, (problem, own) in zip(panels, curves.items(), strict=False):
            _axes(panel, problem, max(len(curve) for some in own.values() for curve in some))
            for name, some in own.items():
                lines_by_name.setdefault(name, _curve(panel, names.index(name), name, some))
            lines_by_name["perfect search of what is told"] = panel.axhline(
                perfect[problem], color="grey", linewidth=1, linestyle=":"
            )
        _legend(figure, panels[len(curves) :], lines_by_name)
        return {f"discovery.{form}": rendered(figure, form) for form in ("png", "svg")}


def _axes(panel: Any, problem: str, evaluations: int) -> None:
    panel.set_title(problem)
    panel.set_xlabel("evaluations")
    panel.set_ylabel("regret, points")
    panel.set_xscale("log")
    panel.set_xticks(_EVALUATIONS, [str(n) for n in _EVALUATIONS])
    panel.set_xticks([], minor=True)
    panel.set_xlim(_EVALUATIONS[0], evaluations)
    panel.set_yscale("symlog", linthresh=_POINTS[1])
    panel.set_yticks([], minor=True)
    panel.set_yticks(_POINTS, [f"{y:g}" for y in _POINTS])
    panel.set_ylim(0, _POINTS[-1])


def _curve(panel: Any, index: int, name: str, curves: Sequence[NDArray[np.float64]]) -> Any:
    length = int(np.median([len(curve) for curve in curves]))
    kept = np.array([curve[:length] for curve in curves if len(curve) >= length])
    low, middle, high = np.percentile(kept, [25, 50, 75], axis=0)
    n = np.arange(1, length + 1)
    colour, style = f"C{index % 10}", "-" if index < 10 else "--"
    width = 2.2 if name == REFERENCE else 1.2
    (line,) = panel.plot(n, middle, style, color=colour, linewidth=width, drawstyle="steps-post")
    panel.fill_between(n, low, high, color=colour, alpha=0.15, linewidth=0, step="post")
    return line


def _legend(figure: Any, spare: Sequence[Any], lines: Mapping[str, Any]) -> None:
    """Put the legend in the first panel that no problem needs, else below all panels."""
    for panel in spare:
        panel.axis("off")
    handles = (list(lines.values()), list(lines))
    if spare:
        spare[0].legend(*handles, loc="center left")
    else:
        figure.legend(*handles, loc="outside lower center", ncols=5)
