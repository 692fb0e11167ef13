"""What the kept results predict of the networks, and the priors that are fitted to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from statistics import NormalDist
from typing import final

import numpy as np
from scipy.stats import rankdata

from mnas_search.benchmarks.fidelity.phases import (
    controls,
    members,
    scorings,
    supernet_readings,
)
from mnas_search.benchmarks.fidelity.predictor import Predictor, of_readings
from mnas_search.benchmarks.fidelity.settings import Settings
from mnas_search.benchmarks.fidelity.short_trainings import proxy_predictors, tuned_predictors
from mnas_search.benchmarks.fidelity.store import Store
from mnas_search.benchmarks.fidelity.subject import Subject, architecture_of
from mnas_search.benchmarks.fidelity.supernets import SupernetTraining
from mnas_search.benchmarks.ranking.structure import log_activations
from mnas_search.common.statistics import Values
from mnas_search.nas.space.choices import Codes
from mnas_search.nas.space.contract import BatchAccuracy, SearchSpace
from mnas_search.nas.space.cost import space_cost

_LEAST = 1e-3  # accuracy, whose logarithm is taken
POOLED = (1, 2, 4)  # supernets whose readings are averaged


def predictors(
    settings: Settings, subject: Subject, store: Store, parts: Sequence[str]
) -> list[Predictor]:
    """Return those of the parts whose readings are all there."""
    found: list[Predictor] = []
    if "counts" in parts:
        found += count_predictors(subject)
    if "scores" in parts:
        found += score_predictors(settings, subject, store)
    if "proxies" in parts:
        found += proxy_predictors(settings, subject, store)
    if "supernets" in parts:
        found += supernet_predictors(settings, subject, store)
        found += tuned_predictors(settings, subject, store)
        found += control_predictors(settings, subject, store)
    return found


def count_predictors(subject: Subject) -> list[Predictor]:
    """Multiply-adds, params, blocks, and activations that convolutions write."""
    counter = space_cost(subject.space)
    priors: dict[str, BatchAccuracy] = {
        "FLOPs": lambda codes: np.log(counter(codes)["macs"]),
        "params": lambda codes: np.log(counter(codes)["params"]),
        "blocks": lambda codes: counter.blocks(codes).astype(float),
        "activations": partial(_log_activations, subject.space),
    }
    return [
        Predictor(
            name=name,
            kind="count",
            values=prior(subject.codes)[None],
            seconds=0.0,
            priors=(prior,),
        )
        for name, prior in priors.items()
    ]


def _log_activations(space: SearchSpace, codes: Codes) -> Values:
    networks = (architecture_of(space, row) for row in codes)
    return np.array([log_activations(network) for network in networks])


def fit_of_counts(subject: Subject, accuracy: Values) -> Values:
    """Return accuracies [N] by a linear fit of log(1 - accuracy) to log MACs, log params and
    blocks, of the same networks: a yardstick, since no count knows their accuracies."""
    columns = [np.log(subject.macs), np.log(subject.params), subject.blocks, np.ones(len(subject))]
    features, target = np.stack(columns, axis=1), np.log(1 - np.minimum(accuracy, 1 - 1e-6))
    weights, *_ = np.linalg.lstsq(features, target, rcond=None)
    fitted: Values = 1 - np.exp(features @ weights)
    return fitted


def score_predictors(settings: Settings, subject: Subject, store: Store) -> list[Predictor]:
    """Zero-cost scores, and the mean of their ranks with params."""
    found = []
    for score in settings.scores:
        results = store.results(scorings(score, subject))
        if results is None:
            continue
        read = np.array([-np.inf if r["value"] is None else r["value"] for r in results])
        seconds = sum(result["seconds"] for result in results)
        params = rankdata(subject.params[subject.read])
        for name, values in (
            (score, rankdata(read)),
            (f"params+{score}", rankdata(read) + params),
        ):
            found.append(of_readings(name, "score", subject, _logs(values)[None], seconds))
    return found


def supernet_predictors(settings: Settings, subject: Subject, store: Store) -> list[Predictor]:
    """Readings of one supernet, and means of several, by negative cross-entropy; by accuracy for
    the longest budget."""
    found = []
    for budget in settings.budgets:
        own = [_read(one, subject, store) for one in members(settings, store, budget)]
        there = [one for one in own if one is not None]
        for pooled in POOLED:
            groups = [there[i : i + pooled] for i in range(0, len(there) - pooled + 1, pooled)]
            if not groups:
                continue
            seconds = pooled * float(np.mean([one.seconds for one in there]))
            name = f"{pooled} x {budget:g} s"
            values = np.array([np.mean([o.cross_entropy for o in g], axis=0) for g in groups])
            found.append(of_readings(name, "supernet", subject, -values, seconds))
            if budget == max(settings.budgets):
                means = np.array([np.mean([o.accuracy for o in g], axis=0) for g in groups])
                values = np.log(np.maximum(means, _LEAST))
                by_accuracy = f"{name}, by accuracy"
                found.append(of_readings(by_accuracy, "control", subject, values, seconds))
    return found


def control_predictors(settings: Settings, subject: Subject, store: Store) -> list[Predictor]:
    """Readings of supernets that should rank nothing."""
    found = []
    for name, training in controls(settings, store).items():
        if (own := _read(training, subject, store)) is not None:
            values = -own.cross_entropy[None]
            found.append(of_readings(name, "control", subject, values, own.seconds))
    return found


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class _Read:
    """Readings of a supernet, of the networks that are read [R], and all its seconds."""

    cross_entropy: Values
    accuracy: Values
    seconds: float


def _read(training: SupernetTraining, subject: Subject, store: Store) -> _Read | None:
    parts = store.results(supernet_readings(training, subject))
    trained = store.results([training] if training.steps else [])
    if parts is None or trained is None:
        return None
    return _Read(
        cross_entropy=np.array([value for part in parts for value in part["cross_entropy"]]),
        accuracy=np.array([value for part in parts for value in part["accuracy"]]),
        seconds=sum(result["seconds"] for result in (*trained, *parts)),
    )


def _logs(values: Values) -> Values:
    """Return values with the same order and a normal distribution, of a spread as logarithms of
    accuracies have it: scores have long tails, which a Gaussian process would fit above all."""
    inverse = NormalDist(mu=-1.0, sigma=0.1).inv_cdf
    shares = (rankdata(values) - 0.5) / len(values)
    return np.array([inverse(share) for share in shares])
