"""The roster: everything that was tried, failures included.

A screening trial of training sees fewer networks than a score that takes a moment. Nothing is
fitted on recorded accuracies; what is chosen among trials is chosen on the draw `selection` and
told by the draw `confirmation`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mnas_search.benchmarks.ranking.features import RandomFeatures
from mnas_search.benchmarks.ranking.networks import DRAWS, MAX_NETWORKS, sample
from mnas_search.benchmarks.ranking.readings import Measure, Structure, ZeroCost
from mnas_search.benchmarks.ranking.trained import ShortTraining
from mnas_search.common.errors import UsageError


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """One attempt to rank networks.

    Attributes:
        name: by which it is chosen.
        kind: `structure`, `zero-cost`, `features` or `training`.
        measure: what is read off a network; its `repr` is all of its settings.
        selection, confirmation: most networks of these draws that it is given.
        seed: of the networks' weights.
    """

    name: str
    kind: str
    measure: Measure
    selection: int
    confirmation: int
    seed: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Combination:
    """Networks by the mean of their ranks in several trials' readings, by no fit."""

    name: str  # of the combination
    parts: tuple[str, ...]  # names of trials with one reading each
    logarithms: bool = False  # whether ranks count by their logarithm, as AZ-NAS adds them


def _plan(score: str) -> Trial:
    return Trial(
        name=score,
        kind="structure",
        measure=Structure(score=score),
        selection=MAX_NETWORKS,
        confirmation=MAX_NETWORKS,
    )


def _zero(
    score: str,
    resolution: int,
    batch_size: int,
    *,
    name: str = "",
    selection: int = 100,
    confirmation: int = 0,
    seed: int = 0,
) -> Trial:
    return Trial(
        name=name or score,
        kind="zero-cost",
        measure=ZeroCost(score=score, resolution=resolution, batch_size=batch_size),
        selection=selection,
        confirmation=confirmation,
        seed=seed,
    )


def _screening(name: str, kind: str, measure: Measure) -> Trial:
    return Trial(name=name, kind=kind, measure=measure, selection=24, confirmation=0)


def _training(name: str, task: str, *, images: int = 3_840, resolution: int = 8) -> Trial:
    measure = ShortTraining(
        task=task,
        images=images,
        resolution=resolution,
        steps=60,
        learning_rate=3e-3,
        optimiser="adam",
        reads=(15, 30, 60),
    )
    return _screening(name, "training", measure)


TRIALS = (
    _plan("log_macs"),
    _plan("log_params"),
    _plan("log_both"),
    _plan("log_activations"),
    _plan("depth"),
    _plan("entropy"),
    _plan("log_volume"),
    _zero("snip", 64, 32, selection=MAX_NETWORKS, confirmation=MAX_NETWORKS),
    _zero("grad_norm", 64, 32),
    _zero("zen", 64, 16, selection=MAX_NETWORKS, confirmation=MAX_NETWORKS),
    _zero("synflow", 224, 1),
    _screening(
        "random_features",
        "features",
        RandomFeatures(task="figures", images=1024, resolution=64, ridge=1.0),
    ),
    _training("memorise", "random-labels", images=512),
    _training("teacher", "shallow-teacher"),
    _training("figures", "figures", resolution=16),
    _zero("snip", 224, 8, name="snip_224"),
    _zero("snip", 64, 32, name="snip_seed1", seed=1, confirmation=MAX_NETWORKS),
    _zero("nwot", 64, 32),
    _zero("jacob_cov", 64, 32),
    _zero("expressivity", 64, 32),
    _zero("progressivity", 64, 32),
    _zero("trainability", 64, 32),
    _zero("zico", 64, 64, selection=50),
    _zero("meco", 64, 1, selection=50),
)

COMBINATIONS = (
    Combination(name="params+entropy", parts=("log_params", "entropy")),
    Combination(name="params+depth", parts=("log_params", "depth")),
    Combination(name="params+snip", parts=("log_params", "snip")),
    Combination(name="params+zen", parts=("log_params", "zen")),
    Combination(name="params+synflow", parts=("log_params", "synflow")),
    Combination(name="params+snip_224", parts=("log_params", "snip_224")),
    Combination(name="params+snip_seed1", parts=("log_params", "snip_seed1")),
    Combination(
        name="params+snip+snip_seed1", parts=("log_params", "log_params", "snip", "snip_seed1")
    ),
    Combination(name="snip+zen", parts=("snip", "zen")),
    Combination(name="params+snip+zen", parts=("log_params", "snip", "zen")),
    Combination(name="snip+zen+synflow", parts=("snip", "zen", "synflow")),
    Combination(
        name="az_nas",
        parts=("expressivity", "progressivity", "trainability", "log_macs"),
        logarithms=True,
    ),
)


def chosen(only: Sequence[str]) -> tuple[Trial, ...]:
    """Return the trials of these names, or all."""
    names = tuple(trial.name for trial in TRIALS)
    for name in only:
        if name not in names:
            raise UsageError(f"trial must be one of {', '.join(names)}, got {name!r}")
    return tuple(t for t in TRIALS if not only or t.name in only)


def asked(trial: Trial, draw: str) -> tuple[int, ...]:
    """Return the rows of the networks of a draw that a trial is given."""
    count = trial.selection if draw == DRAWS[0] else trial.confirmation
    return tuple(sample(draw, count).rows.tolist()) if count else ()


def over(trial: Trial, count: int) -> Trial:
    """Return the trial on the first `count` networks of each draw that it is given."""
    return replace(trial, selection=count, confirmation=count if trial.confirmation else 0)
