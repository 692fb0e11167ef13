"""The look of all figures of benchmarks, and where the labels of points are placed."""

import io
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import Any

_STYLE = {
    "axes.axisbelow": True,
    "axes.grid": True,
    "axes.spines.right": False,
    "axes.spines.top": False,
    "font.size": 8,
    "grid.color": "#e4e8ec",
    "grid.linewidth": 0.6,
    "legend.frameon": False,
    "svg.hashsalt": "mnas-search",  # and no date: equal figures are equal files
}
# Offsets of a label from its point in typographic points, the nearest first, and which of the
# label's ends lies there.
_PLACES = [
    (across, down, side)
    for distance in (5, 11, 18, 26)
    for down in (0, -distance, distance, -distance / 2, distance / 2)
    for across, side in ((distance, "left"), (-distance, "right"))
]


@contextmanager
def new_figure(width: float, height: float) -> Iterator[Any]:
    """Give an empty figure of a size in inches, to be drawn on and rendered within."""
    from matplotlib import rc_context
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    with rc_context(_STYLE):
        figure = Figure(figsize=(width, height), dpi=150, layout="constrained")
        FigureCanvasAgg(figure)
        yield figure


def rendered(figure: Any, form: str) -> bytes:
    """Return the figure as the bytes of a PNG or SVG file."""
    content = io.BytesIO()
    figure.savefig(content, format=form, metadata={"Date": None} if form == "svg" else None)
    return content.getvalue()


def label_points(panel: Any, points: Iterable[tuple[str, float, float]], *, size: float) -> None:
    """Write names beside their points (name, x, y), the first ones first. A name that would
    overlap a point, another name or the border is left out."""
    from matplotlib.patheffects import withStroke
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

    points = list(points)
    panel.figure.draw_without_rendering()
    middles = panel.transData.transform([(x, y) for _, x, y in points])
    taken = [Bbox.from_bounds(x - 4, y - 4, 8, 8) for x, y in middles]
    for name, x, y in points:
        for across, down, side in _PLACES:
            label = panel.annotate(
                name,
                (x, y),
                (across, down),
                textcoords="offset points",
                ha=side,
                va="center",
                fontsize=size,
                path_effects=[withStroke(linewidth=2, foreground="white")],
                arrowprops={"arrowstyle": "-", "linewidth": 0.3, "shrinkA": 0, "shrinkB": 2},
            )
            label.update_positions(panel.figure.canvas.get_renderer())
            box = Text.get_window_extent(label).padded(3)  # without its arrow
            within = panel.bbox.contains(*box.min) and panel.bbox.contains(*box.max)
            if within and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                break
            label.remove()
