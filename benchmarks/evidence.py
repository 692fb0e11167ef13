"""How well the predictors of `accel_nasbench` predict networks that they were not fitted on.

Cross-validation over the recorded networks: kernel, linear model and trees are fitted anew in each
fold. "halves" rows are what a default run searches by and is checked by: fitted on one half,
scored on the other. Kendall's tau is also given within the top decile of accuracy, and among
networks of 360M to 440M multiply-adds; coverage is the share of single recorded accuracies within
1 and 1.96 predicted standard deviations (a calibrated predictor: 0.68 and 0.95).
"""

from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from mnas_search.common.statistics import kendall_tau
from mnas_search.evaluators.accel_nasbench.evidence import SPACE, Evidence, load
from mnas_search.evaluators.accel_nasbench.models import BoostedTrees, GaussianProcess
from mnas_search.nas.space.cost import space_cost

_FOLDS = 5


def run() -> list[dict[str, Any]]:
    """Return a row for each predictor."""
    with threadpool_limits(1):
        return _rows(load())


def _rows(evidence: Evidence) -> list[dict[str, Any]]:
    kinds = {"Gaussian process": GaussianProcess, "boosted trees": BoostedTrees}
    rows = [
        _accuracy(f"{label}{part}", kind, evidence, evidence.folds(folds))
        for part, folds in (("", _FOLDS), (", halves", 2))
        for label, kind in kinds.items()
    ]
    for name in evidence.performance:
        part = evidence.with_performance(name)
        values = np.log(part.performance[name])
        fold = part.folds(_FOLDS)
        kept, held = part.codes[fold > 0], part.codes[fold == 0]
        model = GaussianProcess.fit(kept, values[fold > 0], noise=None)
        mean, std = model.predict(held)
        rows.append(
            {"predictor": f"{name} (Gaussian process, 1 fold)"}
            | _scores(values[fold == 0], mean, std)
            | dict.fromkeys(("tau, top decile", "tau, 360M-440M", "RMSE, points"))
        )
    return rows


def _accuracy(
    label: str, kind: Any, evidence: Evidence, fold: NDArray[np.int64]
) -> dict[str, Any]:
    mean, std = np.empty(len(evidence)), np.empty(len(evidence))
    for k in range(fold.max() + 1):
        model = kind.fit(evidence.codes[fold != k], evidence.accuracy[fold != k])
        mean[fold == k], std[fold == k] = model.predict(evidence.codes[fold == k])
    truth = evidence.accuracy
    macs = space_cost(SPACE)(evidence.codes)["macs"]
    top = truth >= np.quantile(truth, 0.9)
    near = (macs >= 360e6) & (macs <= 440e6)
    return (
        {"predictor": f"{label} ({fold.max() + 1} folds)"}
        | _scores(truth, mean, std)
        | {
            "tau, top decile": _tau(truth[top], mean[top]),
            "tau, 360M-440M": _tau(truth[near], mean[near]),
            "RMSE, points": round(100 * float(np.sqrt(((truth - mean) ** 2).mean())), 3),
        }
    )


def _scores(
    truth: NDArray[np.float64], mean: NDArray[np.float64], std: NDArray[np.float64]
) -> dict[str, Any]:
    away = np.abs(truth - mean) / std
    return {
        "n": len(truth),
        "tau": _tau(truth, mean),
        "R2": round(1 - float(((truth - mean) ** 2).mean() / truth.var()), 4),
        "within 1 std": round(float((away < 1).mean()), 3),
        "within 1.96 std": round(float((away < 1.96).mean()), 3),
    }


def _tau(one: NDArray[np.float64], two: NDArray[np.float64]) -> float:
    return round(kendall_tau(one, two), 4)
