"""What is written: tables as Markdown, every run's curves as CSV, all figures as records, regret
curves with bands as a figure."""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from statistics import median
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnas_search.benchmarks.discovery.roster import ABLATIONS, REFERENCE, STARTED, label
from mnas_search.benchmarks.discovery.scoring import LAST, STEP, Scored
from mnas_search.benchmarks.discovery.worlds import SEED_NOISE, World
from mnas_search.benchmarks.figure_style import new_figure, rendered
from mnas_search.benchmarks.results import Record, markdown_table, rounded, zipped_csv
from mnas_search.common.statistics import paired_difference

Key = tuple[str, int]  # problem and seed
Runs = Mapping[str, Mapping[Key, Scored]]  # of each searcher

ALL = "all problems"


@dataclass(frozen=True, slots=True, kw_only=True)
class Scores:
    """All runs on one problem."""

    problem: str
    fraction: float  # of uniform draws, within the target
    runs: Runs

    @property
    def perfect_regret(self) -> float:
        """Regret in points of a perfect search of what is told, without noise: how far the models
        differ. The median over the worlds of the runs, as are the next ones."""
        return self._median(lambda run: 100 * (run.best.reward - run.best.perfect))

    @property
    def best(self) -> float:
        """The best held-out reward known."""
        return self._median(lambda run: run.best.reward)

    @property
    def distance(self) -> float:
        """Decisions in which its network differs from the nearest recorded one."""
        return self._median(lambda run: run.best.distance)

    def _median(self, value: Callable[[Scored], float]) -> float:
        return median(value(run) for runs in self.runs.values() for run in runs.values())


# Regret of each network that is scored, by the name in records.
CURVES: dict[str, Callable[[Scored], NDArray[np.float64]]] = {
    "recommended": lambda run: run.regret(run.recommended),
    "largest told": lambda run: run.regret(run.told),
    "oracle": lambda run: run.regret(run.oracle),
}


def records(scores: Sequence[Scores], evaluations: Sequence[int]) -> list[Record]:
    """A record for each searcher on each problem, and on all that were searched together."""
    together: dict[str, dict[Key, Scored]] = {}
    for one in scores:
        for name, runs in one.runs.items():
            together.setdefault(name, {}).update(runs)
    groups = [*((one.problem, one.runs) for one in scores), (ALL, together)]
    return [
        _record(problem, name, runs, evaluations)
        for problem, runs in (groups if len(scores) > 1 else groups[:-1])
        for name in runs
    ]


def _record(problem: str, name: str, runs: Runs, evaluations: Sequence[int]) -> Record:
    """Medians over seeds, and intervals of the difference to ours."""
    own, ours = runs[name], runs.get(REFERENCE, {})
    record: Record = {"problem": problem, "controller": label(name), "seeds": len(own)}
    for n in evaluations:
        for curve in CURVES:
            record[f"{curve}@{n}"] = _rounded_median(_at(curve, own, n).values(), 3)
        primary = "recommended" if n <= LAST else "largest told"
        one, two = _at(primary, own, n), _at(primary, ours, n)
        record[f"seeds@{n}"] = len(one)
        difference = None if name == REFERENCE else paired_difference(one, two, group=_half)
        record[f"difference@{n}"] = rounded(difference)
    record |= _beyond_b0("stays", [run.stays for run in own.values()])
    record |= _beyond_b0("oracle", [run.passed for run in own.values()])
    record["ms/decision"] = round(1e3 * median([run.seconds for run in own.values()]), 2)
    return record


def _half(key: Key) -> int:
    """Seeds of both roles on one cut of the records are drawn together."""
    return World.of(key[1]).half


def _at(curve: str, runs: Mapping[Key, Scored], n: int) -> dict[Key, float]:
    """Return the regret at n of the runs that went that far."""
    regrets = {key: CURVES[curve](run) for key, run in runs.items()}
    found = {key: float(regret[n - 1]) for key, regret in regrets.items() if len(regret) >= n}
    return {key: value for key, value in found.items() if math.isfinite(value)}


def _rounded_median(values: Any, digits: int) -> float | None:
    known = [*values]
    return round(median(known), digits) if known else None


def _beyond_b0(name: str, counts: Sequence[float | None]) -> dict[str, Any]:
    """Return evaluations until B0 is passed: median, largest, and the number of runs without."""
    known = [count for count in counts if count is not None]
    if not known:
        return {f"{name} median": None, f"{name} max": None, f"{name} never": None}
    return {
        f"{name} median": _finite(median(known)),
        f"{name} max": _finite(max(known)),
        f"{name} never": sum(math.isinf(n) for n in known),
    }


def _finite(value: float) -> float | None:
    """Replace infinity by None (never), since JSON has no infinity."""
    return value if math.isfinite(value) else None


def table(rows: Sequence[Mapping[str, Any]], evaluations: Sequence[int]) -> list[dict[str, str]]:
    """Return records as cells of text: of the recommended network."""
    cells = []
    for row in rows:
        line = {key: str(row[key]) for key in ("problem", "controller", "seeds")}
        for n in evaluations:
            if n <= LAST:
                line[f"regret at {n}"] = _regret_cell(row, n)
        line["better than B0 from"] = _passed_cell(row, "stays")
        line["ms/decision"] = f"{row['ms/decision']:.2f}"
        cells.append(line)
    return cells


