from itertools import combinations

from matplotlib.text import Annotation, Text

from mnas_search.benchmarks.figure_style import label_points, new_figure, rendered

CROWD = [(f"point {i}", 1 + 0.02 * i, 80 + 0.05 * i) for i in range(60)]


def test_labels_overlap_nothing():
    with new_figure(4, 3) as figure:
        panel = figure.subplots()
        panel.plot([x for _, x, _ in CROWD], [y for _, _, y in CROWD], "o", markersize=4)
        label_points(panel, CROWD, size=6)
        figure.draw_without_rendering()
        labels = [child for child in panel.get_children() if isinstance(child, Annotation)]
        assert 1 < len(labels) < len(CROWD)
        boxes = [Text.get_window_extent(label) for label in labels]
        assert not any(one.overlaps(two) for one, two in combinations(boxes, 2))
        points = panel.transData.transform([(x, y) for _, x, y in CROWD])
        assert not any(box.contains(*point) for box in boxes for point in points)
        assert all(panel.bbox.contains(*corner) for b in boxes for corner in (b.min, b.max))


def test_equal_figures_are_equal_files():
    files = []
    for _ in range(2):
        with new_figure(2, 2) as figure:
            figure.subplots().plot([1, 2], [2, 1])
            files.append([rendered(figure, form) for form in ("png", "svg")])
    assert files[0] == files[1]
    assert files[0][0].startswith(b"\x89PNG")
