"""Statistics against cases by hand, scipy, published tables, and brute force."""

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, kendalltau, ttest_1samp, ttest_ind

from mnas_search.common.statistics import (
    TauBootstrap,
    interval,
    interval_of_sources,
    kendall_tau,
    leave_pair_out,
    mean_margin,
    median_bounds,
    order,
    order_missing_last,
    pair_count,
    paired_difference,
    pooled_std,
    quantile_groups,
    resamples,
    same,
    sample_std,
    student_margin,
    tau_b,
    wilson,
)


def values(*numbers):
    return np.array(numbers, float)


def tau(one, two, **options):
    return tau_b(order(values(*one)), order(values(*two)), **options)[0]


def test_tau_by_hand():
    assert tau([1, 2, 3, 4], [1, 2, 4, 3]) == pytest.approx(4 / 6)  # 5 pairs agree, 1 does not
    assert tau([1, 2, 3], [3, 2, 1]) == -1
    # 2 pairs agree, none disagrees; of 3 pairs one is tied in the first.
    assert tau([1, 1, 2], [1, 2, 3]) == pytest.approx(2 / math.sqrt(2 * 3))
    assert math.isnan(tau([1, 1, 1], [1, 2, 3]))
    assert math.isnan(tau([], []))


def test_what_is_missing_counts_nowhere():
    assert tau([1, 2, math.nan, 4], [1, 2, 0, 3]) == 1
    assert pair_count(order(values(1, 2, math.nan, 4)), order(values(1, 2, 0, math.nan))) == 1


def test_tau_within_groups_by_hand():
    among = same(np.array([0, 0, 1, 1]))
    assert tau([1, 2, 3, 4], [2, 1, 3, 4], among=among) == 0  # one pair each way
    assert pair_count(order(values(1, 2, 3, 4)), order(values(1, 2, 3, 4)), among) == 2


@given(
    st.lists(st.tuples(st.integers(0, 4), st.integers(0, 4)), min_size=2, max_size=12), st.data()
)
def test_tau_equals_scipys_drawn_with_replacement_too(pairs, data):
    one, two = np.array(pairs, float).T
    rows = data.draw(st.lists(st.integers(0, len(one) - 1), min_size=2, max_size=12))
    weights = np.bincount(rows, minlength=len(one))[None].astype(float)
    for ours, theirs in (
        (tau_b(order(one), order(two))[0], kendalltau(one, two).statistic),
        (
            tau_b(order(one), order(two), weights=weights)[0],
            kendalltau(one[rows], two[rows]).statistic,
        ),
    ):
        assert ours == pytest.approx(theirs, abs=1e-12, nan_ok=True)


def test_quantile_groups_are_of_equal_size_and_in_order():
    groups = quantile_groups(values(5, 1, 4, 2, 8, 7, 3, 6), 4)
    assert groups.tolist() == [2, 0, 1, 0, 3, 3, 1, 2]


def test_resamples_are_seeded_and_whole():
    drawn = resamples(7, count=50)
    assert (drawn.sum(axis=1) == 7).all()
    assert (drawn == resamples(7, count=50)).all()
    assert (drawn != resamples(7, count=50, seed=1)).any()


def test_intervals_cover_as_often_as_they_say():
    rng = np.random.default_rng(0)
    truth = 2 / math.pi * math.asin(0.5)  # of a bivariate normal with correlation 0.5
    covered = 0
    for seed in range(200):
        x = rng.normal(size=40)
        y = 0.5 * x + math.sqrt(0.75) * rng.normal(size=40)
        one, two = order(x), order(y)
        weights = resamples(40, count=500, seed=seed)
        found = interval(tau_b(one, two)[0], tau_b(one, two, weights=weights))
        covered += found.low <= truth <= found.high
    assert 0.88 <= covered / 200 <= 0.99


def test_no_interval_without_an_estimate():
    assert interval(math.nan, values(1, 2)) is None
    assert interval(0.5, values(0.5, math.nan, math.nan)) is None
    found = interval(0.5, values(0.4, 0.6, math.nan))
    assert 0.4 <= found.low < found.high <= 0.6


def test_leave_pair_out_is_what_brute_force_predicts():
    rng = np.random.default_rng(1)
    x, y = rng.normal(size=(9, 2)), rng.normal(size=9)
    y[3] = math.nan
    predicted = leave_pair_out(x, y)
    for i in range(9):
        for j in range(9):
            if 3 in (i, j):
                assert math.isnan(predicted[i, j])
            elif i != j:
                kept = [k for k in range(9) if k not in (i, j, 3)]
                design = np.column_stack([np.ones(9), x])
                weights = np.linalg.lstsq(design[kept], y[kept])[0]
                assert predicted[i, j] == np.sign((design[i] - design[j]) @ weights)


