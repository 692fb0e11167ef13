"""Gaussian-process regression (Rasmussen and Williams 2006) with one kernel.

    k(x, x') = r exp(-1/2 sum_f w_f^2 (x_f - x'_f)^2) + l <x, x'> + sum_p t_p x_p x'_p + c,

noise variance n. The linear part holds what adds up over decisions, the exponential one how they
interact. The last columns of the points may be trends: explicit basis functions (section 2.7),
each with a slope of variance t_p, that have no part in the other terms. All parameters are
positive and learnt by maximising the log marginal likelihood (eq. 5.8) with its exact gradient
(eq. 5.9), under independent normal priors on the logarithms. The gradient with respect to all w
together costs two matrix products, so that a weight a feature is as cheap as one for all.
"""

from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray
from scipy.linalg import cho_solve, cholesky, solve_triangular
from scipy.linalg.lapack import dpotri
from scipy.optimize import minimize

Array = NDArray[np.float64]

_JITTER = 1e-8  # of r, so that equal points without noise still factorise
_REACH = 4 * np.log(10)


@dataclass(frozen=True, slots=True, kw_only=True)
class Kernel:
    """The kernel's parameters, all positive, for points of F features and P trends."""

    weights: Array  # w, inverse length scales [F]
    # rbf, linear, constant, noise: r, l, c, n
    rbf: float
    linear: float
    constant: float
    noise: float
    trends: Array = field(default_factory=lambda: np.zeros(0))  # t [P]

    def __call__(self, one: Array, two: Array) -> Array:
        """Return covariances [N, M] of the noise-free values at `one` [N, F + P] and `two`
        [M, F + P]."""
        (a, trends), (b, others) = self.split(one), self.split(two)
        covariances: Array = self._exponential(a, b) + self.linear * (a @ b.T)
        covariances += (trends * self.trends) @ others.T
        covariances += self.constant
        return covariances

    def variance(self, points: Array) -> Array:
        """Return prior variances [N] of the noise-free values."""
        features, trends = self.split(points)
        squares: Array = np.einsum("ij,ij->i", features, features)
        return self.linear * squares + trends**2 @ self.trends + (self.rbf + self.constant)

    def split(self, points: Array) -> tuple[Array, Array]:
        """Return the features [N, F] and the trends [N, P] of points."""
        return points[:, : len(self.weights)], points[:, len(self.weights) :]

    def scaled(self, factor: float) -> "Kernel":
        """Return the same kernel for values `factor` times as large."""
        return Kernel(
            weights=self.weights,
            rbf=self.rbf * factor**2,
            linear=self.linear * factor**2,
            constant=self.constant * factor**2,
            noise=self.noise * factor**2,
            trends=self.trends * factor**2,
        )

    def _exponential(self, one: Array, two: Array) -> Array:
        a, b = one * self.weights, two * self.weights
        squares: Array = np.einsum("ij,ij->i", a, a)[:, None] + np.einsum("ij,ij->i", b, b)
        squares -= 2 * a @ b.T
        np.maximum(squares, 0, out=squares)
        squares *= -0.5
        np.exp(squares, out=squares)
        squares *= self.rbf
        return squares


@dataclass(frozen=True, slots=True, kw_only=True)
class HyperPrior:
    """Where the search for a kernel begins, and how freely it moves."""

    kernel: Kernel  # the start, and the priors' means
    spread: float = 3.0  # standard deviation of the prior on each parameter's logarithm
    learn_noise: bool = True  # whether the noise is learnt; else it stays the start's

    def fit(self, points: Array, values: Array, *, iterations: int = 100) -> Kernel:
        """Return the most probable kernel for `values` [N], of mean zero, at `points`
        [N, F + P]."""
        start = self._pack(self.kernel)

        def loss(theta: Array) -> tuple[float, Array]:
            value, gradient = _log_likelihood(self._unpack(theta), points, values)
            away = (theta - start) / self.spread
            packed = np.concatenate(
                [gradient[:3], gradient[3:4] if self.learn_noise else [], gradient[4:]]
            )
            return -value + 0.5 * float(away @ away), away / self.spread - packed

        found = minimize(
            loss,
            start,
            jac=True,
            method="L-BFGS-B",
            # Four orders of magnitude either way: beyond, matrices no longer factorise.
            bounds=[(s - _REACH, s + _REACH) for s in start],
            options={"maxiter": iterations},
        )
        return self._unpack(found.x)

    def _pack(self, kernel: Kernel) -> Array:
        noise = [kernel.noise] if self.learn_noise else []
        head = [kernel.rbf, kernel.linear, kernel.constant]
        packed: Array = np.log(np.concatenate([head, noise, kernel.trends, kernel.weights]))
        return packed

    def _unpack(self, theta: Array) -> Kernel:
        rbf, linear, constant, *rest = np.exp(theta)
        noise = rest.pop(0) if self.learn_noise else self.kernel.noise
        count = len(self.kernel.trends)
        return Kernel(
            weights=np.array(rest[count:]),
            trends=np.array(rest[:count]),
            rbf=float(rbf),
            linear=float(linear),
            constant=float(constant),
            noise=float(noise),
        )


