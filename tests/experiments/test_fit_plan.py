"""Plans of fits: pure functions of measured times."""

import json

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from mnas_search.architecture.published import architecture
from mnas_search.common.errors import UsageError
from mnas_search.data import Split
from mnas_search.experiments.fit.config import FitConfig
from mnas_search.experiments.fit.measuring import (
    make_prospect,
    narrow,
    shares_to_measure,
    training_config,
)
from mnas_search.experiments.fit.plan import (
    BASELINES_SHARE,
    MAX_LENGTH,
    MAX_TRIALS,
    MIN_TRIALS,
    SEARCH_SHARE,
    SEARCHED,
    SLACK,
    SLOWEST,
    TRAINED,
    TRAINING_SHARE,
    Plan,
    Sizes,
    StepTimes,
    make_plan,
)
from mnas_search.experiments.fit.preparing import resolve_target, second_resolution
from mnas_search.experiments.search.config import Setup


def seconds(high):
    return st.floats(1e-3, high, allow_nan=False)


TIMES = st.builds(StepTimes, proxy=seconds(600), epoch=seconds(3600), test=seconds(600))
SIDES = st.dictionaries(st.sampled_from((32, 64, 224)), TIMES, min_size=1, max_size=2)
SIZES = st.builds(
    Sizes,
    time=st.floats(1, 1e6),
    workers=st.integers(0, 64),
    training_workers=st.sampled_from((1, 2, 4)),
    recipe_epochs=st.integers(1, 300),
    baselines=st.integers(1, 3),
    compared=st.integers(0, 18),
)
MEASURING = seconds(60)


def planned(times, sizes, measuring=0.0):
    try:
        return make_plan(times, sizes, measuring=measuring)
    except UsageError:
        return None


def changed(sizes, **changes):
    return Sizes(**{name: getattr(sizes, name) for name in Sizes.__slots__} | changes)


@given(times=SIDES, sizes=SIZES, measuring=MEASURING)
def test_a_plan_keeps_the_time_and_every_phase_has_its_minimum(times, sizes, measuring):
    plan = planned(times, sizes, measuring)
    assume(plan is not None)
    assert sum(plan.seconds.values()) <= (1 - SLACK) * sizes.time * (1 + 1e-9)
    assert set(plan.epochs) == set(times)
    assert all(1 <= n <= MAX_LENGTH * sizes.recipe_epochs for n in plan.epochs.values())
    assert plan.trials == 0 or MIN_TRIALS <= plan.trials <= MAX_TRIALS
    assert (plan.trials > 0) == (sizes.time >= plan.needed)
    assert Plan.from_dict(json.loads(json.dumps(plan.to_dict()))) == plan


@given(times=SIDES, sizes=SIZES, measuring=MEASURING)
def test_the_training_has_its_share(times, sizes, measuring):
    plan = planned(times, sizes, measuring)
    assume(plan is not None)
    epoch = max(one.epoch for one in times.values()) * 1.25
    most = min(plan.epochs.values()) == MAX_LENGTH * sizes.recipe_epochs
    if plan.trials and not most:
        assert plan.seconds["training"] >= TRAINING_SHARE * sizes.time - epoch - 1e-6
    assert plan.trials or plan.seconds["baselines"] <= BASELINES_SHARE * sizes.time * (1 + 1e-9)


@given(times=SIDES, sizes=SIZES, more=st.floats(1, 10))
def test_more_time_gives_no_shorter_search_and_faster_steps_no_shorter_training(
    times, sizes, more
):
    plan, longer = planned(times, sizes), planned(times, changed(sizes, time=more * sizes.time))
    assume(plan is not None)
    assert longer.trials >= plan.trials
    assert longer.needed == plan.needed
    if not plan.trials and not longer.trials:
        assert (longer.baselines, longer.seeds) >= (plan.baselines, plan.seeds)


@given(times=TIMES, sizes=SIZES, left=seconds(1e6), slowdown=st.floats(0.1, 10))
def test_epochs_left_grow_with_the_time_and_shrink_with_slower_steps(times, sizes, left, slowdown):
    plan = planned({32: times}, sizes)
    assume(plan is not None)
    here = plan.remaining_epochs(32, left=left, slowdown=slowdown)
    assert 1 <= here <= plan.remaining_epochs(32, left=2 * left, slowdown=slowdown)
    assert plan.remaining_epochs(32, left=left, slowdown=2 * slowdown) <= here
    least = plan.remaining_epochs(32, left=left, slowdown=SLOWEST)
    assert least == min(here, plan.remaining_epochs(32, left=left, slowdown=10 * SLOWEST))
    if here > 1 and slowdown <= 1:
        assert plan.training_seconds(32, here) <= left


@given(times=SIDES, sizes=SIZES, measuring=MEASURING, late=st.floats(0, 1))
def test_a_search_that_begins_late_leaves_the_training_its_time(times, sizes, measuring, late):
    plan = planned(times, sizes, measuring)
    assume(plan is not None and plan.trials)
    before = plan.seconds["measuring"] + plan.seconds["baselines"]
    search = plan.seconds["search"] + plan.seconds["comparison"]
    assert search <= plan.search_budget(before) * (1 + 1e-9)
    elapsed = before + late * search
    later = plan.seconds["training"] + plan.seconds["finish"]
    budget = plan.search_budget(elapsed)
    assert budget == 1 or elapsed + budget + later <= sizes.time * (1 + 1e-9)


