"""Regret curves with bands, a panel a problem."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from mnas_search.benchmarks.discovery.report import Scores
from mnas_search.benchmarks.discovery.roster import ABLATIONS, REFERENCE, STARTED, label
from mnas_search.common.errors import UsageError
from mnas_search.common.files import write_atomically

_EVALUATIONS = (5, 10, 25, 50, 100, 300, 1_000)
_POINTS = (0, 0.2, 0.5, 1, 2, 5, 10)
INSTALL = "pip install 'mnas-search[plots]'"


def draw(scores: Sequence[Scores], folder: Path) -> tuple[Path, ...]:
    """Write discovery.png and discovery.svg: medians, and bands between the quartiles.

    A curve goes on for as long as at least half of its seeds do. Raises `UsageError` where
    matplotlib is not installed.
    """
    try:
        from matplotlib import rc_context
        from matplotlib.backends.backend_agg import FigureCanvasAgg
        from matplotlib.figure import Figure
    except ImportError:
        raise UsageError(f"no figure without matplotlib; install it with: {INSTALL}") from None

    left_out = {*ABLATIONS, *STARTED}
    shown = [s for s in scores if s.runs]
    names = list(dict.fromkeys(n for s in shown for n in s.runs if n not in left_out))
    # A fixed salt and no date: the same curves give the same SVG.
    with rc_context({"svg.hashsalt": "mnas-search", "font.size": 8}):
        columns = min(3, len(shown))
        lines = -(-len(shown) // columns)
        figure = Figure(figsize=(4 * columns, 3.1 * lines + 0.6), layout="constrained")
        FigureCanvasAgg(figure)
        panels = np.atleast_1d(figure.subplots(lines, columns, squeeze=False)).ravel()
        for panel in panels[len(shown) :]:
            panel.axis("off")
        for panel, problem in zip(panels, shown, strict=False):
            for index, name in enumerate(names):
                if name not in problem.runs:
                    continue
                runs = list(problem.runs[name].values())
                length = int(np.median([len(run.best) for run in runs]))
                kept = [problem.regret(r)[:length] for r in runs if len(r.best) >= length]
                low, middle, high = np.percentile(np.array(kept), [25, 50, 75], axis=0)
                n = np.arange(1, length + 1)
                colour = f"C{index % 10}"
                style = "-" if index < 10 else "--"
                width = 2.2 if name == REFERENCE else 1.2
                panel.plot(
                    n,
                    middle,
                    style,
                    color=colour,
                    linewidth=width,
                    label=label(name),
                    ds="steps-post",
                )
                panel.fill_between(
                    n, low, high, color=colour, alpha=0.15, linewidth=0, step="post"
                )
            panel.axhline(
                problem.perfect_regret,
                color="grey",
                linewidth=1,
                linestyle=":",
                label="perfect search of what is told",
            )
            panel.set_xscale("log")
            panel.set_xticks(_EVALUATIONS, [str(n) for n in _EVALUATIONS])
            panel.set_xticks([], minor=True)
            panel.set_xlim(
                5, max(len(run.best) for r in problem.runs.values() for run in r.values())
            )
            panel.set_yscale("symlog", linthresh=_POINTS[1])
            panel.set_yticks(_POINTS, [f"{y:g}" for y in _POINTS])
            panel.set_ylim(0, _POINTS[-1])
            panel.set_title(problem.problem.name)
            panel.set_xlabel("evaluations")
            panel.set_ylabel("regret, points")
        handles, labels = [], []
        for panel in panels[: len(shown)]:
            for handle, text in zip(*panel.get_legend_handles_labels(), strict=True):
                if text not in labels:
                    handles.append(handle)
                    labels.append(text)
        figure.legend(handles, labels, loc="outside lower center", ncols=5, frameon=False)
        written = []
        for form in ("png", "svg"):
            content = io.BytesIO()
            figure.savefig(
                content, format=form, dpi=150, metadata={"Date": None} if form == "svg" else None
            )
            written.append(write_atomically(folder / f"discovery.{form}", content.getvalue()))
    return tuple(written)