def test_leave_pair_out_finds_what_is_there_and_nothing_else():
    rng = np.random.default_rng(2)
    x = rng.normal(size=(20, 2))
    truth = order(x @ values(1, -2))
    assert tau_b(leave_pair_out(x, x @ values(1, -2)), truth)[0] == 1
    # One feature twice is no harm.
    twice = leave_pair_out(x[:, [0, 0]], 3 * x[:, 0])
    assert tau_b(twice, order(x[:, 0]))[0] == 1
    draws = []
    for _ in range(200):
        noise = rng.normal(size=20)
        draws.append(tau_b(leave_pair_out(rng.normal(size=(20, 2)), noise), order(noise))[0])
    assert abs(np.mean(draws)) < 0.05


def test_a_bootstrap_of_taus_uses_the_same_samples_throughout():
    rng = np.random.default_rng(1)
    truth = rng.normal(size=25)
    good, poor = truth + 0.3 * rng.normal(size=25), rng.normal(size=25)
    bootstrap = TauBootstrap(25, count=40)
    drawn = [np.repeat(np.arange(25), w.astype(int)) for w in resamples(25, count=40)]
    taus = np.array(
        [[kendalltau(one[d], truth[d]).statistic for d in drawn] for one in (good, poor)]
    )
    pairs = [[(order(one), order(truth))] for one in (good, poor)]
    found = bootstrap.tau(pairs[0])
    assert found.value == pytest.approx(kendalltau(good, truth).statistic)
    assert [found.low, found.high] == pytest.approx(np.percentile(taus[0], [2.5, 97.5]))
    gain = bootstrap.difference(*pairs)
    assert gain.above_zero
    assert [gain.low, gain.high] == pytest.approx(np.percentile(taus[0] - taus[1], [2.5, 97.5]))
    equal = bootstrap.difference(pairs[0], pairs[0])
    assert (equal.value, equal.low, equal.high) == (0, 0, 0)
    mean = bootstrap.tau([pairs[0][0], pairs[1][0]])
    assert mean.value == pytest.approx((found.value + kendalltau(poor, truth).statistic) / 2)
    assert bootstrap.tau([]) is None


def test_an_undefined_tau_is_missing_or_counts_as_told():
    constant = [(order(np.zeros(5)), order(np.arange(5.0)))]
    assert TauBootstrap(5, count=10).tau(constant) is None
    assert TauBootstrap(5, count=10, undefined=0.0).tau(constant).value == 0


def test_missing_values_rank_last():
    ordered = order_missing_last(values(math.nan, 1, -math.inf, 2))
    assert ordered[0].tolist() == [0, -1, 0, -1]
    assert (ordered[1:, 1:] == order(values(1, 0, 2))).all()


def test_kendall_tau_by_hand():
    assert kendall_tau([1, 2, 3, 4], [1, 2, 4, 3]) == pytest.approx(4 / 6)


def test_paired_difference_by_hand():
    """Two keys: four equally likely samples, with one key's difference or the mean."""
    found = paired_difference({0: 5.0, 1: 7.0, 9: 100.0}, {0: 1.0, 1: 1.0})
    assert (found.value, found.low, found.high) == (5.0, 4.0, 6.0)
    equal = paired_difference(dict.fromkeys(range(9), 2.0), dict.fromkeys(range(9), 1.5))
    assert (equal.value, equal.low, equal.high) == (0.5, 0.5, 0.5)
    assert paired_difference({0: 5.0}, {0: 1.0}) is None


