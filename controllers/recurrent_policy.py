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

from mnas_search.choices import Codes

Floats = NDArray[np.float32]

_NEVER = np.float32(-1e9)  # logit of an option that its decision does not have


@dataclass(frozen=True, slots=True)
class Step:
    """What the gradient of one step needs: its gates [N, 4H] and its states [N, H]."""

    gates: Floats
    before: Floats  # c
    squashed: Floats  # tanh(c')
    hidden: Floats  # h'


@dataclass(frozen=True, slots=True)
class Forward:
    """A pass over codes [N, D], fed with them.

    Attributes:
        codes: what was written down.
        log_softmax: [D, N, M], M options at most.
        steps: the LSTM's.
    """

    codes: Codes
    log_softmax: Floats
    steps: tuple[Step, ...]

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

    def sample(self, count: int, rng: np.random.Generator) -> NDArray[np.int64]:
        """`count` draws, codes [count, D]."""
        decisions, most = self._bias.shape
        # The argmax of logits with Gumbel noise is a draw from their softmax.
        noise = rng.gumbel(size=(decisions, count, most)).astype(np.float32)
        noise += (self._bias + self._missing)[:, None]
        codes = np.zeros((decisions, count), np.int64)
        hidden = state = np.zeros((count, self._hidden), np.float32)
        for j in range(decisions):
            gates = self._inputs[j, codes[j - 1] if j else codes[0]]
            gates += hidden @ self._loop
            state, _, hidden = _cell(gates, state)
            noise[j] += hidden @ self._decoder[j]
            codes[j] = noise[j].argmax(axis=1)
        return np.ascontiguousarray(codes.T)

    def forward(self, codes: Codes) -> Forward:
        """Log-probabilities of codes [N, D] under the weights of now."""
        count, decisions = codes.shape
        hidden = state = np.zeros((count, self._hidden), np.float32)
        start = np.zeros(count, np.int64)
        logits = np.empty((decisions, count, self._bias.shape[1]), np.float32)
        steps = []
        for j in range(decisions):
            gates = self._inputs[j, codes[:, j - 1] if j else start]
            gates += hidden @ self._loop
            before = state
            state, squashed, hidden = _cell(gates, before)
            logits[j] = hidden @ self._decoder[j]
            steps.append(Step(gates, before, squashed, hidden))
        logits += (self._bias + self._missing)[:, None]
        logits -= logits.max(axis=-1, keepdims=True)
        logits -= np.log(np.exp(logits).sum(axis=-1, keepdims=True))
        return Forward(codes, logits, tuple(steps))

    def backward(self, done: Forward, slope: Floats, entropy: float) -> Floats:
        """Gradient, in the order of `weights`, of

            sum over n, t of slope[n, t] * log p[n, t] + entropy * H[n, t]

        with `slope` [N, D] held constant and H the entropy of a step's softmax."""
        gradient = np.zeros_like(self.weights)
        embedding, recurrent, decoder, bias = self._split(gradient)
        errors = _logit_errors(done, slope, entropy)
        bias[:] = errors.sum(axis=1)
        n = self._hidden
        ahead = cell = np.zeros((len(done.codes), n), np.float32)  # d/dh', d/dc' from later steps
        for j in reversed(range(len(done.steps))):
            step = done.steps[j]
            write, keep, show, new = (step.gates[:, k * n : (k + 1) * n] for k in range(4))
            decoder[j] = step.hidden.T @ errors[j]
            ahead = ahead + errors[j] @ self._decoder[j].T
            cell = cell + ahead * show * (1 - step.squashed**2)
            inner = np.empty_like(step.gates)  # d/dz
            inner[:, :n] = cell * new
            inner[:, n : 2 * n] = cell * step.before
            inner[:, 2 * n : 3 * n] = ahead * step.squashed
            inner[:, 3 * n :] = cell * write * (1 - new * new)
            gates = step.gates[:, : 3 * n]
            inner[:, : 3 * n] *= gates * (1 - gates)
            if j:
                recurrent += done.steps[j - 1].hidden.T @ inner
                fed = np.eye(embedding.shape[1], dtype=np.float32)[done.codes[:, j - 1]]
                embedding[j] = fed.T @ inner
                ahead = inner @ self._recurrent.T
                cell = cell * keep
            else:
                embedding[0, 0] = inner.sum(axis=0)
        return gradient

    def _split(self, flat: Floats) -> list[Floats]:
        """Views of a vector such as `weights`: embedding, recurrent, decoder, bias."""
        ends = np.cumsum([_volume(shape) for shape in self._shapes])[:-1]
        parts = np.split(flat, ends)
        return [p.reshape(s) for p, s in zip(parts, self._shapes, strict=True)]


def _cell(gates: Floats, state: Floats) -> tuple[Floats, Floats, Floats]:
    """c', tanh(c') and h'; turns z, its first three quarters halved, into the gates in place."""
    n = state.shape[1]
    np.tanh(gates, out=gates)
    sigmoids = gates[:, : 3 * n]
    sigmoids += 1
    sigmoids *= 0.5
    state = gates[:, n : 2 * n] * state
    state += gates[:, :n] * gates[:, 3 * n :]
    squashed = np.tanh(state)
    return state, squashed, gates[:, 2 * n : 3 * n] * squashed


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
