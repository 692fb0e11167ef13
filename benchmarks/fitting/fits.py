"""The arms: fits of one folder each, and what is kept of them."""

import csv
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import numpy as np
import torch
from numpy.typing import NDArray

from mnas_search.architecture.published import names
from mnas_search.benchmarks.results import Record
from mnas_search.common.errors import RunFolderError, UsageError
from mnas_search.common.files import read_json, write_json
from mnas_search.data import load
from mnas_search.experiments.fit.clock import FitListener
from mnas_search.experiments.fit.config import WINNER, FitConfig
from mnas_search.experiments.fit.session import FIT, start
from mnas_search.experiments.training.trained import load_trained, prepare

RECOMMENDED, RANDOM = "recommended", "random"
_SEARCHES = (RECOMMENDED, WINNER, RANDOM)
ARMS = (*_SEARCHES, "efficientnet_b0")
_BATCH = 256

Right = NDArray[np.bool_]  # [N], whether each test image is classified correctly


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One fit of the benchmark."""

    name: str
    config: FitConfig

    @property
    def text(self) -> str:
        """What it is called in messages."""
        return f"{self.name}, seed {self.config.seed}"

    def folder(self, results: Path) -> Path:
        """Return the fit's folder; its record lies beside it."""
        return results / f"seed-{self.config.seed}" / self.name


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Fitted:
    """A finished fit: figures of it, and its test."""

    figures: Record
    right: Right


def is_baseline(name: str) -> bool:
    """Return whether an arm is a baseline, by its name."""
    return name not in _SEARCHES


def make_arms(base: FitConfig, seeds: int, arms: Sequence[str]) -> list[Arm]:
    """Return all fits, seed by seed, so that what an interruption leaves can be compared.

    Raises:
        UsageError: an arm is neither one of `ARMS` nor a published network; pretrained weights
            (`base.init`) may belong to another one.
    """
    for name in arms:
        if is_baseline(name) and name not in names() and base.init is None:
            known = ", ".join(_SEARCHES)
            raise UsageError(f"arms must be {known} or names of baselines, got {name!r}")
    return [
        Arm(name=name, config=replace(_config(base, name), seed=seed))
        for seed in range(base.seed, base.seed + seeds)
        for name in dict.fromkeys(arms)
    ]


def _config(base: FitConfig, name: str) -> FitConfig:
    if name == RECOMMENDED:
        return base
    if name == RANDOM:
        return replace(base, network=WINNER, controller="random_search")
    return replace(base, network=name)


def carry_out(arm: Arm, *, results: Path, listener: Callable[[], FitListener]) -> Fitted:
    """Fit, or resume, and test the network image by image."""
    folder = arm.folder(results)
    found = start(arm.config, folder, listener())
    network = found.recommended.architecture
    assert network is not None  # fit trains networks of stages alone
    figures = {
        "network": found.recommended.name,
        "source": found.recommended.source,
        "block_string": network.block_string,
        "resolution": network.resolution,
        "macs": found.trained.macs,
        "params": found.trained.params,
        "candidates": _candidates(folder),
        "epochs": found.trained.epochs,
        "seconds": round(found.seconds, 1),
        "validation": found.trained.accuracy,
    }
    return Fitted(figures=figures, right=classify(folder, arm.config.data))


def _candidates(fit: Path) -> int:
    """Count the candidates that a fit's search has trained, which time may have cut short."""
    trials = fit / "run" / "trials.csv"
    if not trials.is_file():
        return 0
    with trials.open(encoding="utf-8", newline="") as file:
        return sum(row["status"] == "ok" for row in csv.DictReader(file))


def classify(fit: Path, data: str) -> Right:
    """Classify the test split by the trained network of a fit's folder."""
    trained = load_trained(str(fit / "training"))
    images = load(data, side=trained.architecture.resolution).test
    network = trained.network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    found = []
    with torch.inference_mode():
        for begin in range(0, len(images.labels), _BATCH):
            pixels = images.images[begin : begin + _BATCH]
            found.append(network(prepare(trained.preprocessing, pixels)).argmax(1).numpy())
    right: Right = np.concatenate(found) == images.labels
    return right


def write(arm: Arm, fitted: Fitted, *, results: Path) -> None:
    """Keep a fit."""
    right = "".join(map(str, fitted.right.astype(int)))
    content = {"options": arm.config.to_dict(), "figures": fitted.figures, "right": right}
    write_json(_file(arm, results), content)


def read(arm: Arm, results: Path) -> Fitted | None:
    """Return a kept fit; None without one.

    Raises:
        RunFolderError: it has other options, or is none.
    """
    file = _file(arm, results)
    if not file.is_file():
        return None
    try:
        content = read_json(file)
        kept, right = content["options"], np.array(list(content["right"])) == "1"
        fitted = Fitted(figures=content["figures"], right=right)
    except (OSError, ValueError, LookupError, TypeError) as error:
        raise RunFolderError(f"{str(file)!r} holds no result of a fit: {error}") from error
    for name, value in arm.config.to_dict().items():
        if kept.get(name) != value and name not in FIT.may_differ:
            raise RunFolderError(
                f"{name} must be {kept.get(name)!r} for the results in {str(results)!r}, got "
                f"{value!r}"
            )
    return fitted


def _file(arm: Arm, results: Path) -> Path:
    folder = arm.folder(results)
    return folder.with_name(f"{folder.name}.json")
