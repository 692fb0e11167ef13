"""The benchmark: trains what is missing, and writes the tables."""

import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import final

from mnas_search.architecture.value import Architecture
from mnas_search.benchmarks.results import Outcome, Record, conditions, write_files
from mnas_search.benchmarks.scaling import networks, report
from mnas_search.benchmarks.scaling.hours import hours
from mnas_search.benchmarks.scaling.networks import BASES
from mnas_search.benchmarks.scaling.settings import BATCH, ENLARGEMENT, Settings
from mnas_search.common.errors import UsageError
from mnas_search.common.folders import csv_text
from mnas_search.common.machine import cpu_count
from mnas_search.data import Dataset, load
from mnas_search.experiments.experiment import ExperimentKind
from mnas_search.experiments.listener import Listener
from mnas_search.experiments.scaling.grid import GridConfig, Triple, choose, triples
from mnas_search.experiments.scaling.measured import (
    COMPARE,
    GRID_SEARCH,
    MeasuredAccuracies,
    Measuring,
    measure,
)
from mnas_search.experiments.scaling.report import (
    comparison_figure,
    grid_record,
    grid_words,
    write_grid,
)

Note = Callable[[str], None]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Place:
    """Where and how trainings take place.

    Attributes:
        data: what `--data` names.
        results: the folder; each base has one below it.
        workers, gpus_per_trial, ray_address: as in a run.
        report_only: whether to take the results that are there.
        listener: follows the trainings.
        note: receives lines about progress.
    """

    data: str
    results: Path
    settings: Settings
    workers: int | None = None
    gpus_per_trial: float | None = None
    ray_address: str | None = None
    report_only: bool = False
    listener: Listener
    note: Note = lambda line: None


def compare(place: Place, only: Sequence[str] = ()) -> Outcome:
    """Compare scaling one dimension with scaling all three, base by base.

    Args:
        only: base networks; all four without.

    Raises:
        UsageError: an option is wrong, or there is nothing to report.
    """
    records: list[Record] = []
    figures: dict[str, object] = {}
    failures: list[str] = []
    for study in _studies(place, only):
        factors = place.settings.factors
        scaled = [one for factor in factors for one in networks.compare(study.base, factor)]
        every = [study.base, *(one.network for one in scaled)]
        study.tell(every)
        if (rate := study.best_rate()) is None:
            continue
        scores = study.measure(COMPARE, "compare", every, rate, tested=True)
        found = report.rows(study.base, scaled, scores)
        records += [record | {"learning_rate": rate} for record in found]
        figures[f"scaling-{study.slug}.svg"] = comparison_figure(found, "test accuracy")
        failures += _failures(study.base, scores)
        for line in report.verdicts(found):
            place.note(line)
    if not records:
        raise UsageError(f"no trainings in {str(place.results)!r}")
    settings = asdict(place.settings)
    content = {"options": settings, "conditions": conditions("torch"), "records": records}
    files = {
        "scaling.md": report.markdown(records, settings),
        "scaling.json": content,
        "scaling.csv": csv_text(list(records[0]), records),
        **figures,
    }
    return Outcome(
        records=records,
        table=[report.text(record) for record in records],
        files=write_files(place.results, files),
        failures=tuple(failures),
    )


def grid(place: Place, only: Sequence[str] = ()) -> Outcome:
    """Search for alpha, beta and gamma at phi = 1, base by base (section 3.3, step 1).

    Args:
        only: base networks; MobileNetV2 and EfficientNet-B0 without.

    Raises:
        UsageError: an option is wrong, or there is nothing to report.
    """
    records: list[Record] = []
    files: list[Path] = []
    failures: list[str] = []
    for study in _studies(place, only or BASES[:2]):
        tried = [
            Triple(rule=rule, network=networks.realise(study.base, rule))
            for rule in triples(GridConfig())
        ]
        every = list({one.network.fingerprint: one.network for one in tried}.values())
        study.tell(every)
        if (rate := study.best_rate()) is None:
            continue
        scores = study.measure(GRID_SEARCH, "grid", every, rate, tested=False)
        if not any(scores.by_fingerprint.values()):
            continue
        choice = choose(tried, scores)
        words = list(grid_words(choice, demonstration=False))
        record = grid_record(choice, study.folder / "grid", 0, words)
        write_grid(record, choice, study.folder / "grid")
        records += [{"base": study.base.label, **row} for row in record["triples"]]
        files += [study.folder / "grid" / f"grid.{form}" for form in ("json", "csv", "svg")]
        failures += _failures(study.base, scores)
        for line in words:
            place.note(f"{study.base.label}: {line}")
    if not records:
        raise UsageError(f"no trainings in {str(place.results)!r}")
    return Outcome(
        records=records,
        table=[_triple_text(record) for record in records],
        files=tuple(files),
        failures=tuple(failures),
    )


