"""Worlds: which of two models tells the search, which reports, and what each was fitted on.

The recorded networks of a space are cut into two random halves without a network in common. A
Gaussian process is fitted on one, boosted trees on the other; in half of the worlds the first
tells and the second reports, in the others it is the other way round. Whoever learns the errors
of what is told by heart gains nothing in the report, and a method that is like one of the models
gains in half of the worlds only.

    efficientnet   4,626 networks of Accel-NASBench, 16 epochs on ImageNet (arXiv 2404.08005)
    macro          540 networks of NAS-Bench-Macro (arXiv 2103.11922), the mean of three trainings
                   on CIFAR-10; its models are of the logarithm of the error

A seed of a search belongs to one world: `World.of(seed)`. The Gaussian process of the
`efficientnet` space takes its kernel, some dozens of length scales, from the first half of the
cut with number 0; the networks that it is fitted on are the world's.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from mnas_search.benchmarks.fidelity.macro import recorded
from mnas_search.benchmarks.fidelity.macro.space import IDENTITY, NasBenchMacro
from mnas_search.evaluators.accel_nasbench import evidence
from mnas_search.evaluators.accel_nasbench.evaluator import kernel
from mnas_search.evaluators.accel_nasbench.models import FEATURES, BoostedTrees, fit_kernel
from mnas_search.nas.space.choices import Codes
from mnas_search.nas.space.contract import BatchAccuracy, StagewiseSpace
from mnas_search.nas.surrogate.features import Features
from mnas_search.nas.surrogate.gaussian_process import Kernel, Posterior

HALVES = 5
ROLES = ("Gaussian process", "boosted trees")  # who tells; the other one reports
SEED_NOISE = {"efficientnet": evidence.SEED_NOISE, "macro": 0.0017}  # between two trainings

_MACRO = NasBenchMacro()
# Later layers of a stage: which of them is the identity makes no difference.
_INTERCHANGEABLE = ((3, 4), (6, 7))


@dataclass(frozen=True, slots=True, kw_only=True, order=True)
class World:
    """One way to cut the records, and one way to use the two models."""

    half: int  # number of the cut
    role: str  # the model that tells

    @property
    def name(self) -> str:
        """Of the world."""
        return f"half-{self.half}-told-by-{self.role.replace(' ', '-').lower()}"

    @classmethod
    def of(cls, seed: int) -> "World":
        """Return the world of a seed: two seeds meet both roles on one cut, ten each world."""
        return cls(half=seed // len(ROLES) % HALVES, role=ROLES[seed % len(ROLES)])

    def models(self, space: str) -> tuple[BatchAccuracy, BatchAccuracy]:
        """Return the accuracies that are told, before noise, and those that are reported."""
        told = ROLES.index(self.role)
        return _model(space, self.half, told, 0), _model(space, self.half, 1 - told, 1)


def space_of(name: str) -> StagewiseSpace:
    """Return the search space `efficientnet` or `macro`."""
    return _MACRO if name == "macro" else evidence.SPACE


def networks(space: str) -> tuple[Codes, NDArray[np.float64]]:
    """Return the recorded networks, codes [N, D], and their accuracies [N]."""
    if space == "macro":
        return recorded.networks("choose").codes, recorded.accuracies("choose").mean(axis=1)
    everything = evidence.load()
    return everything.codes, everything.accuracy


def canonical(space: str, codes: Codes) -> Codes:
    """Return the codes [N, D] that stand for the same networks, equal for equal networks."""
    if space != "macro":
        return codes
    found = np.array(codes)
    for first, second in _INTERCHANGEABLE:
        swapped = found[:, first] == IDENTITY
        found[swapped, first], found[swapped, second] = found[swapped, second], IDENTITY
    return found


@functools.cache
def _model(space: str, half: int, kind: int, part: int) -> BatchAccuracy:
    """Fit model `kind` on part 0 or 1 of a cut."""
    codes, accuracy = networks(space)
    own = _parts(space, half) == part
    if space == "macro":
        return _of_log_error(codes[own], accuracy[own], kind)
    return _fit(codes[own], accuracy[own], kind, FEATURES, kernel("accuracy, first half"))


def _parts(space: str, half: int) -> NDArray[np.int64]:
    """Return the part, 0 or 1, of each recorded network [N]; equal networks share theirs."""
    if space == "efficientnet":
        return evidence.load().folds(2, half)
    return np.random.default_rng(half).permutation(len(networks(space)[0])) % 2


def _of_log_error(codes: Codes, accuracy: NDArray[np.float64], kind: int) -> BatchAccuracy:
    predict = _fit(codes, np.log(1 - accuracy), kind, Features(_MACRO.decisions), None)
    return lambda codes: 1 - np.exp(predict(canonical("macro", codes)))


def _fit(
    codes: Codes,
    values: NDArray[np.float64],
    kind: int,
    features: Features,
    fitted: Kernel | None,
) -> Callable[[Codes], NDArray[np.float64]]:
    if ROLES[kind] == ROLES[0]:
        if fitted is None:
            fitted = fit_kernel(codes, values, noise=None, features=features)
        expect = Posterior.of(fitted, features(codes), values).mean_function()
        return lambda codes: expect(features(codes))
    trees = BoostedTrees.fit(codes, values, std=0.0, features=features)
    return lambda codes: trees.predict(codes)[0]
