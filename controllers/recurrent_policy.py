"""An LSTM that writes choices down one by one: sampling, log-probabilities, gradients. numpy only.

Networks of this size spend their time between operations, not in them, so sampling through a
framework of tensors would cost more than the proposals' whole bookkeeping. Per decision j

    z = x_j[choice before] + W h        (the first step is fed x_0[0])
    i, f, o = sigmoid(z_i, z_f, z_o)    g = tanh(z_g)
    c' = f c + i g                      h' = o tanh(c')
    p_j = softmax(V_j h' + v_j)

`x_j` is the embedding of the earlier choice, already in the space of the gates. sigmoid(z) is
(1 + tanh(z / 2)) / 2, so that one tanh serves all four. The gradients are written out below and
tested against torch's.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import final

import numpy as np
from numpy.typing import NDArray

from mnas_search.nas.space.choices import Codes

Floats = NDArray[np.float32]

_NEVER = np.float32(-1e9)  # logit of an option that its decision does not have


@dataclass(frozen=True, slots=True)
class Forward:
    """A pass over codes [N, D], fed with them; what the gradient needs is kept by step.

    Attributes:
        codes: what was written down.
        log_softmax: [D, N, M], M options at most.
        gates: i, f, o, g [D, N, 4H].
        states: c [D + 1, N, H], zero before the first step.
        squashed: tanh(c') [D, N, H].
        hidden: h [D + 1, N, H], zero before the first step.
    """

    codes: Codes
    log_softmax: Floats
    gates: Floats
    states: Floats
    squashed: Floats
    hidden: Floats

    @property
    def log_probs(self) -> Floats:
        """log p of every choice [N, D]."""
        picked = np.take_along_axis(self.log_softmax, self.codes.T[..., None], axis=-1)
        return np.ascontiguousarray(picked[..., 0].T)


@final
class RecurrentPolicy:
    """A distribution over codes.

    Args:
        sizes: options of each decision.
        hidden: units of the LSTM, H.
        rng: of the initial weights, uniform in [-0.1, 0.1]; biases start at zero.

    Attributes:
        weights: all parameters in one vector; call `refresh` after changing it.
    """

    def __init__(self, sizes: Sequence[int], hidden: int, rng: np.random.Generator) -> None:
        most, count = max(sizes), len(sizes)
        self._shapes = (
            (count, most, 4 * hidden),
            (hidden, 4 * hidden),
            (count, hidden, most),
            (count, most),
        )
        self._hidden = hidden
        self.weights = rng.uniform(-0.1, 0.1, sum(map(_volume, self._shapes))).astype(np.float32)
        self._embedding, self._recurrent, self._decoder, self._bias = self._split(self.weights)
        self._bias[:] = 0
        missing = np.arange(most) >= np.array(sizes)[:, None]
        self._missing = np.where(missing, _NEVER, np.float32(0))
        self._half = np.repeat(np.array([0.5, 0.5, 0.5, 1], np.float32), hidden)
        self.refresh()

    def refresh(self) -> None:
        """Take notice of changed weights."""
        self._inputs = self._embedding * self._half
        self._loop = self._recurrent * self._half
        self._logits = (self._bias + self._missing)[:, None]

    def sample(self, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """`count` draws, codes [count, D]."""
        decisions, most = self._bias.shape
        # The argmax of logits with Gumbel noise is a draw from their softmax.
        noise = rng.gumbel(size=(decisions, count, most)).astype(np.float32)
        noise += self._logits
        codes = np.empty((decisions, count), np.int64)
        fed = np.zeros(count, np.int64)
        hidden, state, squashed = np.zeros((3, count, self._hidden), np.float32)
        gates = np.empty((count, 4 * self._hidden), np.float32)
        for inputs, decoder, scores, drawn in zip(
            self._inputs, self._decoder, noise, codes, strict=True
        ):
            np.matmul(hidden, self._loop, out=gates)
            gates += inputs.take(fed, axis=0)
            _cell(gates, state, state, squashed, hidden)
            scores += hidden @ decoder
            fed = scores.argmax(axis=1, out=drawn)
        return np.ascontiguousarray(codes.T)

    def forward(self, codes: Codes) -> Forward:
        """Log-probabilities of codes [N, D] under the weights of now."""
        count, decisions = codes.shape
        gates = self._inputs[np.arange(decisions)[:, None], _fed(codes)]
        states, hidden = np.zeros((2, decisions + 1, count, self._hidden), np.float32)
        squashed = np.empty_like(hidden[1:])
        for j in range(decisions):
            gates[j] += hidden[j] @ self._loop
            _cell(gates[j], states[j], states[j + 1], squashed[j], hidden[j + 1])
        logits = hidden[1:] @ self._decoder
        logits += self._logits
        logits -= logits.max(axis=-1, keepdims=True)
        logits -= np.log(np.exp(logits).sum(axis=-1, keepdims=True))
        return Forward(codes, logits, gates, states, squashed, hidden)

    def backward(self, done: Forward, slope: Floats, entropy: float) -> Floats:
        """Gradient, in the order of `weights`, of

            sum over n, t of slope[n, t] * log p[n, t] + entropy * H[n, t]

        with `slope` [N, D] held constant and H the entropy of a step's softmax."""
        gradient = np.empty_like(self.weights)
        embedding, recurrent, decoder, bias = self._split(gradient)
        errors = _logit_errors(done, slope, entropy)
        np.sum(errors, axis=1, out=bias)
        np.matmul(done.hidden[1:].transpose(0, 2, 1), errors, out=decoder)
        outer = errors @ self._decoder.transpose(0, 2, 1)  # d/dh' by way of the step's own logits
        n = self._hidden
        inner, into = _local_slopes(done)
        keep = done.gates[..., n : 2 * n]
        back = np.ascontiguousarray(self._recurrent.T)  # or every product below would copy it
        ahead, cell = np.zeros((2, len(done.codes), n), np.float32)  # d/dh', d/dc' of later steps
        for j in reversed(range(len(inner))):
            ahead += outer[j]
            cell += ahead * into[j]
            slopes = inner[j].reshape(-1, 4, n)
            slopes[:, :2] *= cell[:, None]
            slopes[:, 2] *= ahead
            slopes[:, 3] *= cell
            np.matmul(inner[j], back, out=ahead)
            cell *= keep[j]
        np.matmul(done.hidden[:-1].reshape(-1, n).T, inner.reshape(-1, 4 * n), out=recurrent)
        fed = np.arange(embedding.shape[1])[:, None] == _fed(done.codes)[:, None]
        np.matmul(fed.astype(np.float32), inner, out=embedding)
        return gradient

    def _split(self, flat: Floats) -> list[Floats]:
        """Views of a vector such as `weights`: embedding, recurrent, decoder, bias."""
        ends = np.cumsum([_volume(shape) for shape in self._shapes])[:-1]
        parts = np.split(flat, ends)
        return [p.reshape(s) for p, s in zip(parts, self._shapes, strict=True)]


def _fed(codes: Codes) -> Codes:
    """What each step is fed [D, N]: the choice before, and 0 first."""
    return np.concatenate([np.zeros_like(codes[:, :1]), codes[:, :-1]], axis=1).T


def _cell(gates: Floats, before: Floats, state: Floats, squashed: Floats, hidden: Floats) -> None:
    """Write c', tanh(c') and h'; turn z, its first three quarters halved, into the gates."""
    n = before.shape[1]
    np.tanh(gates, out=gates)
    sigmoids = gates[:, : 3 * n]
    sigmoids += 1
    sigmoids *= 0.5
    np.multiply(gates[:, n : 2 * n], before, out=state)
    state += gates[:, :n] * gates[:, 3 * n :]
    np.tanh(state, out=squashed)
    np.multiply(gates[:, 2 * n : 3 * n], squashed, out=hidden)


def _local_slopes(done: Forward) -> tuple[Floats, Floats]:
    """Of each gate's effect by z [D, N, 4H], still to be multiplied by d/dc' (for o by d/dh'),
    and dc' by h' [D, N, H]."""
    write, keep, show, new = np.split(done.gates, 4, axis=-1)
    slopes = np.empty_like(done.gates)
    by_write, by_keep, by_show, by_new = np.split(slopes, 4, axis=-1)
    np.multiply(write, new, out=by_new)
    np.multiply(by_new, 1 - write, out=by_write)
    np.subtract(write, by_new * new, out=by_new)
    np.multiply(keep * (1 - keep), done.states[:-1], out=by_keep)
    np.multiply(show, done.squashed, out=by_show)
    into: Floats = show - by_show * done.squashed
    by_show *= 1 - show
    return slopes, into


def _logit_errors(done: Forward, slope: Floats, entropy: float) -> Floats:
    """d/dlogits [D, N, M]: slope (1[chosen] - p) - entropy p (log p + H)."""
    p = np.exp(done.log_softmax)
    surprise = p * done.log_softmax  # zero for the options that are not there: p is
    uncertainty = -surprise.sum(axis=-1, keepdims=True)
    errors: Floats = -p * slope.T[..., None] - np.float32(entropy) * (surprise + p * uncertainty)
    decisions, count = np.ogrid[: errors.shape[0], : errors.shape[1]]
    errors[decisions, count, done.codes.T] += slope.T
    return errors


def _volume(shape: tuple[int, ...]) -> int:
    return int(np.prod(shape))
