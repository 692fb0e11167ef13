"""The result of a training on standard output."""

from pathlib import Path

from mnas_search.common.render.tables import print_table
from mnas_search.common.units import format_duration, format_size
from mnas_search.experiments.training.session import TrainingResult


def print_result(result: TrainingResult) -> None:
    """Print the result as a table."""
    low, high = result.test.interval
    rows = [
        ("name", result.name),
        ("params", f"{result.params:,}"),
        ("FLOPs (multiply-adds)", format_size(result.macs)),
        ("epochs", f"{result.epochs}, best {result.best_epoch}"),
        *([] if result.shortened is None else [("", result.shortened)]),
        ("time", format_duration(result.seconds)),
        ("validation", _accuracies(result.accuracy, result.top5)),
        ("test", _accuracies(result.test.top1, result.test.top5)),
        ("", f"top-1's 95 % interval {low:.4f} to {high:.4f}, n = {result.test.n:,}"),
        ("weights", str(Path(result.folder) / "export")),
    ]
    print_table(("", ""), rows)


def _accuracies(top1: float, top5: float | None) -> str:
    return f"top-1 {top1:.4f}" + (f", top-5 {top5:.4f}" if top5 is not None else "")
