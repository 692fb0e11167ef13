"""What is written: a table as Markdown, every run's curves as CSV, all figures as records, regret
curves with bands as a figure."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnas_search.benchmarks.discovery.problems import DiscoveryProblem
from mnas_search.benchmarks.discovery.roster import ABLATIONS, REFERENCE, STARTED, label
from mnas_search.benchmarks.discovery.scoring import Scored
from mnas_search.benchmarks.figure_style import new_figure, rendered
from mnas_search.benchmarks.results import Record, markdown_table, rounded, zipped_csv
from mnas_search.common.statistics import paired_difference
from mnas_search.evaluators.accel_nasbench.evidence import SEED_NOISE

Runs = Mapping[str, Mapping[int, Scored]]  # searcher -> seed -> run


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """All runs on one problem."""

    problem: DiscoveryProblem
    fraction: float  # of uniform draws, within the target
    best: float  # the best held-out reward known
    best_codes: tuple[int, ...]  # of its network
    # held-out reward of the optimum of what is told, without noise: what a perfect search would
    # report
    perfect: float
    runs: Runs  # by searcher and seed

    @property
    def perfect_regret(self) -> float:
        """Regret in points of a perfect search of the search model: how far the models differ."""
        return 100 * (self.best - self.perfect)

    def regret(self, run: Scored) -> NDArray[np.float64]:
        """Return the points below the best known, after each evaluation [n]."""
        return 100 * (self.best - run.best)

    def incumbent_regret(self, run: Scored) -> NDArray[np.float64]:
        """Return the same of the network with the largest told reward so far [n]."""
        return 100 * (self.best - run.incumbent)


def records(scores: Scores, evaluations: Sequence[int]) -> list[Record]:
    """A record a searcher: medians over seeds, and intervals of the difference to ours."""
    made = []
    ours = scores.runs.get(REFERENCE, {})
    for name, runs in scores.runs.items():
        record: Record = {"problem": scores.problem.name, "controller": label(name)}
        record["seeds"] = len(runs)
        for n in evaluations:
            at_n = _at(scores.regret, runs, n)
            chosen = _at(scores.incumbent_regret, runs, n)
            difference = (
                None if name == REFERENCE else paired_difference(at_n, _at(scores.regret, ours, n))
            )
            record[f"regret@{n}"] = None if not at_n else round(median([*at_n.values()]), 3)
            record[f"incumbent@{n}"] = None if not at_n else round(median([*chosen.values()]), 3)
            record[f"seeds@{n}"] = len(at_n)
            record[f"difference@{n}"] = rounded(difference)
        record |= _passing([run.passed for run in runs.values()])
        record["ms/decision"] = round(1e3 * median([run.seconds for run in runs.values()]), 2)
        made.append(record)
    return made


def _at(
    regret: Callable[[Scored], NDArray[np.float64]], runs: Mapping[int, Scored], n: int
) -> dict[int, float]:
    """Return the regret at n by seed, of the seeds that ran that far."""
    return {seed: float(regret(run)[n - 1]) for seed, run in runs.items() if len(run.best) >= n}


def _passing(passed: Sequence[tuple[float, ...]]) -> dict[str, Any]:
    """Return the evaluations until B0 is passed: median, largest, and medians over the refits."""
    if not passed or not passed[0]:
        return {"B0 median": None, "B0 max": None, "B0 never": None, "B0 refits": None}
    first = [run[0] for run in passed]
    refits = [median([run[k] for run in passed]) for k in range(1, len(passed[0]))]
    return {
        "B0 median": _finite(median(first)),
        "B0 max": _finite(max(first)),
        "B0 never": sum(math.isinf(n) for n in first),
        "B0 refits": [_finite(min(refits)), _finite(max(refits))] if refits else None,
    }


def _finite(value: float) -> float | None:
    """Replace infinity by None (never), since JSON has no infinity."""
    return value if math.isfinite(value) else None


def table(rows: Sequence[Mapping[str, Any]], evaluations: Sequence[int]) -> list[dict[str, str]]:
    """Return records as cells of text."""
    cells = []
    for row in rows:
        line = {key: str(row[key]) for key in ("problem", "controller", "seeds")}
        for n in evaluations:
            line[f"regret at {n}"] = _regret_cell(row, n)
        if row["B0 never"] is None:
            line |= {"B0 passed after": "-", "never": "-"}
        else:
            line["B0 passed after"] = _passed_cell(row)
            line["never"] = str(row["B0 never"])
        line["ms/decision"] = f"{row['ms/decision']:.2f}"
        cells.append(line)
    return cells


def _regret_cell(row: Mapping[str, Any], n: int) -> str:
    if row[f"regret@{n}"] is None:
        return "-"
    text = f"{row[f'regret@{n}']:.2f}"
    if row[f"seeds@{n}"] < row["seeds"]:
        text += f" ({row[f'seeds@{n}']} seeds)"
    if row[f"difference@{n}"] is not None:
        _value, low, high = row[f"difference@{n}"]
        text += f" [{low:+.2f}, {high:+.2f}]"
    return text


def _passed_cell(row: Mapping[str, Any]) -> str:
    def text(value: float | None) -> str:
        return "never" if value is None else f"{value:g}"

    cell = f"{text(row['B0 median'])}; {text(row['B0 max'])}"
    if row["B0 refits"] is not None:
        low, high = row["B0 refits"]
        cell += f" (refits {text(low)} to {text(high)})"
    return cell


_LEGEND = f"""\
Regret: points of held-out reward (x 100) below the best known, median over seeds; in brackets the
95 % interval of the difference to `{REFERENCE}` (paired bootstrap over the common seeds; above 0:
`{REFERENCE}` is better). B0 passed after: evaluations until EfficientNet-B0's held-out reward is
passed, median and largest, and the medians' range over refits of the held-out model. never: seeds
that did not. ms/decision: process time of ask and tell, one thread. Told accuracies carry noise of
{100 * SEED_NOISE:g} points; an evaluation over the target counts and cannot win. What is told
and what is reported come from different models of different networks: the optimum of one is not
that of the other, and regrets below a perfect search's are luck.
"""


def markdown(
    scores: Sequence[Scores], rows: Sequence[Mapping[str, Any]], evaluations: Sequence[int]
) -> str:
    """Return the tables of all problems as Markdown."""
    parts = ["# Discovery: controllers compared", "", _LEGEND]
    for problem in scores:
        name = problem.problem.name
        own = [row for row in rows if row["problem"] == name]
        if not own:
            continue
        parts += [
            f"## {name}",
            "",
            f"{100 * problem.fraction:.1f} % of uniform draws are within the target; best known "
            f"held-out reward {problem.best:.4f}, codes "
            f"`{''.join(map(str, problem.best_codes))}`. A perfect search of what is told, "
            f"without noise, would report a regret of {problem.perfect_regret:.2f}.",
            "",
            *markdown_table(table(own, evaluations), without=("problem",)),
        ]
    return "\n".join(parts)


def curves(scores: Sequence[Scores]) -> bytes:
    """Return every run's two regrets where they change, and at its end: CSV, gzipped."""
    header = ("problem", "controller", "seed", "evaluations", "regret", "incumbent_regret")
    return zipped_csv(header, (row for problem in scores for row in _changes(problem)))


def _changes(scores: Scores) -> Iterator[tuple[object, ...]]:
    for name, runs in scores.runs.items():
        for seed, run in runs.items():
            both = np.stack([scores.regret(run), scores.incumbent_regret(run)])
            changes = np.flatnonzero((np.diff(both, axis=1) != 0).any(axis=0)) + 1
            for index in sorted({0, *changes.tolist(), both.shape[1] - 1}):
                regrets = (f"{value:.3f}" for value in both[:, index])
                yield (scores.problem.name, label(name), seed, index + 1, *regrets)


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
