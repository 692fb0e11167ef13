"""1,200 networks of NAS-Bench-Macro as recorded by its authors, and the two parts they are in.

From github.com/xiusu/NAS-Bench-Macro (Su et al., "Prioritized architecture sampling with
Monto-Carlo tree search", CVPR 2021, arXiv 2103.11922), under Apache-2.0 (`LICENSE`): each network
trained three times on CIFAR-10. The recorded accuracy is that of the best epoch on the test set.

`choose` (540 networks) is looked at while something is built; `confirm` (660 others) is read once,
when what is to be confirmed is settled. So the networks and their counts are one function, and the
accuracies of a part another.
"""

from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnas_search.common.errors import UsageError

DATA = "networks.npz"
SPLITS = ("choose", "confirm")


@dataclass(frozen=True, slots=True, kw_only=True)
class Recorded:
    """The networks of a part, without their accuracies.

    Attributes:
        codes: in the decision order of `NasBenchMacro` [N, 8].
        params, macs: as recorded [N].
    """

    codes: NDArray[np.int64]
    params: NDArray[np.int64]
    macs: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.codes)


def networks(split: str) -> Recorded:
    """Return the networks of `choose` or `confirm`."""
    data = _data(split)
    return Recorded(
        codes=data[f"{split}_codes"].astype(np.int64),
        params=data[f"{split}_params"].astype(np.int64),
        macs=data[f"{split}_macs"].astype(np.int64),
    )


def accuracies(split: str) -> NDArray[np.float64]:
    """Return the accuracies of the networks' three trainings, as fractions [N, 3]."""
    return _data(split)[f"{split}_accuracy"] / 10_000


def _data(split: str) -> dict[str, NDArray[Any]]:
    if split not in SPLITS:
        raise UsageError(f"split must be one of {', '.join(SPLITS)}, got {split!r}")
    return _load(split)


@cache
def _load(split: str) -> dict[str, NDArray[Any]]:
    with (files(__package__) / DATA).open("rb") as file, np.load(file) as data:
        return {name: data[name] for name in data.files if name.startswith(f"{split}_")}
