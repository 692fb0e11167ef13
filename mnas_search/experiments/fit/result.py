"""What a fit has found, and the five lines that it ends with."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, final

from mnas_search.common.units import format_duration, format_size
from mnas_search.experiments.search.recommendation import Recommendation
from mnas_search.experiments.training.session import TrainingResult


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class FitResult:
    """A finished fit.

    Attributes:
        recommended: the network, with the accuracies of the last training.
        trained: the last training.
        seconds: of all sessions.
        comparison: of the run, as `BaselineComparison.summary` gives it; None without a search.
    """

    recommended: Recommendation
    trained: TrainingResult
    folder: Path
    seconds: float
    comparison: Mapping[str, Any] | None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            **self.recommended.to_dict(),
            "macs": self.trained.macs,
            "params": self.trained.params,
            "epochs": self.trained.epochs,
            "folder": str(self.folder),
            "seconds": round(self.seconds, 1),
            "comparison": None if self.comparison is None else dict(self.comparison),
            "training": asdict(self.trained),
        }


def lines(result: FitResult) -> list[str]:
    """Return the network with its accuracy, where the files are, and the next three commands."""
    one, trained, folder = result.recommended, result.trained, result.folder
    low, high = trained.test.interval
    onnx = folder / "export" / "onnx" / "model.onnx"
    files = f"{folder / 'export'}/model.py and weights.pt"
    if onnx.is_file():
        files += ", onnx/model.onnx"
    if result.comparison is not None:
        files += f"; {folder / 'run' / 'report.html'}"
    return [
        f"{one.name} ({format_size(trained.macs)} FLOPs, {format_size(trained.params)} params): "
        f"test accuracy {trained.test.top1:.4f} [{low:.4f}, {high:.4f}] on {trained.test.n:,} "
        f"images{_beside(result)}",
        f"files, after {format_duration(result.seconds)}: {files}",
        f"mnas-search predict {folder / 'export'} IMAGE...",
        f"mnas-search explain {folder / 'training'} IMAGE... -o explained.html",
        f"mnas-search export {folder / 'training'} --to huggingface -o {folder / 'huggingface'}",
    ]


def _beside(result: FitResult) -> str:
    """Say how the best baseline did in the comparison, whose trainings are short."""
    if result.comparison is None:
        return ""
    trained = [one for one in result.comparison["networks"] if one["validation"]]
    baselines = [one for one in trained if one["trial"] is None]
    if not baselines:
        return ""
    means = {one["name"]: fmean(one["validation"]) for one in trained}
    best = max(baselines, key=lambda one: means[one["name"]])
    text = f"; in short trainings the best baseline, {best['name']}, has {means[best['name']]:.4f}"
    winners = [means[one["name"]] for one in trained if one["trial"] is not None]
    return f"{text}, the search's winner {max(winners):.4f}" if winners else text