@pytest.mark.parametrize(("classes", "each"), [(10, 100), (1000, 20), (1000, 1), (7, 3)])
def test_the_shares_to_measure_differ_with_many_classes(classes, each):
    labels = np.repeat(np.arange(classes), each)
    images = Split(images=np.zeros((len(labels), 1, 1, 3), np.uint8), labels=labels)
    few, more = shares_to_measure(images, 64)
    assert 0 < few < more <= 1
    for share in (few, more):
        assert images.share(share) == len(images.part(share).labels) / len(labels)
    assert each == 1 or images.share(more) - images.share(few) >= min(0.3, 256 / len(labels))


PHOTOS = StepTimes(proxy=80.0, epoch=25.0, test=25.0)  # 4,000 of 32 pixels, on two CPUs
USUAL = Sizes(
    time=1800.0, workers=2, training_workers=2, recipe_epochs=100, baselines=3, compared=18
)


def test_half_an_hour_for_4000_photos_on_two_cpus_is_a_training():
    plan = make_plan({32: PHOTOS}, USUAL)
    assert (plan.trials, plan.baselines, plan.seeds) == (0, 3, 1)
    assert plan.seconds["training"] > 0.75 * USUAL.time
    both = make_plan({32: PHOTOS, 64: PHOTOS}, USUAL)  # six proxies would be too many
    assert (both.trials, both.baselines, both.seeds) == (0, 1, 2)
    plan = make_plan({32: PHOTOS}, changed(USUAL, time=plan.needed))
    assert plan.trials == MIN_TRIALS


def test_a_search_that_was_asked_for_takes_place_in_a_short_time_too():
    alone = changed(USUAL, compared=0)
    plan = make_plan({32: PHOTOS}, alone, division=SEARCHED)
    assert (plan.seeds, plan.baselines) == (0, 1)
    assert 2 <= plan.trials < 2 * MIN_TRIALS
    searching = USUAL.time - plan.seconds["training"] - plan.seconds["finish"]
    assert searching <= (SEARCH_SHARE + SLACK) * USUAL.time
    assert plan.seconds["training"] > 0.4 * USUAL.time
    with pytest.raises(UsageError, match=r"at least .* for a search of 2 candidates, got 5 min"):
        make_plan({32: PHOTOS}, changed(alone, time=300.0), division=SEARCHED)
    least = make_plan({32: PHOTOS}, changed(alone, time=plan.needed), division=SEARCHED)
    assert least.trials == 2


def test_a_named_baseline_has_the_whole_time():
    plan = make_plan({32: PHOTOS}, USUAL, division=TRAINED)
    assert (plan.trials, plan.seeds, plan.seconds["baselines"]) == (0, 0, 0.0)
    assert plan.seconds["training"] > 0.9 * USUAL.time - plan.seconds["finish"]


def test_a_time_too_short_for_one_candidate_says_what_it_needs():
    with pytest.raises(UsageError, match=r"time must be at least 1 min 27 s .*, got 20.0 s"):
        make_plan({32: PHOTOS}, changed(USUAL, time=20.0), measuring=2.0)
    assert make_plan({32: PHOTOS}, changed(USUAL, time=87.0), measuring=2.0).epochs == {32: 1}


def test_the_second_resolution():
    assert [second_resolution(side) for side in (32, 64, 96, 128, 224)] == [64, 128, 64, 96, 160]


def test_without_a_target_it_is_that_of_efficientnet_b0():
    config, notes = resolve_target(FitConfig(data="digits", resolution=32))
    assert config.objective == "hard"
    assert notes == (
        "no target was given: 102M FLOPs, those of EfficientNet-B0 at 32 pixels "
        "(--target-flops changes it)",
    )
    assert config.target_flops == pytest.approx(102e6, rel=0.01)
    given = FitConfig(data="digits", target_memory=2e7)
    assert resolve_target(given) == (given, ())


def test_a_configuration_survives_its_folder():
    config = FitConfig(data="digits", target_flops=1e8, workers=1, seed=3)
    assert FitConfig.from_dict({**config.to_dict(), "data_sha256": "x"}) == config
    with pytest.raises(UsageError, match="time must be"):
        FitConfig(data="digits", time=0.0)
    with pytest.raises(UsageError, match="require --target-latency"):
        FitConfig(data="digits", device="cpu")


def test_a_baseline_by_name():
    setup = Setup(FitConfig(data="digits", target_flops=1e8, resolution=32, lite=True).run())
    prospect = make_prospect(setup)
    (chosen,) = narrow(prospect, "efficientnet_b0").baselines
    assert chosen == prospect.baselines[0] and chosen.label.startswith("efficientnet_b0_lite x")
    with pytest.raises(
        UsageError, match=r"winner or a baseline .* \(efficientnet_b0, mobilenet_v2, mnasnet_a1\)"
    ):
        narrow(prospect, "resnet50")


def test_the_last_training_is_told_where_to_train():
    network = architecture("efficientnet_b0")
    told = training_config(FitConfig(data="digits", ray_address="auto", gpus_per_trial=0), network)
    assert (told.ray_address, told.gpus_per_worker) == ("auto", 0.0)
    assert training_config(FitConfig(data="digits"), network).gpus_per_worker is None
