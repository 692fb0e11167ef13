"""A supernet of the whole width: how it ranks NAS-Bench-Macro's part `choose`, and networks of the
product's own space.

A step is timed first, and the training gets as many as fit. The part `confirm` is not read.
"""

import math
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from mnas_search.architecture.value import Architecture
from mnas_search.benchmarks.fidelity import running
from mnas_search.benchmarks.fidelity.agreement import Judge, Predictions
from mnas_search.benchmarks.fidelity.macro import recorded
from mnas_search.benchmarks.fidelity.settings import MACRO_TARGETS, Settings
from mnas_search.benchmarks.fidelity.subject import Subject, make_subject
from mnas_search.benchmarks.gpu.work import SIDE, Row, Work, rounded, synchronise
from mnas_search.benchmarks.results import rounded as rounded_interval
from mnas_search.networks.supernet import Supernet
from mnas_search.training.supernet import (
    SupernetRecipe,
    read_supernet,
    reading_images,
    supernet_recipe,
    training_steps,
)

_TRAINING, _READING = 180.0, 40.0  # seconds at most
_WARM_UP, _TIMED = 10, 20  # steps
_BATCHES = (128, 256, 512)  # images of a step; the first is trained with
_IMAGES = 2_000  # that networks are read on
_CHUNK = 20  # networks
_BAND = (50e6, 65e6)  # multiply-adds, of `efficientnet` at 32 pixels
_NETWORKS = 40


def macro(work: Work) -> Iterator[Row]:
    """Yield the seconds of a step, then tau with the recorded accuracies of `choose`."""
    subject = make_subject(Settings(networks=4, trained=4), "", work.dataset().num_classes)
    recipe = supernet_recipe(SIDE, work.device)
    recipe = replace(recipe, reading_images=work.choose(50, _IMAGES))
    if work.quick:
        recipe = replace(recipe, width=0.1, batch_size=8)
    step = 0.0
    for batch in work.choose((recipe.batch_size,), _BATCHES):
        seconds = _seconds_of_step(work, subject, replace(recipe, batch_size=batch))
        step = step or seconds
        yield {"batch": batch, "ms a step": rounded(1_000 * seconds)}
    seconds = min(_TRAINING, work.left - _READING - 5)
    recipe = replace(recipe, steps=work.choose(2, max(1, math.floor(seconds / step))))
    begun = time.monotonic()
    supernet = _trained(work, subject, recipe, until=work.ends - _READING - 2)
    yield {"recipe": recipe.text, "seconds": rounded(time.monotonic() - begun)}
    yield from _judged(work, subject, supernet, recipe)


def _seconds_of_step(work: Work, subject: Subject, recipe: SupernetRecipe) -> float:
    warm_up, timed = work.choose((1, 1), (_WARM_UP, _TIMED))
    steps = training_steps(
        subject.space, work.dataset(), replace(recipe, steps=warm_up + timed), seed=0
    )
    for training in steps:
        if training.step == warm_up:
            synchronise()
            begun = time.perf_counter()
    synchronise()
    return (time.perf_counter() - begun) / timed


def _trained(work: Work, subject: Subject, recipe: SupernetRecipe, *, until: float) -> Supernet:
    """Train; one that is slower than planned is ended early."""
    for training in training_steps(subject.space, work.dataset(), recipe, seed=0):
        supernet = training.supernet
        if time.monotonic() > until and not work.quick:
            break
    return supernet


def _judged(
    work: Work, subject: Subject, supernet: Supernet, recipe: SupernetRecipe
) -> Iterator[Row]:
    """Read networks in random order while there is time; yield tau, and that of counts."""
    images, labels = reading_images(work.dataset(), recipe)
    order = np.random.default_rng(0).permutation(len(subject))[: work.choose(6, None)]
    found: list[float] = []
    accuracies: list[float] = []
    begun = time.monotonic()
    for start in range(0, len(order), _CHUNK):
        networks: list[Architecture] = [
            subject.architecture(row) for row in order[start : start + _CHUNK]
        ]
        for reading in read_supernet(supernet, networks, images, labels):
            found.append(-reading.cross_entropy)
            accuracies.append(reading.accuracy)
        if not work.quick and (time.monotonic() - begun > _READING or work.left < 4):
            break
    taken = time.monotonic() - begun
    read = order[: len(found)]
    judge = Judge(
        recorded.accuracies("choose").mean(axis=1)[read],
        macs=subject.macs[read],
        blocks=subject.blocks[read],
        targets=MACRO_TARGETS,
    )
    for name, values in {
        "supernet": np.array(found),
        "supernet's accuracy": np.array(accuracies),
        "multiply-adds": subject.macs[read],
        "blocks": subject.blocks[read],
    }.items():
        agreement = judge.agreement(Predictions.untold(values[None].astype(float)))
        yield {
            "ranked by": name,
            "networks": len(read),
            "tau": rounded_interval(agreement.all),
            "top half": rounded_interval(agreement.top),
            "quintiles of multiply-adds": rounded_interval(agreement.quintiles),
            "equal depth": rounded_interval(agreement.depth),
            "regret, points": rounded_interval(agreement.regret),
        }
    yield {"networks": len(read), "s a reading": rounded(taken / len(read))}


def own_space(work: Work) -> Iterator[Row]:
    """Yield the rows of `bench fidelity --space efficientnet`: trained networks in one band, and
    supernets of the whole width. With little time none is finished, and the phase is stopped."""
    share = work.left / 3
    settings = Settings(
        space="efficientnet",
        band=_BAND,
        networks=work.choose(4, _NETWORKS),
        trained=4,
        scores=(),
        proxies=(),
        trainings=(),
        reference_seconds=work.choose(0.1, share / _NETWORKS),
        reference_seeds=1,
        supernet=work.choose("width=0.1,batch_size=8", ""),
        budgets=(work.choose(0.1, share),),
        supernets=1,
        told=(),
        images=work.choose(50, _IMAGES),
    )
    with tempfile.TemporaryDirectory() as folder:
        outcome = running.run(
            data=work.data,
            results=Path(folder),
            settings=settings,
            only=("counts", "supernets"),
        )
    yield from outcome.table
    yield from ({"failure": line} for line in outcome.failures)
