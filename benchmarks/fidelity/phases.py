"""Which tasks a table consists of, one phase after the other: lengths of later ones are planned
from what earlier ones took."""

from collections.abc import Iterator, Sequence
from statistics import fmean

from mnas_search.benchmarks.fidelity.settings import Settings
from mnas_search.benchmarks.fidelity.store import Store
from mnas_search.benchmarks.fidelity.subject import Subject
from mnas_search.benchmarks.fidelity.supernets import (
    CHUNK,
    StepTiming,
    SupernetReading,
    SupernetTraining,
)
from mnas_search.benchmarks.fidelity.tasks import Scoring, Task, Training
from mnas_search.benchmarks.fidelity.tuning import SliceTuning
from mnas_search.common.errors import UsageError

PARTS = ("counts", "scores", "proxies", "supernets")
_SHORTEST = "epochs=1"


def check_parts(only: Sequence[str]) -> tuple[str, ...]:
    """Return the parts of these names in their order, or all; counts take no reading."""
    for name in only:
        if name not in PARTS:
            raise UsageError(f"--only must be of {', '.join(PARTS)}, got {name!r}")
    return tuple(part for part in PARTS if not only or part in only)


def phases(
    settings: Settings, subject: Subject, store: Store, parts: Sequence[str]
) -> Iterator[list[Task]]:
    """Yield the tasks of each phase; a phase is to be finished before the next is asked for."""
    if not settings.is_macro:
        yield list(trainings(_SHORTEST, subject))
        yield list(references(settings, subject, store))
    if "scores" in parts:
        yield [task for score in settings.scores for task in scorings(score, subject)]
    if "proxies" in parts and (settings.proxies or settings.trainings):
        recipes = dict.fromkeys((_SHORTEST, *settings.proxies))
        yield [task for recipe in recipes for task in trainings(recipe, subject)]
        lengths = (training_recipe(s, subject, store) for s in settings.trainings)
        yield [task for r in lengths if r is not None for task in trainings(r, subject)]
    if "supernets" in parts:
        yield [StepTiming(recipe=settings.supernet)]
        supernets = [*members(settings, store), *controls(settings, store).values()]
        yield [supernet for supernet in supernets if supernet.steps]
        yield [task for supernet in supernets for task in supernet_readings(supernet, subject)]
        yield [*tunings(settings, store)]


def scorings(score: str, subject: Subject) -> list[Scoring]:
    """Return the readings of a zero-cost score."""
    return [Scoring(score=score, network=int(network)) for network in subject.read]


def trainings(recipe: str, subject: Subject) -> list[Training]:
    """Return the trainings of a proxy recipe."""
    return [Training(recipe=recipe, network=int(network)) for network in subject.trained]


def training_recipe(seconds: float, subject: Subject, store: Store) -> str | None:
    """Return the default recipe at the length of about these seconds a network, planned once from
    what an epoch took; None as long as that is not known."""
    name = f"epochs of {seconds:g} s"
    epochs = store.plan(name)
    if epochs is None and (short := store.results(trainings(_SHORTEST, subject))) is not None:
        epochs = store.plan(name, seconds / fmean(result["seconds"] for result in short))
    return None if epochs is None else f"epochs={epochs}"


def references(settings: Settings, subject: Subject, store: Store) -> list[Training]:
    """Return the trainings that stand for recorded ones, repeat by repeat; none as long as their
    length is not known."""
    recipe = training_recipe(settings.reference_seconds, subject, store)
    if recipe is None:
        return []
    return [
        # Proxies are repeat 0: a common seed would make the two agree.
        Training(recipe=recipe, network=network, repeat=1 + repeat)
        for repeat in range(settings.reference_seeds)
        for network in range(len(subject))
    ]


def members(
    settings: Settings, store: Store, budget: float | None = None
) -> list[SupernetTraining]:
    """Return the supernets of a budget, or of all; none as long as a step was not timed."""
    budgets = settings.budgets if budget is None else (budget,)
    return [
        SupernetTraining(recipe=settings.supernet, steps=steps, member=member)
        for seconds in budgets
        if (steps := _steps(seconds, settings, store)) is not None
        for member in range(settings.supernets)
    ]


def controls(settings: Settings, store: Store) -> dict[str, SupernetTraining]:
    """Return the supernets that should rank nothing, by name: one with initial weights, one that
    is trained on random labels for the middle budget."""
    middle = sorted(settings.budgets)[len(settings.budgets) // 2]
    found = {"untrained": SupernetTraining(recipe=settings.supernet, steps=0, member=0)}
    if (steps := _steps(middle, settings, store)) is not None:
        found["random labels"] = SupernetTraining(
            recipe=settings.supernet, steps=steps, member=0, random_labels=True
        )
    return found


def tunings(settings: Settings, store: Store) -> list[SliceTuning]:
    """Return the slices of a supernet of the longest budget that are trained further."""
    first = members(settings, store, max(settings.budgets))[:1]
    return [SliceTuning(training=t, steps=settings.tuned) for t in first if settings.tuned]


def supernet_readings(training: SupernetTraining, subject: Subject) -> list[SupernetReading]:
    """Return the readings of a supernet, in the order of `subject.read`."""
    return [
        SupernetReading(training=training, chunk=chunk)
        for chunk in range(-(-len(subject.read) // CHUNK))
    ]


def _steps(seconds: float, settings: Settings, store: Store) -> int | None:
    name = f"steps of {seconds:g} s of supernet {settings.supernet or 'default'}"
    timed = store.result(StepTiming(recipe=settings.supernet))
    return store.plan(name, None if timed is None else seconds / timed["seconds"])