def test_nested_keys_are_drawn_with_their_group():
    """Two groups: a sample may miss either of them, the larger one too."""
    ones = {key: 3.0 if key < 30 else 1.0 for key in range(40)}
    zeros = dict.fromkeys(range(40), 0.0)
    found = paired_difference(ones, zeros, group=lambda key: key // 30)
    assert (found.value, found.low, found.high) == (3.0, 1.0, 3.0)
    apart = paired_difference(ones, zeros)  # keys that are taken to be independent
    assert (apart.value, apart.low, apart.high) == (3.0, 3.0, 3.0)


def test_pooled_std_by_hand():
    assert pooled_std(np.array([[1.0, 3.0], [2.0, 2.0]])) == pytest.approx(1.0)
    assert pooled_std(np.array([[1.0, 3.0], [2.0, math.nan]])) == pytest.approx(math.sqrt(2))
    assert pooled_std(np.array([[1.0], [2.0]])) is None
    assert pooled_std([(1.0, 3.0), (4.0,), ()]) == pytest.approx(math.sqrt(2))
    pairs = np.random.default_rng(0).normal(size=(30, 2))
    halves = np.sqrt(np.mean((pairs[:, 0] - pairs[:, 1]) ** 2) / 2)
    assert pooled_std(pairs) == pytest.approx(halves)


def test_sample_std_by_hand():
    assert sample_std([1.0, 3.0, math.nan]) == pytest.approx(math.sqrt(2))
    assert sample_std([1.0, math.nan]) is None


def test_student_margin_is_half_the_interval_of_a_t_test():
    one, two = (1.0, 2.0, 4.0), (2.0, 2.5, 7.0)
    bounds = ttest_ind(one, two).confidence_interval(0.95)
    assert student_margin([one, two], 3) == pytest.approx((bounds.high - bounds.low) / 2)
    with pytest.raises(ValueError, match="requires a group of two values"):
        student_margin([(1.0,)], 1)


def test_mean_margin_of_one_group_is_half_the_interval_of_a_t_test():
    one = (1.0, 2.0, 4.0)
    bounds = ttest_1samp(one, 0.0).confidence_interval(0.95)
    assert mean_margin([one], 3) == pytest.approx((bounds.high - bounds.low) / 2)


def test_intervals_of_one_and_of_two_sources_are_student_s_and_welch_s():
    one, two = (1.0, 2.0, 4.0), (2.0, 2.5, 7.0, 8.0)
    for value, sources, test in (
        (np.mean(one), (one,), ttest_1samp(one, 0.0)),
        (np.mean(one) - np.mean(two), (one, two), ttest_ind(one, two, equal_var=False)),
    ):
        bounds = test.confidence_interval(0.95)
        found = interval_of_sources(float(value), *sources)
        assert (found.low, found.high) == pytest.approx((bounds.low, bounds.high))
        assert found.margin == pytest.approx((bounds.high - bounds.low) / 2)
    assert interval_of_sources(2.0, (1.0, 1.0)).margin == 0.0


@pytest.mark.parametrize(("seed_std", "image_std"), [(0.0, 1.0), (0.03, 0.5), (0.1, 0.0)])
def test_an_interval_over_seeds_and_images_covers_the_truth(seed_std, image_std):
    """Whether a network is right on an image depends on the seed, the image, and chance. Of 400
    intervals at 95 %, fewer than 365 cover the truth with a chance of 0.0005."""
    rng = np.random.default_rng(0)
    truth, seeds, images, covered = 0.6, 3, 200, 0
    for _ in range(400):
        mean = truth + seed_std * rng.normal(size=(seeds, 1))
        mean = mean + image_std * rng.uniform(-0.3, 0.3, size=(1, images))
        right = rng.random((seeds, images)) < mean
        found = interval_of_sources(right.mean(), right.mean(axis=1), right.mean(axis=0))
        covered += found.low <= truth <= found.high
    assert 365 <= covered


def test_wilson_s_interval():
    # Newcombe, Statistics in Medicine 17 (1998), table I: 81 of 263, 15 of 148, 0 of 20, 1 of 29.
    assert wilson(81, 263) == pytest.approx((0.2553, 0.3662), abs=5e-5)
    assert wilson(15, 148) == pytest.approx((0.0624, 0.1605), abs=5e-5)
    assert wilson(0, 20) == pytest.approx((0.0, 0.1611), abs=5e-5)
    assert wilson(1, 29) == pytest.approx((0.0061, 0.1718), abs=5e-5)


@pytest.mark.parametrize("count", [6, 9, 12, 30, 101])
def test_median_bounds_hold_the_median_in_95_of_100(count):
    """Of the values, fewer than `low` or more than `high` lie below the median."""
    low, high = median_bounds(count)
    inside = binom.cdf(high, count, 0.5) - binom.cdf(low, count, 0.5)
    tighter = binom.cdf(high - 1, count, 0.5) - binom.cdf(low + 1, count, 0.5)
    assert inside >= 0.95 > tighter


def test_median_bounds_of_few_values_are_all_of_them():
    assert median_bounds(1) == (0, 0) and median_bounds(3) == (0, 2)
