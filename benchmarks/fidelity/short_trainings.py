"""What short trainings predict: proxies, trainings that are stopped early, tuned slices."""

from collections.abc import Sequence

import numpy as np

from mnas_search.benchmarks.fidelity.phases import training_recipe, trainings, tunings
from mnas_search.benchmarks.fidelity.predictor import Predictor, spread
from mnas_search.benchmarks.fidelity.settings import Settings
from mnas_search.benchmarks.fidelity.store import Store
from mnas_search.benchmarks.fidelity.subject import Subject
from mnas_search.benchmarks.fidelity.tasks import Result
from mnas_search.nas.asha import Asha


def proxy_predictors(settings: Settings, subject: Subject, store: Store) -> list[Predictor]:
    """Accuracies of short trainings, and those that early stopping leaves of the longer ones; no
    priors, since they are told as trainings."""
    lengths = {s: training_recipe(s, subject, store) for s in settings.trainings}
    found = []
    for recipe in dict.fromkeys((*settings.proxies, *filter(None, lengths.values()))):
        if results := store.results(trainings(recipe, subject)):
            values = [result["accuracy"] for result in results]
            seconds = sum(result["seconds"] for result in results)
            found.append(_trained(recipe, subject, values, seconds))
    for wanted, recipe in lengths.items():
        results = store.results(trainings(recipe, subject)) if recipe else None
        if results:
            values, seconds = stopped_early(results, settings.total)
            found.append(_trained(f"asha, up to {wanted:g} s each", subject, values, seconds))
    return found


def stopped_early(results: Sequence[Result], total: float) -> tuple[list[float], float]:
    """Return what ASHA would have seen of these trainings, one after the other, within `total`
    seconds: the number of rungs that each one passed plus its last accuracy, NaN for those that
    were not begun; and the seconds. The targets' cost is left out: accuracies are compared."""
    asha, values, spent = Asha(), [], 0.0
    for trial, result in enumerate(results):
        if spent > total:
            values.append(np.nan)
            continue
        passed, accuracy, share = len(result["rungs"]), result["accuracy"], 1.0
        for number, (epoch, seen) in enumerate(sorted(result["rungs"])):
            if not asha.should_continue(trial, epoch, seen):
                passed, accuracy, share = number, seen, epoch / result["epochs"]
                break
        values.append(passed + accuracy)
        spent += share * result["seconds"]
    return values, spent


def tuned_predictors(settings: Settings, subject: Subject, store: Store) -> list[Predictor]:
    """Negative cross-entropies of slices that were trained a little further."""
    found = []
    for task in tunings(settings, store):
        results = store.results([task, task.training])
        if results is not None:
            values = -np.array(results[0]["cross_entropy"])
            seconds = sum(result["seconds"] for result in results)
            name = f"slices, {task.steps} steps more"
            found.append(_trained(name, subject, values, seconds))
    return found


def _trained(
    name: str, subject: Subject, values: Sequence[float] | np.ndarray, seconds: float
) -> Predictor:
    """Return a predictor of the networks that proxies train."""
    of_all = spread([values], subject.trained, subject)
    return Predictor(name=name, kind="proxy", values=of_all, seconds=seconds)