def _triple_text(record: Record) -> dict[str, str]:
    accuracy = record["accuracy"]
    names = {"chosen": "chosen", "paper": "the paper's", "within_one_error": "within one error"}
    return {
        "base": record["base"],
        **{name: f"{record[name]:g}" for name in ("alpha", "beta", "gamma")},
        "pixels": str(record["resolution"]),
        "FLOPs": f"{record['macs']:,}",
        "accuracy": "" if accuracy is None else f"{accuracy:.4f}",
        "": ", ".join(text for name, text in names.items() if record[name]),
    }


def _failures(base: Architecture, scores: MeasuredAccuracies) -> list[str]:
    found = [result for results in scores.results.values() for result in results]
    return [f"{base.label}: {result.error}" for result in found if result.error is not None]


def _studies(place: Place, only: Sequence[str]) -> list["_Study"]:
    data = load(place.data, side=round(ENLARGEMENT * networks.PIXELS))
    return [
        _Study(
            place=place,
            data=data,
            base=networks.make_base(
                name, flops=place.settings.flops, num_classes=data.num_classes
            ),
            slug=re.sub(r"[^\w.-]+", "-", Path(name).name)[:100],
        )
        for name in dict.fromkeys(only or BASES)
    ]


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class _Study:
    """A base network and the folder of its trainings."""

    place: Place
    data: Dataset
    base: Architecture
    slug: str

    @property
    def folder(self) -> Path:
        return self.place.results / self.slug

    @property
    def _fraction(self) -> float:
        return min(1.0, self.place.settings.images / len(self.data.train.labels))

    def tell(self, every: Sequence[Architecture]) -> None:
        """Note images, steps and hours of all trainings, those of the learning rate included."""
        place, settings = self.place, self.place.settings
        if place.report_only:
            return
        workers = cpu_count() if place.workers is None else place.workers
        steps = round(self.data.train.share(self._fraction) * len(self.data.train.labels)) // BATCH
        steps *= settings.epochs
        trained = [*every, *([self.base] * len(settings.rates))]
        taken = hours(
            trained,
            trained=steps * BATCH,
            read=len(self.data.validation.labels) + len(self.data.test.labels),
            seeds=settings.seeds,
            workers=workers,
        )
        place.note(
            f"{self.base.label}: {len(every)} networks, {len(trained) * settings.seeds} trainings "
            f"of {steps * BATCH:,} images in {steps:,} steps, about {taken:.2g} hours in all with "
            f"{max(1, workers)} at a time; kept ones are not repeated"
        )

    def best_rate(self) -> float | None:
        """Return the learning rate with the base's best mean validation accuracy; None where there
        is none yet, and none is trained."""
        found = {}
        for rate in self.place.settings.rates:
            scores = self.measure(COMPARE, f"rate-{rate:g}", [self.base], rate, tested=False)
            if (mean := scores.mean(self.base)) is not None:
                found[rate] = mean
        if len(found) < len(self.place.settings.rates):
            return None
        best = max(found, key=lambda rate: found[rate])
        means = ", ".join(f"{rate:g}: {mean:.4f}" for rate, mean in found.items())
        self.place.note(f"{self.base.label}: learning rate {best:g} of {means}")
        return best

    def measure(
        self,
        kind: ExperimentKind,
        name: str,
        every: Sequence[Architecture],
        rate: float,
        *,
        tested: bool,
    ) -> MeasuredAccuracies:
        """Train networks in a folder of the base's, all by one recipe."""
        place, settings = self.place, self.place.settings
        if place.report_only and not (self.folder / name).is_dir():
            return MeasuredAccuracies(by_fingerprint={})
        measuring = Measuring(
            data=place.data,
            proxy=settings.recipe(rate, self._fraction),
            seeds=settings.seeds,
            seed=settings.seed,
            workers=place.workers,
            gpus_per_trial=place.gpus_per_trial,
            ray_address=place.ray_address,
            tested=tested,
            enlargement=ENLARGEMENT,
        )
        return measure(
            kind,
            self.base,
            every,
            measuring,
            {},
            output=self.folder / name,
            listener=place.listener,
            report_only=place.report_only,
        )[1]
