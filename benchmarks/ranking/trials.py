"""The roster: everything that was tried, failures included.

A screening trial of training sees fewer networks than a score that takes a moment. Nothing is
fitted on recorded accuracies; what is chosen among trials is chosen on the draw `selection` and
told by the draw `confirmation`.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace

from mnas_search.benchmarks.ranking.networks import DRAWS, MAX_NETWORKS, sample
from mnas_search.benchmarks.ranking.readings import Measure, Structure, ZeroCost
from mnas_search.benchmarks.ranking.trained import RandomFeatures, ShortTraining
from mnas_search.common.errors import UsageError


@dataclass(frozen=True, slots=True)
class Trial:
    """One attempt to rank networks."""

    name: str  # by which it is chosen
    kind: str  # `structure`, `zero-cost`, `features` or `training`
    measure: Measure  # what is read off a network; its `repr` is all of its settings
    selection: int  # most networks of this draw that it is given
    confirmation: int  # the same of the other draw
    seed: int = 0  # of the networks' weights


@dataclass(frozen=True, slots=True)
class Combination:
    """Networks by the mean of their ranks in several trials' readings, by no fit."""

    name: str
    parts: tuple[str, ...]  # names of trials with one reading each
    logarithms: bool = False  # whether ranks count by their logarithm, as AZ-NAS adds them


_ALL = (MAX_NETWORKS, MAX_NETWORKS)


def _plan(score: str) -> Trial:
    return Trial(score, "structure", Structure(score=score), *_ALL)


def _zero(
    score: str,
    resolution: int,
    batch_size: int,
    given: tuple[int, int] = (100, 0),
    *,
    name: str = "",
    seed: int = 0,
) -> Trial:
    measure = ZeroCost(score=score, resolution=resolution, batch_size=batch_size)
    return Trial(name or score, "zero-cost", measure, *given, seed)


def _screening(name: str, kind: str, measure: Measure) -> Trial:
    return Trial(name, kind, measure, selection=24, confirmation=0)


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


_FEATURES = RandomFeatures(task="figures", images=1024, resolution=64, ridge=1.0)
TRIALS = (
    _plan("log_macs"),
    _plan("log_params"),
    _plan("log_both"),
    _plan("log_activations"),
    _plan("depth"),
    _plan("entropy"),
    _plan("log_volume"),
    _zero("snip", 64, 32, _ALL),
    _zero("grad_norm", 64, 32),
    _zero("zen", 64, 16, _ALL),
    _zero("synflow", 224, 1),
    _screening("random_features", "features", _FEATURES),
    _training("memorise", "random-labels", images=512),
    _training("teacher", "shallow-teacher"),
    _training("figures", "figures", resolution=16),
    _zero("snip", 224, 8, name="snip_224"),
    _zero("snip", 64, 32, (100, MAX_NETWORKS), name="snip_seed1", seed=1),
    _zero("nwot", 64, 32),
    _zero("jacob_cov", 64, 32),
    _zero("expressivity", 64, 32),
    _zero("progressivity", 64, 32),
    _zero("trainability", 64, 32),
    _zero("zico", 64, 64, (50, 0)),
    _zero("meco", 64, 1, (50, 0)),
)

COMBINATIONS = (
    Combination("params+entropy", ("log_params", "entropy")),
    Combination("params+depth", ("log_params", "depth")),
    Combination("params+snip", ("log_params", "snip")),
    Combination("params+zen", ("log_params", "zen")),
    Combination("params+synflow", ("log_params", "synflow")),
    Combination("params+snip_224", ("log_params", "snip_224")),
    Combination("params+snip_seed1", ("log_params", "snip_seed1")),
    Combination("params+snip+snip_seed1", ("log_params", "log_params", "snip", "snip_seed1")),
    Combination("snip+zen", ("snip", "zen")),
    Combination("params+snip+zen", ("log_params", "snip", "zen")),
    Combination("snip+zen+synflow", ("snip", "zen", "synflow")),
    Combination(
        "az_nas",
        ("expressivity", "progressivity", "trainability", "log_macs"),
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
