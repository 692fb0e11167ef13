"""The recorded networks of Accel-NASBench (arXiv 2404.08005; data under Apache-2.0, LICENSE).

4,626 networks of the `efficientnet` space, each trained once for 16 epochs on ImageNet with ReLU
and hard-sigmoid gates at 160 to 192 pixels and validated at 256: "16-epoch ImageNet top-1
(Accel-NASBench)". EfficientNet-B0 would read about 65.7 % there, not the 77.1 % of its full
training. Two trainings of one network differ by 0.31 points (pooled standard deviation over three
seeds of 117 networks, the benchmark's own).

The sample is not uniform: 35 % of the networks have squeeze-and-excitation in no stage, the others
look like fair coin flips, a handful has it in every stage as B0 does; networks that need much
memory in training (expansion 6 or three layers in stage 0) are rarer.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Self

import numpy as np
from numpy.typing import NDArray

from mnas_search.common import plugins
from mnas_search.nas.space.contract import StagewiseSpace

SPACE: StagewiseSpace = plugins.load("search_spaces", "efficientnet")()
ACCURACY = "16-epoch ImageNet top-1 (Accel-NASBench)"
SEED_NOISE = 0.0031  # standard deviation of the accuracy between seeds, as a fraction
DATA = "networks.npz"


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """Recorded networks and what was measured."""

    codes: NDArray[np.uint8]  # in the decision order of the `efficientnet` space [N, 28]
    accuracy: NDArray[np.float64]  # 16-epoch ImageNet top-1 as a fraction [N]
    # by name, `throughput_*` in images/s and `latency_*` in ms [N]; NaN where it was not recorded
    performance: Mapping[str, NDArray[np.float64]]
    # macs, params: as recorded; macs by thop's rule, which counts batch norm and pools too [N]
    macs: NDArray[np.int64]
    params: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.codes)

    def take(self, rows: NDArray[np.integer] | NDArray[np.bool_]) -> Self:
        """Return some of the networks."""
        return type(self)(
            codes=self.codes[rows],
            accuracy=self.accuracy[rows],
            performance={name: values[rows] for name, values in self.performance.items()},
            macs=self.macs[rows],
            params=self.params[rows],
        )

    def with_performance(self, name: str) -> Self:
        """Return the networks for which this performance was recorded."""
        return self.take(np.isfinite(self.performance[name]))

    def folds(self, count: int, seed: int = 0) -> NDArray[np.int64]:
        """Return a fold in [0, count) for every network [N]; equal networks share theirs."""
        networks, own = np.unique(self.codes, axis=0, return_inverse=True)
        fold = np.random.default_rng(seed).permutation(len(networks)) % count
        return fold[own.ravel()]

    def halves(self, seed: int = 0) -> tuple[Self, Self]:
        """Split into two halves without a common network."""
        fold = self.folds(2, seed)
        return self.take(fold == 0), self.take(fold == 1)


@cache
def load() -> Evidence:
    """Load all recorded networks, once."""
    with (files(__package__) / DATA).open("rb") as file, np.load(file) as data:
        names = [n for n in data.files if n.startswith(("throughput_", "latency_"))]
        return Evidence(
            codes=data["codes"],
            accuracy=data["accuracy"] / 100_000,
            performance={name: data[name].astype(np.float64) for name in names},
            macs=data["macs"],
            params=data["params"],
        )
