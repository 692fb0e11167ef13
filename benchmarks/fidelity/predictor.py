"""A way to rank networks, and the prior that it is for a search."""

from dataclasses import dataclass
from typing import final

import numpy as np

from mnas_search.benchmarks.fidelity.subject import Subject, problem_of
from mnas_search.common.statistics import Values
from mnas_search.nas.space.choices import Codes
from mnas_search.nas.space.contract import BatchAccuracy
from mnas_search.nas.surrogate import predictor as surrogate


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Predictor:
    """A way to rank networks without an accuracy of theirs.

    Attributes:
        name, kind: as the table shows them.
        values: larger is better, by groups [G, N]; NaN for networks that were not read.
        seconds: what it took, readings included.
        priors: a prior for each group; empty where the predictor is none.
    """

    name: str
    kind: str
    values: Values
    seconds: float
    priors: tuple[BatchAccuracy, ...] = ()


def of_readings(name: str, kind: str, subject: Subject, logs: Values, seconds: float) -> Predictor:
    """Return a predictor from readings [G, R] of the networks that are read, as logarithms of
    something like accuracies, and the priors that a search would fit to them."""
    space, codes = problem_of(subject), subject.codes[subject.read]
    return Predictor(
        name=name,
        kind=kind,
        values=spread(logs, subject.read, subject),
        seconds=seconds,
        priors=tuple(surrogate.Predictor.fit(space, codes, own) for own in logs),
    )


def spread(values: object, rows: Codes, subject: Subject) -> Values:
    """Return values [G, R] of some networks as values of all [G, N]."""
    own = np.asarray(values, float)
    spread = np.full((len(own), len(subject)), np.nan)
    spread[:, rows] = own
    return spread
