"""What a fit has found, and the five lines that it ends with."""

import shlex
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, final

from mnas_search.common.units import format_duration, format_latency, format_size
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
        latency: predicted seconds of a forward pass, where latency is bounded.
        measured: the same, measured on this device; None where its table is another machine's.
        comparison: of the run, as `BaselineComparison.summary` gives it, and `test`, as
            `HeldOutTest.summary` does; None without a search.
    """

    recommended: Recommendation
    trained: TrainingResult
    folder: Path
    seconds: float
    comparison: Mapping[str, Any] | None
    latency: float | None = None
    measured: float | None = None

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return {
            **self.recommended.to_dict(),
            "macs": self.trained.macs,
            "params": self.trained.params,
            "epochs": self.trained.epochs,
            "folder": str(self.folder),
            "seconds": round(self.seconds, 1),
            "latency": self.latency,
            "measured_latency": self.measured,
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
    report = folder / "run" / "report.html"
    if report.is_file():
        files += f"; {report}"
    exported, training, target = (
        shlex.quote(str(folder / name)) for name in ("export", "training", "huggingface")
    )
    costs = f"{format_size(trained.macs)} FLOPs, {format_size(trained.params)} params"
    if result.latency is not None:
        costs += f", {format_latency(result.latency)} predicted"
    if result.measured is not None:
        costs += f", {format_latency(result.measured)} measured"
    shortened = "" if trained.shortened is None else f" ({trained.shortened})"
    return [
        f"{one.name} ({costs}): "
        f"test accuracy {trained.test.top1:.4f} [{low:.4f}, {high:.4f}] on {trained.test.n:,} "
        f"images, one training{_beside(result)}",
        f"files, after {format_duration(result.seconds)}{shortened}: {files}",
        f"mnas-search predict {exported} IMAGE...",
        f"mnas-search explain {training} IMAGE... -o explained.html",
        f"mnas-search export {training} --to huggingface -o {target}",
    ]


def _beside(result: FitResult) -> str:
    """Say what the best baseline and the recommended network have in the run's test, for which
    both were trained for a short time."""
    test = None if result.comparison is None else result.comparison.get("test")
    if test is None or test["best_baseline"] is None:
        return ""
    best, mine = test["best_baseline"], test["recommended"]
    if mine is None or mine["name"] == best["name"]:
        return f"; the best baseline, {best['name']}, {_short(best)} in short trainings"
    return (
        f"; in short trainings the best baseline, {best['name']}, {_short(best)}, this network "
        f"{mine['mean']:.4f} {_interval(mine)}"
    )


def _short(tested: Mapping[str, Any]) -> str:
    return f"has test accuracy {tested['mean']:.4f} {_interval(tested)}"


def _interval(tested: Mapping[str, Any]) -> str:
    low, high = tested["interval"]
    return f"[{low:.4f}, {high:.4f}]"
