"""Make this package's data from the benchmark's archive, or fit the predictors again.

    python -m mnas_search.evaluators.accel_nasbench.build accel-nasbench.tar.gz FOLDER

writes `networks.npz` (what was recorded) and `kernels.json` (the kernels of the predictors) into
FOLDER; without an archive, `kernels.json` alone from the installed networks. The archive holds one
`result_N.json` a network. The same input gives the same files (up to the last digits of the linear
algebra library).
"""

import json
import sys
import tarfile
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from mnas_search.evaluators.accel_nasbench.evidence import DATA, SEED_NOISE, SPACE, Evidence, load
from mnas_search.evaluators.accel_nasbench.models import BoostedTrees, fit_kernel
from mnas_search.nas.space.choices import encode


def main(arguments: list[str]) -> None:
    """Write the files."""
    *archive, folder = arguments
    if archive:
        columns: dict[str, Any] = networks(Path(archive[0]))
        np.savez_compressed(Path(folder) / DATA, **columns)
    (Path(folder) / "kernels.json").write_text(
        json.dumps(kernels(load())).replace("}, ", "},\n") + "\n"
    )


def networks(archive: Path) -> dict[str, NDArray[Any]]:
    """Return the recorded networks of an archive, in the order of their numbers."""
    with tarfile.open(archive) as tar:
        members = [m for m in tar.getmembers() if m.name.endswith(".json")]
        members.sort(key=lambda m: int(Path(m.name).stem.removeprefix("result_")))
        records = [json.load(file) for m in members if (file := tar.extractfile(m))]
    info = [r["model_info"] for r in records]
    columns: dict[str, NDArray[Any]] = {
        "number": np.array(
            [int(Path(m.name).stem.removeprefix("result_")) for m in members], np.int32
        ),
        "codes": np.array(
            [encode(SPACE.decisions, _choices(r["architecture"])) for r in records], np.uint8
        ),
        # In thousandths of a percent, as printed.
        "accuracy": np.array([round(r["metrics"]["val_top1"] * 1000) for r in records], np.int32),
        "macs": np.array([round(i["macs"] * 1e6) for i in info], np.int64),
        "params": np.array([round(i["params"] * 1e6) for i in info], np.int64),
    }
    for name in records[0]["platform_perf"]:
        kind = name.partition("_")[0]
        values = [r["platform_perf"][name][f"{kind}_mean"] for r in records]
        columns[name] = np.array(values, np.float32)
    return columns


def _choices(architecture: dict[str, Any]) -> dict[str, Any]:
    """Translate the benchmark's names of the decisions to ours."""
    choices: dict[str, Any] = {}
    for stage in range(7):
        block = f"block{stage}"
        choices |= {
            f"stage{stage}.expansion": architecture[f"{block}_e"],
            f"stage{stage}.kernel": architecture[f"{block}_k"],
            f"stage{stage}.repeats": architecture[f"{block}_l"],
            f"stage{stage}.se_ratio": 0.25 if architecture[f"{block}_se"] else 0.0,
        }
    return choices


def kernels(evidence: Evidence) -> dict[str, Any]:
    """Return kernels fitted on all networks and on the first half, one per device performance
    (on its logarithm), and the trees' error on the second half."""
    first, second = evidence.halves()
    fitted = {
        "accuracy": _kernel(evidence.codes, evidence.accuracy, noise=True),
        "accuracy, first half": _kernel(first.codes, first.accuracy, noise=True),
    }
    for name in evidence.performance:
        recorded = evidence.with_performance(name)
        values = np.log(recorded.performance[name])
        fitted[name] = _kernel(recorded.codes, values, noise=False)
    trees = BoostedTrees.fit(second.codes, second.accuracy)
    return {"kernels": fitted, "trees, second half, std": trees.std}


def _kernel(codes: NDArray[Any], values: NDArray[np.float64], *, noise: bool) -> dict[str, Any]:
    fitted = asdict(fit_kernel(codes, values, noise=SEED_NOISE if noise else None))
    weights = [float(f"{w:.5g}") for w in fitted.pop("weights")]
    return {name: float(f"{value:.5g}") for name, value in fitted.items()} | {"weights": weights}


if __name__ == "__main__":
    main(sys.argv[1:])
