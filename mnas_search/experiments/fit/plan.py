"""The plan of a fit: how its time is divided, before anything is trained.

A plan is a pure function of the seconds that steps were measured to take, the time and the
workers. It is fixed when the folder is made (`plan.json`); a resumed fit reads it.

The last training decides what a user gets, so most of the time is its share. A search is worth its
time only where it can train enough candidates, each as long as a ranking needs, and compare the
best with the baselines over fresh seeds; where the rest of the time does not suffice for that, the
plan has no search, and what it would need is said. Phases:

    baselines   proxies of the baselines, at one resolution or two: which one to continue with
    search      candidates, as in `mnas-search run`
    comparison  of the best candidates with the baselines
    training    the recommended network, by a full recipe
    finish      the test, and the export

The constants below are the division. They can be changed by measurement and by nothing else.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, final

from mnas_search.common.errors import UsageError
from mnas_search.common.units import format_duration
from mnas_search.experiments.runners import CONTENTION
from mnas_search.experiments.training.deadline import Deadline

TRAINING_SHARE = 0.6  # of the time, at least, for the last training
BASELINES_SHARE = 0.15  # of the time, at most, for the baselines' proxies
SEARCH_SHARE = 0.5  # of the time, at most, for a search that was asked for, and what is before it
MIN_TRIALS = 12  # fewer candidates than this are no search
MAX_TRIALS = 200
MAX_SEEDS = 3  # of each baseline's proxy
MAX_LENGTH = 3  # times the recipe's epochs: a longer training gains little
STARTUP = 10.0  # seconds until Ray's workers have imported torch
EXPORT = 15.0  # seconds to write and check the exports
LATEST = 1.5  # times the planned seconds, after which no more baselines are trained
SLOWEST = 2.0  # times the planned seconds, which the last training may be planned with
SLACK = 0.04  # of the time, kept for what was not foreseen


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class StepTimes:
    """What was measured at one resolution, on one worker by itself.

    Attributes:
        proxy: seconds of a candidate's whole proxy training, with its validation.
        epoch: seconds of an epoch of the last training, its validation included, by one worker
            with its part of each batch.
        test: seconds to classify the test split.
    """

    proxy: float
    epoch: float
    test: float


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Sizes:
    """What a plan counts with, besides seconds.

    Attributes:
        time: seconds of the whole fit.
        workers: candidates trained at a time; 0 trains in this process.
        training_workers: that share the batches of the last training.
        recipe_epochs: of the last training's recipe.
        baselines: number of baselines within the target.
        compared: trainings of the comparison that follows a search.
    """

    time: float
    workers: int
    training_workers: int
    recipe_epochs: int
    baselines: int
    compared: int


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Division:
    """How the time is divided.

    Attributes:
        search: its share of the time, with all that precedes it, at most, unless the training
            cannot use the rest.
        min_trials: of a search; 0 for no search.
        required: whether the search takes place, or the time is refused, where it is too short for
            `min_trials`.
    """

    search: float
    min_trials: int
    required: bool


# By a comparison of baselines and, where there is time for it, of a search's winner.
COMPARED = Division(search=1 - SLACK - TRAINING_SHARE, min_trials=MIN_TRIALS, required=False)
SEARCHED = Division(search=SEARCH_SHARE, min_trials=2, required=True)  # by a search, in any case
TRAINED = Division(search=0.0, min_trials=0, required=False)  # all of it is the training's


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The lengths of all phases, in numbers, and the seconds that they are expected to take.

    Attributes:
        resolutions: that are compared; the first one is taken where there is no comparison.
        baselines: that are trained as proxies at each resolution.
        seeds: of each of these proxies; 0 for no such phase.
        trials: candidates of the search; 0 for no search.
        epochs: of the last training, by resolution; the training itself counts them anew from the
            time that is left when it begins.
        seconds: by phase, the time until the plan (`measuring`) included.
        needed: seconds of time with which there would be a search.
        times, sizes: what the plan was made from.
    """

    resolutions: tuple[int, ...]
    baselines: int
    seeds: int
    trials: int
    epochs: dict[int, int]
    seconds: dict[str, float]
    needed: float
    times: dict[int, StepTimes]
    sizes: Sizes

    def to_dict(self) -> dict[str, Any]:
        """Return plain JSON values."""
        return asdict(self)

    @classmethod
    def from_dict(cls, value: Mapping[str, Any]) -> "Plan":
        """Read what `to_dict` has returned, from JSON."""
        changed = {
            "resolutions": tuple(value["resolutions"]),
            "epochs": {int(side): count for side, count in value["epochs"].items()},
            "times": {int(side): StepTimes(**one) for side, one in value["times"].items()},
            "sizes": Sizes(**value["sizes"]),
        }
        return cls(**{**value, **changed})

    def remaining_epochs(self, resolution: int, *, left: float, slowdown: float) -> int:
        """Compute the epochs of the last training from the seconds left when it begins, at least
        one.

        Args:
            resolution: that was chosen.
            slowdown: how much longer the trainings so far took than planned; from 1 to `SLOWEST`
                are taken. A machine that was busier may be free again, and a training that turns
                out to be too long for its time is shortened, while a short one stays short.
        """
        times, durations = self.times[resolution], self._durations(resolution)
        spare = left - SLACK * self.sizes.time - durations.fixed
        return durations.epochs(spare / min(max(1.0, slowdown), SLOWEST), times)

    def search_budget(self, elapsed: float) -> float:
        """Compute the seconds of the search with its comparison, at least one: as planned, or
        less where the phases before took longer, so that the training keeps its share.

        Args:
            elapsed: seconds since the fit began.
        """
        planned = (1 + SLACK) * (self.seconds["search"] + self.seconds["comparison"])
        later = self.seconds["training"] + self.seconds["finish"]
        return max(1.0, min(planned, self.sizes.time - elapsed - later))

    def training_seconds(self, resolution: int, epochs: int) -> float:
        """Return the seconds that the last training is expected to take, its start included."""
        durations = self._durations(resolution)
        return durations.start + epochs * durations.epoch

    def deadline(self, resolution: int, *, end: float) -> Deadline:
        """Return the last training's deadline, where all has to be over at `end`
        (`time.monotonic()`)."""
        durations = self._durations(resolution)
        return Deadline(
            end=end,
            time=self.sizes.time,
            epoch=durations.epoch,
            following=durations.finish,
        )

    def proxy_seconds(self, resolution: int) -> float:
        """Return the seconds that a proxy training is expected to take beside other workers."""
        return self._durations(resolution).proxy

    def _durations(self, resolution: int) -> "_Durations":
        return _Durations({resolution: self.times[resolution]}, self.sizes, 0.0)


