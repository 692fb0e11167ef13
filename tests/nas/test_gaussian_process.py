"""The Gaussian process against closed forms, finite differences and scikit-learn's."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.integrate import quad
from scipy.stats import norm
from sklearn.gaussian_process import GaussianProcessRegressor
from sklearn.gaussian_process.kernels import RBF, ConstantKernel, DotProduct, WhiteKernel

from mnas_search.controllers.bayesian import neighbours
from mnas_search.nas.space.choices import Decision, sample_codes, sizes
from mnas_search.nas.surrogate.expected_improvement import log_expected_improvement, log_put
from mnas_search.nas.surrogate.features import Features
from mnas_search.nas.surrogate.gaussian_process import (
    HyperPrior,
    Kernel,
    Posterior,
    _log_likelihood,
    isotropic,
)

RNG = np.random.default_rng(0)
POINTS = RNG.uniform(size=(30, 4))
VALUES = np.sin(3 * POINTS[:, 0]) + POINTS[:, 1] * POINTS[:, 2] + 0.05 * RNG.normal(size=30)
KERNEL = Kernel(
    weights=np.array([1.5, 0.7, 0.4, 0.1]), rbf=0.8, linear=0.3, constant=0.2, noise=0.01
)
TRENDS = replace(KERNEL, weights=np.array([1.5, 0.7]), trends=np.array([0.5, 2.0]))


def test_posterior_of_one_point_by_hand():
    """k = 2 (one exponential, no linear part), noise 1, seen twice: variance 2 - 8 / 5."""
    kernel = Kernel(weights=np.array([1.0]), rbf=2.0, linear=1e-300, constant=1e-300, noise=1.0)
    posterior = Posterior.of(kernel, np.zeros((2, 1)), np.array([-3.0, 3.0]))
    mean, std = posterior(np.zeros((1, 1)))
    assert mean[0] == pytest.approx(0.0, abs=1e-9)
    assert std[0] ** 2 == pytest.approx(2 - 2 * 2 * 2 / (1 + 2 * 2), rel=1e-6)


def test_posterior_is_scikit_learns():
    shared = ConstantKernel(0.2, "fixed") + ConstantKernel(0.3, "fixed") * DotProduct(0, "fixed")
    rbf = ConstantKernel(0.8, "fixed") * RBF(1 / KERNEL.weights, "fixed")
    kernel = rbf + shared + WhiteKernel(0.01, "fixed")
    theirs = GaussianProcessRegressor(kernel).fit(POINTS, VALUES - VALUES.mean())
    new = RNG.uniform(size=(9, 4))
    mean, std = theirs.predict(new, return_std=True)
    own, own_std = Posterior.of(KERNEL, POINTS, VALUES)(new)
    np.testing.assert_allclose(own, mean + VALUES.mean(), atol=1e-6)
    np.testing.assert_allclose(own_std**2, std**2 - 0.01, atol=1e-6)  # theirs with its noise
    np.testing.assert_allclose(
        Posterior.of(KERNEL, POINTS, VALUES).mean_function()(new), own, atol=1e-10
    )


def test_trends_are_linear_terms_of_the_last_columns():
    """With slopes of their own variance, and no part in the exponential."""
    one, two = POINTS[:4], POINTS[4:9]
    inner = replace(TRENDS, trends=np.zeros(0))(one[:, :2], two[:, :2])
    slopes = 0.5 * np.outer(one[:, 2], two[:, 2]) + 2.0 * np.outer(one[:, 3], two[:, 3])
    np.testing.assert_allclose(TRENDS(one, two), inner + slopes)
    np.testing.assert_allclose(TRENDS.variance(one), np.diagonal(TRENDS(one, one)))
    posterior = Posterior.of(TRENDS, POINTS, VALUES)
    np.testing.assert_allclose(posterior.mean_function()(two), posterior(two)[0], atol=1e-10)


@pytest.mark.parametrize("kernel", [KERNEL, TRENDS])
def test_gradient_by_finite_differences(kernel):
    prior = HyperPrior(kernel=kernel)
    theta = prior._pack(kernel)

    def value(at):
        return _log_likelihood(prior._unpack(at), POINTS, VALUES - VALUES.mean())[0]

    steps = 1e-5 * np.eye(len(theta))
    numeric = [(value(theta + step) - value(theta - step)) / 2e-5 for step in steps]
    exact = _log_likelihood(kernel, POINTS, VALUES - VALUES.mean())[1]
    np.testing.assert_allclose(exact, numeric, rtol=1e-4, atol=1e-6)


def test_a_fit_raises_the_likelihood_and_keeps_fixed_noise():
    start = isotropic(4, noise=0.02)
    centred = VALUES - VALUES.mean()
    fitted = HyperPrior(kernel=start, learn_noise=False).fit(POINTS, centred)
    assert fitted.noise == 0.02
    before, after = (_log_likelihood(k, POINTS, centred)[0] for k in (start, fitted))
    assert after > before + 1


def test_scaled_kernels_scale_the_posterior():
    new = RNG.uniform(size=(5, 4))
    mean, std = Posterior.of(TRENDS, POINTS, VALUES)(new)
    mean_10, std_10 = Posterior.of(TRENDS.scaled(10), POINTS, 10 * VALUES)(new)
    np.testing.assert_allclose(mean_10, 10 * mean)
    np.testing.assert_allclose(std_10, 10 * std)


# -- features -----------------------------------------------------------------------------------

DECISIONS = (
    Decision(name="s0.width", options=(8, 24, 16)),
    Decision(name="s0.op", options=("conv", "mbconv")),
    Decision(name="s1.width", options=(8, 24, 16)),
    Decision(name="s1.fixed", options=(1,)),
)


def test_features_by_hand():
    points = Features(DECISIONS)(np.array([[1, 0, 2, 0], [0, 1, 0, 0]]))
    # width 24 is beyond both steps, 16 beyond the first, 8 beyond none
    np.testing.assert_array_equal(points, [[1, 1, 1, 0, 1, 0], [0, 0, 0, 1, 0, 0]])


def test_shared_features_sum_over_stages():
    features = Features(DECISIONS, shared=True)
    assert features.count == 6 + 2
    points = features(np.array([[1, 0, 2, 0]]))
    assert sorted(points[0])[-2:] == pytest.approx(sorted([np.sqrt(2), 1.0]))
    assert np.isclose(points[0], np.sqrt(2)).sum() == 1
    assert np.isclose(points[0], np.sqrt(0.5)).sum() == 1


@given(st.integers(0, 2**32 - 1))
def test_different_codes_are_different_points(seed):
    codes = np.unique(sample_codes(DECISIONS, 20, np.random.default_rng(seed)), axis=0)
    assert len(np.unique(Features(DECISIONS)(codes), axis=0)) == len(codes)


# -- what bayesian optimisation makes of it ----------------------------------------------------


def test_expected_improvement_is_the_closed_form_and_never_underflows():
    gain, std = np.array([-0.3, 0.0, 0.5]), np.array([0.2, 0.4, 0.1])
    z = gain / std
    expected = gain * norm.cdf(z) + std * norm.pdf(z)
    np.testing.assert_allclose(np.exp(log_expected_improvement(gain, std)), expected)
    far = log_expected_improvement(np.array([-7.99, -8.01, -1e3, -2e3]), np.ones(4))
    assert np.isfinite(far).all()
    assert (np.diff(far) < 0).all()
    assert abs(far[0] - far[1]) < 0.2
    sure = log_expected_improvement(np.array([0.0799, 0.0801, 0.5, 1e3]), np.full(4, 0.01))
    np.testing.assert_allclose(np.exp(sure), [0.0799, 0.0801, 0.5, 1e3], rtol=1e-6)


@pytest.mark.parametrize("std", [0.01, 0.3, 2.0])
def test_a_put_is_the_expectation_by_quadrature(std):
    strikes, mean = np.array([0.02, 0.19, 0.2, 0.21, 0.9]), np.log(0.2)
    found = np.exp(log_put(strikes, np.full(5, mean), np.full(5, std)))
    for strike, value in zip(strikes, found, strict=True):
        top = np.clip((np.log(strike) - mean) / std, -12.0, 12.0)

        def density(z, strike=strike):
            return (strike - np.exp(mean + std * z)) * norm.pdf(z)

        assert value == pytest.approx(quad(density, -12.0, top)[0], rel=1e-6, abs=1e-30)


def test_puts_never_underflow_and_fall_with_the_mean():
    """Out of the money by up to thousands of standard deviations, and certain ones."""
    means = np.linspace(-3.0, 5.0, 200)
    for std in (0.0, 1e-4, 0.05, 3.0):
        values = log_put(np.full(200, 0.2), means, np.full(200, std))
        assert np.isfinite(values).all()
        assert (np.diff(values) < 0).all()
    sure = log_put(np.array([0.3, 0.3]), np.log([0.1, 0.2]), np.zeros(2))
    np.testing.assert_allclose(np.exp(sure), [0.2, 0.1], rtol=1e-5)
    assert np.isneginf(log_put(np.array([0.0, -1.0]), np.zeros(2), np.ones(2))).all()


def test_neighbours_differ_in_one_decision():
    options = np.array(sizes(DECISIONS))
    codes = sample_codes(DECISIONS, 3, np.random.default_rng(0))
    found = neighbours(codes, options)
    assert len(found) == 3 * (options - 1).sum()
    for k, row in enumerate(found):
        own = codes[k // (options - 1).sum()]
        assert (row != own).sum() == 1
        assert (row < options).all()
    assert len(np.unique(found[: (options - 1).sum()], axis=0)) == (options - 1).sum()