def other_table(
    rows: Sequence[Mapping[str, Any]], evaluations: Sequence[int]
) -> list[dict[str, str]]:
    """Return records as cells of text: of the largest told one, and the oracle's."""
    cells = []
    for row in rows:
        line = {"controller": str(row["controller"])}
        for n in evaluations:
            told, oracle = row[f"largest told@{n}"], row[f"oracle@{n}"]
            line[f"at {n}"] = "-" if told is None else f"{told:.2f}; {oracle:.2f}"
            if told is not None and n > LAST:
                line[f"at {n}"] += _interval(row, n)
        line["oracle better than B0 after"] = _passed_cell(row, "oracle")
        cells.append(line)
    return cells


def _regret_cell(row: Mapping[str, Any], n: int) -> str:
    if row[f"recommended@{n}"] is None:
        return "-"
    text = f"{row[f'recommended@{n}']:.2f}"
    if row[f"seeds@{n}"] < row["seeds"]:
        text += f" ({row[f'seeds@{n}']} seeds)"
    return text + _interval(row, n)


def _interval(row: Mapping[str, Any], n: int) -> str:
    if row[f"difference@{n}"] is None:
        return ""
    _value, low, high = row[f"difference@{n}"]
    return f" [{low:+.2f}, {high:+.2f}]"


def _passed_cell(row: Mapping[str, Any], name: str) -> str:
    def text(value: float | None) -> str:
        return "never" if value is None else f"{value:g}"

    if row[f"{name} never"] is None:
        return "-"
    cell = f"{text(row[f'{name} median'])}; {text(row[f'{name} max'])}"
    return cell + (f" ({row[f'{name} never']} never)" if row[f"{name} never"] else "")


_NOISE = ", ".join(f"{100 * std:g} points in `{space}`" for space, std in SEED_NOISE.items())
_LEGEND = f"""\
Regret: points of held-out reward (x 100) below the best known of the world, median over seeds; in
brackets the 95 % interval of the difference to `{REFERENCE}` (paired bootstrap over halves of the
records, then seeds; above 0: `{REFERENCE}` is better).

The first table is of the network that one model, the same for every controller, recommends of
what the controller was told, after every {STEP} evaluations up to {LAST}. "better than B0 from":
number of evaluations from which on it is better than EfficientNet-B0, every time until the end;
median and largest over seeds. The second table has two regrets: that of the network with the
largest told reward, and the oracle's, which is that of the best network evaluated.

Told accuracies carry the noise of one training: {_NOISE}.
An evaluation over the target counts and cannot win. What is told and what is reported come from
different models of different networks: the optimum of one is not that of the other. ms/decision:
process time of ask and tell, one thread.
"""


def markdown(
    scores: Sequence[Scores], rows: Sequence[Mapping[str, Any]], evaluations: Sequence[int]
) -> str:
    """Return the tables of all problems as Markdown."""
    parts = ["# Discovery: controllers compared", "", _LEGEND]
    for one in scores:
        if one.runs:
            parts += [
                f"## {one.problem}",
                "",
                f"{100 * one.fraction:.1f} % of uniform draws are within the target. Medians over "
                f"the worlds of the runs: best known held-out reward {one.best:.4f}; number of "
                f"decisions in which its network differs from the nearest recorded one "
                f"{one.distance:g}; regret that a perfect search of what is told, without noise, "
                f"would report {one.perfect_regret:.2f}.",
                "",
                *_tables(rows, one.problem, evaluations),
            ]
    if len(scores) > 1:
        parts += [f"## {ALL}", "", *_tables(rows, ALL, evaluations)]
    return "\n".join(parts)


def _tables(
    rows: Sequence[Mapping[str, Any]], problem: str, evaluations: Sequence[int]
) -> list[str]:
    own = [row for row in rows if row["problem"] == problem]
    return [
        *markdown_table(table(own, evaluations), without=("problem",)),
        *markdown_table(other_table(own, evaluations)),
    ]


def curves(scores: Sequence[Scores]) -> bytes:
    """Return every run's regrets where they change, and at its end: CSV, gzipped."""
    header = ("problem", "controller", "seed", "evaluations", *CURVES)
    return zipped_csv(header, (row for problem in scores for row in _changes(problem)))


def _changes(scores: Scores) -> Iterator[tuple[object, ...]]:
    for name, runs in scores.runs.items():
        for (problem, seed), run in runs.items():
            regrets = np.stack([regret(run) for regret in CURVES.values()])
            known = np.nan_to_num(regrets, nan=-1e3)
            changes = np.flatnonzero((np.diff(known, axis=1) != 0).any(axis=0)) + 1
            for index in sorted({0, *changes.tolist(), regrets.shape[1] - 1}):
                values = ("" if np.isnan(v) else f"{v:.3f}" for v in regrets[:, index])
                yield (problem, label(name), seed, index + 1, *values)


_EVALUATIONS = (5, 10, 25, 50, 100, 300, 1_000)
_POINTS = (0, 0.2, 0.5, 1, 2, 5, 10)
_COLUMNS = 3

Curves = Mapping[str, Sequence[NDArray[np.float64]]]  # regrets [n] of each seed, by controller


def draw(scores: Sequence[Scores]) -> dict[str, bytes]:
    """Return discovery.png and discovery.svg: regret of the recommended network. Ablations and
    shared starts are left out."""
    left_out = {*ABLATIONS, *STARTED}
    return draw_curves(
        {
            one.problem: {
                label(name): [CURVES["recommended"](run)[:LAST] for run in runs.values()]
                for name, runs in one.runs.items()
                if name not in left_out
            }
            for one in scores
            if one.runs
        },
        {one.problem: one.perfect_regret for one in scores if one.runs},
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
