"""From readings to rows: tau of each reading against the best baseline on the same networks."""

import functools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from mnas_search.benchmarks.ranking import networks, structure
from mnas_search.benchmarks.ranking.networks import DRAWS, MAX_NETWORKS, Sample, sample
from mnas_search.benchmarks.ranking.readings import Reading
from mnas_search.benchmarks.ranking.trials import Combination, Trial, asked
from mnas_search.common import statistics
from mnas_search.common.statistics import Interval, Pairs, TauBootstrap, Values
from mnas_search.evaluators.accel_nasbench.evidence import load

BAND = (360e6, 440e6)  # multiply-adds
BUDGET = 60.0  # seconds a network
_FITTED_ON = 1_000
RESAMPLES = 2_000
CONFIRMING = 100  # networks from which a draw confirms


@dataclass(frozen=True, slots=True, kw_only=True)
class Column:
    """One reading of one trial over networks."""

    name: str  # `trial`, or `trial loss@50` where a trial has several readings
    kind: str  # of the trial, `combination`, or `fitted` for a yardstick
    values: Mapping[int, float]  # by row of the evidence
    seconds: float  # mean process time a network


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """How a column ranks the networks of a draw."""

    column: Column
    draw: str
    networks: int  # of the draw, that the column has
    tau: Interval  # against recorded accuracy, with its interval
    # baseline, baseline_tau: the best of log macs, log params and their linear fit here
    baseline: str
    baseline_tau: float
    difference: Interval  # tau less the best baseline's, with its paired interval
    # fair, fair_baseline: tau among networks with squeeze-and-excitation in some stage, and the
    # best baseline's there
    fair: float
    fair_baseline: float
    # band, band_baseline, band_networks: the same between 360M and 440M multiply-adds
    band: float
    band_baseline: float
    band_networks: int

    @property
    def eligible(self) -> bool:
        """Whether networks and seconds are such that a result would count."""
        return self.networks >= CONFIRMING and self.column.seconds <= BUDGET

    @property
    def passes(self) -> bool:
        """Whether it is better than every baseline, on a draw of its own and within the budget,
        and fitted on nothing."""
        return (
            self.eligible
            and self.draw != DRAWS[0]
            and self.column.kind != "fitted"
            and self.difference.above_zero
        )


def choice(found: Sequence[Row]) -> Row | None:
    """What is taken on the draw `selection`: the largest lower end of the difference's interval
    among eligible proxies on the most networks, to which what looked best on few was promoted;
    what counts or is fitted is no proxy."""
    rows = [
        row
        for row in found
        if row.draw == DRAWS[0] and row.eligible and row.column.kind not in ("structure", "fitted")
    ]
    most = max((row.networks for row in rows), default=0)
    promoted = [row for row in rows if row.networks == most]
    return max(promoted, key=lambda row: row.difference.low, default=None)


def columns(
    trials: Sequence[Trial],
    combinations: Sequence[Combination],
    read: Callable[[Trial], Mapping[int, Sequence[Reading]]],
    draw: str,
) -> list[Column]:
    """Return every reading of every trial on a draw, and the combinations whose parts are there. A
    combination's ranks are among the networks that all its parts have."""
    found: dict[str, Column] = {}
    for trial in trials:
        rows = frozenset(asked(trial, draw))
        kept = {row: got for row, got in read(trial).items() if row in rows}
        for column in _of_trial(trial, kept):
            found[column.name] = column
    for combination in combinations:
        parts = [found[p] for p in combination.parts if p in found]
        if len(parts) == len(combination.parts):
            found[combination.name] = _combined(combination, parts)
    return list(found.values())


def rows(found: Sequence[Column], draw: str) -> Iterator[Row]:
    """Yield a row for each column that has at least two networks of the draw."""
    whole = sample(draw, MAX_NETWORKS)
    for column in found:
        there = np.array([int(row) in column.values for row in whole.rows])
        if there.sum() >= 2:
            yield _row(column, draw, whole.part(there))


def _of_trial(trial: Trial, kept: Mapping[int, Sequence[Reading]]) -> Iterator[Column]:
    names = dict.fromkeys(reading.name for readings in kept.values() for reading in readings)
    for name in names:
        there = {row: r for row, got in kept.items() for r in got if r.name == name}
        yield Column(
            name=f"{trial.name} {name}".strip(),
            kind=trial.kind,
            values={row: reading.value for row, reading in there.items()},
            seconds=float(np.mean([reading.seconds for reading in there.values()])),
        )


def _last(values: Values) -> Values:
    """Replace what is not finite, so that it ranks last."""
    return np.where(np.isfinite(values), values, -np.inf)


