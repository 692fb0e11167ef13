"""Predictions of `accel_nasbench` beside full ImageNet trainings of the same networks.

The benchmark's authors searched for five devices and trained in full what they found. Two of
their eleven figures are of one network (RTX 3090 b is A100 b), which leaves ten; EfficientNet-B0
as published is the eleventh. B0 was trained by another recipe and with SiLU, so agreement is given
with and without it. None of the figures was used to fit a predictor.

Networks: github.com/afzalxo/ANB-DatasetCollection, `searchables/searchables.py`; accuracies:
github.com/afzalxo/Accel-NASBench, `anb_eval/README.md`, "No-proxy eval results"; B0's: Tan and Le
2019 (arXiv 1905.11946), table 2.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mnas_search.architecture.published import architecture
from mnas_search.common.statistics import TauBootstrap, order
from mnas_search.evaluators.accel_nasbench.evaluator import AccelNasBench
from mnas_search.evaluators.accel_nasbench.evidence import SPACE, load
from mnas_search.nas.space.choices import encode
from mnas_search.nas.space.cost import space_cost
from mnas_search.nas.space.encoding import encode_architecture

_B0 = "efficientnet_b0"
# Digits of the seven stages: expansion, kernel, layers, 1 for squeeze-and-excitation; top-1 in %.
TRAININGS = {
    "zcu102-a": ("4666666", "3555555", "2133343", "0000001", 77.698),
    "zcu102-b": ("1666666", "3353355", "1231343", "0000100", 76.602),
    "zcu102-c": ("1666666", "3355555", "2133241", "0000000", 75.048),
    "vck190-a": ("1666666", "5355555", "1233243", "0001011", 77.568),
    "vck190-b": ("1666666", "3355355", "1223242", "0000010", 76.656),
    "tpuv3-a": ("1466666", "5555555", "3333343", "0110110", 77.921),
    "tpuv3-b": ("1666666", "5555555", "1233333", "0100110", 77.348),
    "a100-a": ("1666666", "3555555", "2231343", "0001111", 77.81),
    "a100-b, 3090-b": ("1466666", "3355555", "1123242", "0001011", 76.51),
    "3090-a": ("1466666", "5555555", "1233342", "1001111", 77.358),
}
_PUBLISHED_B0 = 77.1


def run() -> dict[str, list[dict[str, Any]]]:
    """Return rows of the networks, and of how well each predictor ranks them."""
    with threadpool_limits(1):
        names = [*TRAININGS, _B0]
        trained = np.array([*(one[-1] for one in TRAININGS.values()), _PUBLISHED_B0])
        codes = np.array([*map(codes_of, TRAININGS), _codes_of_b0()])
        predicted = _predictions(codes)
    return {
        "networks": [
            {"network": name, "recorded": _is_recorded(row), "full top-1": float(trained[i])}
            | {column: round(float(values[i]), 2) for column, values in predicted.items()}
            for i, (name, row) in enumerate(zip(names, codes, strict=True))
        ],
        "agreement": [
            {"predictor": column}
            | _agreement("tau", trained, values)
            | _agreement("tau without B0", trained[:-1], values[:-1])
            for column, values in predicted.items()
        ],
    }


def _predictions(codes: NDArray[np.uint8]) -> Mapping[str, NDArray[np.float64]]:
    """Return predicted 16-epoch top-1 in percent [N] by both models, and the counts in millions,
    which rank networks without any training."""
    models = {"Gaussian process": "all", "boosted trees, one half": "check"}
    counts = space_cost(SPACE)(codes)
    found: dict[str, NDArray[np.float64]] = {}
    for label, part in models.items():
        predict = AccelNasBench(part=part).predictor(SPACE)
        assert predict is not None
        found[label] = 100 * predict(codes)
    for label, name in {"FLOPs (M)": "macs", "params (M)": "params"}.items():
        found[label] = np.asarray(counts[name], np.float64) / 1e6
    return found


def _agreement(
    label: str, trained: NDArray[np.float64], values: NDArray[np.float64]
) -> dict[str, Any]:
    tau = TauBootstrap(len(trained)).tau([(order(trained), order(values))])
    return {label: "-" if tau is None else tau.text(".2f")}


def codes_of(name: str) -> tuple[int, ...]:
    """Return the codes of one of `TRAININGS`."""
    expansions, kernels, layers, squeezed, _top1 = TRAININGS[name]
    choices: dict[str, int | float] = {}
    for stage, (e, k, n, se) in enumerate(zip(expansions, kernels, layers, squeezed, strict=True)):
        choices |= {
            f"stage{stage}.expansion": int(e),
            f"stage{stage}.kernel": int(k),
            f"stage{stage}.repeats": int(n),
            f"stage{stage}.se_ratio": 0.25 * int(se),
        }
    return encode(SPACE.decisions, choices)


def _codes_of_b0() -> tuple[int, ...]:
    return encode(SPACE.decisions, encode_architecture(SPACE, architecture(_B0)))


def _is_recorded(row: NDArray[np.uint8]) -> bool:
    return bool((load().codes == row).all(axis=1).any())
