"""Expected improvements in closed form, as logarithms that never underflow.

`log_expected_improvement` is that of a normal variable, `log_put` that of a shifted negative
log-normal one. The latter is what a reward is when the logarithm of the error is normal:

    R = s (1 - e^Y) + o,    Y = log(1 - ACC) ~ N(m, v^2),    s > 0

R exceeds a reward r by s (t - e^Y), and does where e^Y < t = 1 - (r - o) / s, so that

    E[max(0, R - r)] = s E[max(0, t - e^Y)].

The second factor is the price of a put of strike t (Black and Scholes 1973, without interest).
With d = (log t - m) / v and E[e^Y; Y < log t] = e^(m + v^2/2) Phi(d - v), it is

    E[max(0, t - e^Y)] = t Phi(d) - e^(m + v^2/2) Phi(d - v).

Since m = log t - d v, e^(m + v^2/2) = t phi(d) / phi(d - v), and both terms have a factor in
common:

    E[max(0, t - e^Y)] = t phi(d) (M(d) - M(d - v)),    M(x) = Phi(x) / phi(x).
"""

import numpy as np
from numpy.typing import NDArray
from scipy.special import erfcx, log_ndtr, ndtr

Array = NDArray[np.float64]

_LEAST_STD = 1e-6  # of a log error: a millionth of the error itself
_TINY = np.finfo(float).tiny


def log_expected_improvement(gain: Array, std: Array) -> Array:
    """Return log E[max(0, N(gain, std^2))] [N] (Jones et al. 1998, eq. 15) without underflow.

    E = std (phi(z) + z Phi(z)) with z = gain / std; far below zero that is std phi(z) / z^2, far
    above the gain itself.
    """
    std = np.maximum(std, 1e-12)
    z = gain / std
    log_phi = -0.5 * z**2 - 0.5 * np.log(2 * np.pi)
    near = np.clip(z, -8.0, 8.0)
    ratio = np.log1p(near * np.exp(log_ndtr(near) + 0.5 * near**2 + 0.5 * np.log(2 * np.pi)))
    far = -2 * np.log(np.maximum(-z, 8.0))
    below = np.log(std) + log_phi + np.where(z > -8.0, ratio, far)
    return np.where(z > 8.0, np.log(np.maximum(gain, std)), below)


def log_put(strike: Array, mean: Array, std: Array) -> Array:
    """Return log E[max(0, strike - e^Y)] [N] for Y ~ N(mean, std^2); -inf for a strike of 0 or
    less.

    Where d is positive the difference of the two terms loses no digits; below, M is
    sqrt(pi / 2) erfcx(-x / sqrt(2)), exact to rounding however small Phi is.
    """
    std = np.maximum(std, _LEAST_STD)
    log_strike = np.log(np.where(strike > 0, strike, 1.0))
    d = (log_strike - mean) / std
    share = ndtr(d) - np.exp(std * (0.5 * std - d) + log_ndtr(d - std))
    low = np.minimum(d, 0.0)
    ratios = erfcx(-low / np.sqrt(2)) - erfcx((std - low) / np.sqrt(2))
    below = -0.5 * d**2 + np.log(np.maximum(0.5 * ratios, _TINY))
    value = np.where(d > 0, np.log(np.maximum(share, _TINY)), below)
    return np.where(strike > 0, log_strike + value, -np.inf)