def _log_likelihood(kernel: Kernel, points: Array, values: Array) -> tuple[float, Array]:
    """Eq. 5.8 without its constant, and its derivatives (eq. 5.9) with respect to the logarithms
    of r, l, c, n, every t and every w."""
    points, trends = kernel.split(points)
    exponential = kernel._exponential(points, points)
    inner = points @ points.T
    total = exponential + kernel.linear * inner + kernel.constant
    total += (trends * kernel.trends) @ trends.T
    total[np.diag_indices_from(total)] += kernel.noise + _JITTER * kernel.rbf
    lower = cholesky(total, lower=True, overwrite_a=True, check_finite=False)
    alpha = cho_solve((lower, True), values, check_finite=False)
    value = -0.5 * float(values @ alpha) - float(np.log(np.diagonal(lower)).sum())
    inverse = dpotri(lower, lower=1)[0]
    inverse = np.tril(inverse) + np.tril(inverse, -1).T
    matrix = np.outer(alpha, alpha) - inverse
    weighted = matrix * exponential
    # d k / d log w_f = -w_f^2 (x_f - x'_f)^2 r exp(...): its sum over all pairs, for all f.
    pairs = (points**2).T @ weighted.sum(axis=1) - np.einsum("if,if->f", points, weighted @ points)
    scalars = [
        0.5 * weighted.sum(),
        0.5 * kernel.linear * np.vdot(matrix, inner),
        0.5 * kernel.constant * matrix.sum(),
        0.5 * kernel.noise * np.trace(matrix),
    ]
    slopes = 0.5 * kernel.trends * np.einsum("ip,ip->p", trends, matrix @ trends)
    return value, np.concatenate([scalars, slopes, -(kernel.weights**2) * pairs])


@dataclass(frozen=True, slots=True, kw_only=True)
class Posterior:
    """What is believed after `values` [N] were seen at `points` [N, F + P] (algorithm 2.1)."""

    kernel: Kernel
    points: Array  # where values were seen [N, F + P]
    mean: float  # of the values, taken off before and added again after
    _lower: Array
    _alpha: Array

    @classmethod
    def of(cls, kernel: Kernel, points: Array, values: Array) -> Self:
        """Condition on the values."""
        mean = float(values.mean())
        total = kernel(points, points)
        total[np.diag_indices_from(total)] += kernel.noise + _JITTER * kernel.rbf
        lower = cholesky(total, lower=True, overwrite_a=True, check_finite=False)
        alpha = cho_solve((lower, True), values - mean, check_finite=False)
        return cls(kernel=kernel, points=points, mean=mean, _lower=lower, _alpha=alpha)

    def __call__(self, points: Array) -> tuple[Array, Array]:
        """Return means [N] and standard deviations [N] of noise-free values at `points`
        [N, F + P]."""
        across = self.kernel(self.points, points)
        mean = self.mean + self._alpha @ across
        half = solve_triangular(self._lower, across, lower=True, check_finite=False)
        variance = self.kernel.variance(points) - np.einsum("ij,ij->j", half, half)
        return mean, np.sqrt(np.maximum(variance, 0))

    def mean_function(self) -> "Mean":
        """Return a function that computes the mean alone, which is cheaper."""
        kernel = self.kernel
        features, trends = kernel.split(self.points)
        scaled = features * kernel.weights
        return Mean(
            weights=kernel.weights,
            scaled=scaled,
            squares=np.einsum("ij,ij->i", scaled, scaled),
            alpha=kernel.rbf * self._alpha,
            slope=np.concatenate(
                [kernel.linear * (self._alpha @ features), kernel.trends * (self._alpha @ trends)]
            ),
            offset=self.mean + kernel.constant * float(self._alpha.sum()),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Mean:
    """A posterior's mean as a function, with all that does not depend on its argument ready."""

    weights: Array  # of the kernel [F]
    scaled: Array  # seen points times weights [N, F], with their `squares` [N]
    squares: Array
    alpha: Array  # r times (K + n I)^-1 (y - mean) [N]
    # slope, offset: the linear part with the trends, [F + P], and all constants
    slope: Array
    offset: float

    def __call__(self, points: Array) -> Array:
        """Return means [M] at `points` [M, F + P]."""
        own = points[:, : len(self.weights)] * self.weights
        exponents = own @ self.scaled.T
        exponents -= 0.5 * self.squares
        exponents -= 0.5 * np.einsum("ij,ij->i", own, own)[:, None]
        np.exp(np.minimum(exponents, 0, out=exponents), out=exponents)
        means: Array = exponents @ self.alpha + points @ self.slope + self.offset
        return means


def isotropic(features: int, *, noise: float) -> Kernel:
    """Return a start for the fit to values of variance one at features in [0, 1]."""
    return Kernel(
        weights=np.full(features, 1 / np.sqrt(features)),
        rbf=0.5,
        linear=1.0 / features,
        constant=0.1,
        noise=noise,
    )
