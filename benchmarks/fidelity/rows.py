"""The rows of a table: every predictor alone, and as the prior of `bayesian`."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import final

import numpy as np
from numpy.typing import NDArray

from mnas_search.benchmarks.fidelity.agreement import Agreement, Judge, Predictions
from mnas_search.benchmarks.fidelity.phases import training_recipe, trainings
from mnas_search.benchmarks.fidelity.predictor import Predictor
from mnas_search.benchmarks.fidelity.predictors import fit_of_counts
from mnas_search.benchmarks.fidelity.settings import Settings
from mnas_search.benchmarks.fidelity.store import Store
from mnas_search.benchmarks.fidelity.subject import Subject, problem_of
from mnas_search.common.statistics import Interval, Values
from mnas_search.controllers.bayesian import Bayesian
from mnas_search.nas.problem import Problem
from mnas_search.nas.space.choices import decode
from mnas_search.nas.trial import Trial

_NOTHING = np.empty((1, 0))
# `bayesian` as it is, and without the number of blocks, which is a prior of its own.
NONE = Predictor(name="no prior", kind="none", values=_NOTHING, seconds=0.0)
PLAIN = Predictor(name="no prior, no blocks", kind="none", values=_NOTHING, seconds=0.0)
FIT = "fit of the three counts"


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """A row of the table.

    Attributes:
        name: of the predictor.
        kind: `count`, `score`, `proxy`, `supernet`, `control` or `yardstick`.
        use: `alone`, `prior`, or what is told on top of it.
        trainings: number of networks that are told.
        seconds: of the predictor and the trainings on top; recorded trainings are not counted.
        agreement: with the accuracies.
        difference: of tau to that of the fit of three counts, on the same networks.
    """

    name: str
    kind: str
    use: str
    trainings: int
    seconds: float
    agreement: Agreement
    difference: Interval | None


@final
class Table:
    """Makes rows from predictors and accuracies.

    Args:
        accuracy: of the networks' trainings, as fractions [N, S].
        seconds: of one of these trainings; 0 where they were recorded.
    """

    def __init__(
        self,
        settings: Settings,
        subject: Subject,
        store: Store,
        accuracy: Values,
        *,
        seconds: float = 0.0,
    ) -> None:
        self._settings, self._subject, self._store = settings, subject, store
        self._accuracy, self._seconds = accuracy, seconds
        self._judge = Judge(
            accuracy.mean(axis=1),
            macs=subject.macs,
            blocks=subject.blocks,
            targets=settings.targets_of(subject.macs),
        )
        fit = fit_of_counts(subject, accuracy.mean(axis=1))
        self._fit = Predictions.untold(fit[None])

    def rows(self, predictors: Sequence[Predictor]) -> Iterator[Row]:
        """Yield all rows."""
        yield self._seeds()
        for predictor in predictors:
            yield self._row(predictor, "alone", Predictions.untold(predictor.values))
        yield self._row(_named(FIT, "count"), "alone", self._fit)
        for predictor in (PLAIN, NONE, *(p for p in predictors if p.priors)):
            if predictor.priors:
                yield self._row(predictor, "prior", self._of_priors(predictor))
            for told in self._settings.told:
                if told < len(self._subject):
                    yield self._with_recorded(predictor, told)
            yield from self._affordable(predictor)

    def _row(
        self,
        predictor: Predictor,
        use: str,
        predictions: Predictions,
        *,
        trainings: int = 0,
        seconds: float = 0.0,
    ) -> Row:
        return Row(
            name=predictor.name,
            kind=predictor.kind,
            use=use,
            trainings=trainings,
            seconds=predictor.seconds + seconds,
            agreement=self._judge.agreement(predictions),
            difference=self._judge.difference(predictions, self._fit),
        )

    def _seeds(self) -> Row:
        """One training against another, over all pairs of the trainings."""
        columns = self._accuracy.T
        pairs = [(i, j) for i in range(len(columns)) for j in range(i)]
        return Row(
            name="another training",
            kind="yardstick",
            use="alone",
            trainings=0,
            seconds=0.0,
            agreement=self._judge.agreement(
                Predictions.untold(np.array([columns[i] for i, _ in pairs])),
                [columns[j] for _, j in pairs],
            ),
            difference=None,
        )

    def _of_priors(self, predictor: Predictor) -> Predictions:
        codes = self._subject.codes
        return Predictions.untold(np.array([prior(codes) for prior in predictor.priors]))

    def _with_recorded(self, predictor: Predictor, count: int) -> Row:
        """`bayesian` with the prior, told one training of the yardstick of `count` networks."""
        everyone = np.arange(len(self._subject))
        predictions = self._told(predictor, everyone, count, self._accuracy, hide=True)
        seconds = count * self._seconds
        return self._row(predictor, "recorded", predictions, trainings=count, seconds=seconds)

    def _affordable(self, predictor: Predictor) -> Iterator[Row]:
        """Rows with as many trainings of each length as the total pays for."""
        subject = self._subject
        for wanted in self._settings.trainings:
            recipe = training_recipe(wanted, subject, self._store)
            tasks = [] if recipe is None else trainings(recipe, subject)
            results = self._store.results(tasks)
            if not results:
                continue
            each = float(np.mean([result["seconds"] for result in results]))
            left = self._settings.total - predictor.seconds
            count = min(int(left / each), len(results))
            if count < 2:
                continue
            accuracy = np.full((len(subject), 1), np.nan)
            accuracy[subject.trained, 0] = [result["accuracy"] for result in results]
            predictions = self._told(predictor, subject.trained, count, accuracy, hide=False)
            yield self._row(
                predictor,
                f"{wanted:g} s each",
                predictions,
                trainings=count,
                seconds=count * each,
            )

    def _told(
        self,
        predictor: Predictor,
        among: NDArray[np.int64],
        count: int,
        accuracy: Values,
        *,
        hide: bool,
    ) -> Predictions:
        """`bayesian`'s estimates after `count` trainings of networks `among`, by groups and draws.

        Args:
            accuracy: of trainings [N, S], a column of which is told in each draw.
            hide: whether the networks that are told are left out of tau.
        """
        subject = self._subject
        shape = (max(1, len(predictor.priors)), self._settings.draws, len(subject))
        values, told = np.empty(shape), np.zeros(shape, bool)
        for draw in range(self._settings.draws):
            rng = np.random.default_rng((self._settings.seed, count, draw))
            rows = rng.permutation(among)[:count]
            column = accuracy[:, draw % accuracy.shape[1]]
            told[:, draw, rows] = hide
            for group, prior in enumerate(predictor.priors or (None,)):
                search = problem_of(subject, prior)
                if predictor is PLAIN:
                    search = replace(search, blocks=None)
                values[group, draw] = self._estimate(search, rows, column[rows])
        return Predictions(values=values, told=told)

    def _estimate(self, search: Problem, rows: NDArray[np.int64], accuracy: Values) -> Values:
        controller = Bayesian(search)
        for number, (row, value) in enumerate(zip(rows, accuracy, strict=True)):
            controller.tell(self._trial(number, int(row), float(value)))
        estimate = controller.estimate(self._subject.codes)
        assert estimate is not None
        return estimate

    def _trial(self, number: int, row: int, accuracy: float) -> Trial:
        subject = self._subject
        return Trial(
            number=number,
            choices=decode(subject.space.decisions, subject.codes[row]),
            fingerprint=subject.architecture(row).fingerprint,
            status="ok",
            accuracy=accuracy,
            costs={"macs": int(subject.macs[row]), "params": int(subject.params[row])},
            reward=accuracy,
            feasible=True,
            seconds=0.0,
        )


def _named(name: str, kind: str) -> Predictor:
    return Predictor(name=name, kind=kind, values=_NOTHING, seconds=0.0)