def make_plan(
    times: Mapping[int, StepTimes],
    sizes: Sizes,
    *,
    measuring: float = 0.0,
    division: Division = COMPARED,
) -> Plan:
    """Divide the time.

    Args:
        times: by resolution, the data's own (or the one that was asked for) first.
        sizes: of everything else.
        measuring: seconds that were spent before the plan.

    Raises:
        UsageError: the time is too short for one network, one epoch long, or for a search that is
            required.
    """
    parts = _Durations(times, sizes, measuring)
    least = parts.fixed + parts.epoch
    if least > parts.usable and not division.required:
        raise _too_short(
            least / (1 - SLACK), "to train one candidate for an epoch, test and export it", sizes
        )
    if not division.min_trials:
        return parts.plan(0, 1, 0, needed=0.0)
    before = parts.fixed + parts.baselines(1, MAX_SEEDS)
    shortest = before + parts.whole_search(division.min_trials)
    # The training has its share, or all that it can use.
    longest = MAX_LENGTH * sizes.recipe_epochs * parts.epoch
    spare = min(
        max(division.search * sizes.time, parts.usable - longest), parts.usable - parts.epoch
    )
    needed = max(
        min(shortest / division.search, (shortest + longest) / (1 - SLACK)),
        (shortest + parts.epoch) / (1 - SLACK),
    )
    if sizes.time < needed:
        if division.required:
            raise _too_short(needed, f"for a search of {division.min_trials} candidates", sizes)
        room = min(BASELINES_SHARE * sizes.time, parts.usable - least)
        # All of them where there is time, rather than more seeds of the first one.
        lengths = [(n, k) for n in (1, sizes.baselines) for k in range(1, MAX_SEEDS + 1)]
        fitting = [(n, k) for n, k in lengths if parts.baselines(n, k) <= room]
        return parts.plan(0, *max(fitting, default=(1, 0)), needed=needed)
    room, low = spare - before, division.min_trials
    trials = _most(lambda count: parts.whole_search(count) <= room, low, MAX_TRIALS)
    return parts.plan(trials, 1, MAX_SEEDS, needed=needed)