def _combined(combination: Combination, parts: Sequence[Column]) -> Column:
    common = sorted(set.intersection(*(set(part.values) for part in parts)))
    ranks = np.array([rankdata(_last(np.array([p.values[r] for r in common]))) for p in parts])
    total = (np.log(ranks) if combination.logarithms else ranks).mean(0)
    return Column(
        name=combination.name,
        kind="structure" if {p.kind for p in parts} == {"structure"} else "combination",
        values=dict(zip(common, total.tolist(), strict=True)),
        seconds=sum(part.seconds for part in {part.name: part for part in parts}.values()),
    )


def fitted(draw: str) -> Column:
    """What is no proxy but a yardstick beside it: a linear fit of all of `structure`, on recorded
    networks outside both draws."""
    rows = sample(draw, MAX_NETWORKS).rows
    train = networks.others(_FITTED_ON)
    features = np.array([_counts(int(row)) for row in (*train, *rows)])
    features = np.column_stack([features, np.ones(len(features))])
    accuracy = load().accuracy[train]
    weights, *_ = np.linalg.lstsq(features[: len(train)], accuracy, rcond=None)
    predicted = features[len(train) :] @ weights
    return Column(
        name=f"linear fit of {len(structure.SCORES)} counts",
        kind="fitted",
        values=dict(zip(rows.tolist(), predicted.tolist(), strict=True)),
        seconds=0.0,
    )


@functools.cache
def _counts(row: int) -> tuple[float, ...]:
    architecture = networks.network(row)
    return tuple(score(architecture) for score in structure.SCORES)


def against(column: Column, other: Column, draw: str) -> Interval:
    """Return tau of a column minus tau of another, on networks of a draw that both have."""
    whole = sample(draw, MAX_NETWORKS)
    pairs = [(column.values.get(int(r)), other.values.get(int(r))) for r in whole.rows]
    there = np.array([None not in pair for pair in pairs])
    one, two = (np.array(v, float) for v in zip(*(p for p in pairs if None not in p), strict=True))
    return difference(one, two, whole.accuracy[there])


def _row(column: Column, draw: str, on: Sample) -> Row:
    values = np.array([column.values[int(row)] for row in on.rows])
    baseline, best = _best_baseline(on)
    band = (on.macs >= BAND[0]) & (on.macs <= BAND[1])
    fair, fair_baseline = _within(values, on, on.fair)
    near, near_baseline = _within(values, on, band)
    return Row(
        column=column,
        draw=draw,
        networks=len(values),
        tau=tau_interval(values, on.accuracy),
        baseline=baseline,
        baseline_tau=tau(best, on.accuracy),
        difference=difference(values, best, on.accuracy),
        fair=fair,
        fair_baseline=fair_baseline,
        band=near,
        band_baseline=near_baseline,
        band_networks=int(band.sum()),
    )


def _within(values: Values, on: Sample, where: NDArray[np.bool_]) -> tuple[float, float]:
    """Return tau of the values and of the best baseline among some of the networks."""
    if where.sum() < 2:
        return float("nan"), float("nan")
    part = on.part(where)
    _name, best = _best_baseline(part)
    return tau(values[where], part.accuracy), tau(best, part.accuracy)


def _best_baseline(on: Sample) -> tuple[str, Values]:
    known = baselines(on)
    name = max(known, key=lambda n: tau(known[n], on.accuracy))
    return name, known[name]


def baselines(on: Sample) -> dict[str, Values]:
    """Return the baselines that need no proxy, by name [N] each."""
    return {"MACs": np.log(on.macs), "params": np.log(on.params), "linear fit": on.linear}


def tau(scores: Values, truth: Values) -> float:
    """Return tau-b; scores that are not finite rank last, and a constant has tau 0."""
    return float(np.nan_to_num(statistics.tau_b(*_orders(scores, truth))[0]))


def tau_interval(scores: Values, truth: Values) -> Interval:
    """Return tau-b of scores [N] and truth [N] with its interval."""
    found = _bootstrap(len(truth)).tau([_orders(scores, truth)])
    assert found is not None  # no tau is undefined
    return found


def difference(scores: Values, baseline: Values, truth: Values) -> Interval:
    """Return tau of the scores minus tau of the baseline, on the same samples of networks."""
    theirs = [_orders(baseline, truth)]
    found = _bootstrap(len(truth)).difference([_orders(scores, truth)], theirs)
    assert found is not None
    return found


def _orders(scores: Values, truth: Values) -> tuple[Pairs, Pairs]:
    return statistics.order_missing_last(scores), statistics.order_missing_last(truth)


@functools.lru_cache(maxsize=4)
def _bootstrap(networks: int) -> TauBootstrap:
    return TauBootstrap(networks, count=RESAMPLES, undefined=0.0)