def _too_short(least: float, purpose: str, sizes: Sizes) -> UsageError:
    return UsageError(
        f"time must be at least {format_duration(math.ceil(least))} {purpose}, got "
        f"{format_duration(sizes.time)}"
    )


def _most(fits: Callable[[int], bool], low: int, high: int) -> int:
    """Return the largest number from `low` to `high` that fits; `low` where none does."""
    return max((number for number in range(low, high + 1) if fits(number)), default=low)


@final
class _Durations:
    """Seconds of the phases, by their lengths; of several resolutions, those of the slowest."""

    # usable: of the time; fixed: measuring, the start of the training, test and export;
    # epoch: of the last training; finish: test and export

    def __init__(self, times: Mapping[int, StepTimes], sizes: Sizes, measuring: float) -> None:
        self._times, self._sizes, self._measuring = times, sizes, measuring
        self.usable = (1 - SLACK) * sizes.time
        self.start = STARTUP if sizes.training_workers > 1 else 0.0
        self.finish = max(one.test for one in times.values()) + EXPORT
        self.fixed = measuring + self.start + self.finish
        self.epoch = max(map(self._epoch, times.values()))
        busy = CONTENTION if sizes.workers > 1 else 1.0
        self.proxy = busy * max(one.proxy for one in times.values())

    def baselines(self, count: int, seeds: int) -> float:
        """Seconds of the proxies of `count` baselines at each resolution; 0 for one network."""
        networks = len(self._times) * count
        return self._proxies(seeds * networks) if networks > 1 else 0.0

    def search(self, trials: int) -> float:
        """Seconds of the candidates' trainings."""
        return self._proxies(trials)

    def comparison(self, trials: int) -> float:
        """Seconds of what follows a search: replicates, one trial in six, and the comparison."""
        replicates = max(2, min(8, trials // 6))
        return self._proxies(replicates, self._sizes.compared) if trials else 0.0

    def whole_search(self, trials: int) -> float:
        """Seconds of a search and of what follows it."""
        return self.search(trials) + self.comparison(trials)

    def epochs(self, seconds: float, times: StepTimes) -> int:
        """Return the number of epochs of the last training that fit into `seconds`."""
        most = MAX_LENGTH * self._sizes.recipe_epochs
        return max(1, min(most, math.floor(seconds / self._epoch(times))))

    def plan(self, trials: int, count: int, seeds: int, *, needed: float) -> Plan:
        """Return the plan of these lengths; the last training gets what they leave."""
        baselines = self.baselines(count, seeds)
        left = self.usable - self.fixed - baselines - self.whole_search(trials)
        epochs = {side: self.epochs(left, one) for side, one in self._times.items()}
        training = max(epochs[side] * self._epoch(one) for side, one in self._times.items())
        return Plan(
            resolutions=tuple(self._times),
            baselines=count,
            seeds=seeds if baselines else 0,
            trials=trials,
            epochs=epochs,
            seconds={
                "measuring": self._measuring,
                "baselines": baselines,
                "search": self.search(trials),
                "comparison": self.comparison(trials),
                "training": self.start + training,
                "finish": self.finish,
            },
            needed=needed,
            times=dict(self._times),
            sizes=self._sizes,
        )

    def _epoch(self, times: StepTimes) -> float:
        return times.epoch * (CONTENTION if self._sizes.training_workers > 1 else 1.0)

    def _proxies(self, *counts: int) -> float:
        """Seconds of proxy trainings, each number of them finished before the next one begins,
        with one start of the workers."""
        waves = sum(math.ceil(count / max(1, self._sizes.workers)) for count in counts)
        return waves * self.proxy + (STARTUP if self._sizes.workers and waves else 0.0)
