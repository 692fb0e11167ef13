"""Reinforcement learning with a recurrent policy: the controller of NASNet and MnasNet.

An LSTM writes a network down decision by decision: each step has a softmax over the options and is
fed the choice before it. Every 20 finished trials the policy is improved by PPO's clipped
objective (Schulman et al. 2017, eq. 7), each decision being one action t of

    L = mean over networks of sum over t of min(r_t A, clip(r_t, 1 - eps, 1 + eps) A) + w H_t
    r_t = pi(a_t | a_<t) / pi_old(a_t | a_<t)        A = (R - b) / s

where R is the trial's reward, b its moving average, s the deviation of all rewards so far and H_t
the entropy of a step's softmax.

Zoph et al. 2018 (NASNet, appendix A) give: one layer of 100 units, weights uniform in [-0.1, 0.1],
20 networks an update, b with weight 0.95, Adam at 3.5e-4, w = 1e-5; they give neither eps nor the
gradient steps an update. Three things differ, because NASNet trained 20,000 networks and a search
here trains a thousand. Measured on a regression of Accel-NASBench's accuracies with seed noise, as
evaluations until the best network's reward passes EfficientNet-B0's:

- Adam at 1.4e-2 with 2 steps an update: 168 and 151 evaluations (medians of 32 runs, targets 350M
  and 500M), and 161 and 150 on 32 fresh ones, of which none took more than 284. 1e-2 took 193 and
  185, 2e-2 174 and 150. NASNet's 3.5e-4 needs 40 steps for 173 and 160, at 20 times the cost.
- w = 0.05, on advantages divided by s, so that no scale of rewards matters. s is of the whole run,
  never of a batch: a batch of near equals would have its noise blown up. At w = 0.01 (and
  3.5e-3, 4 steps) the policy collapsed onto what it had asked before, at 0.05 it did not.
- Networks that break a constraint, or were asked before, are drawn again: neither can win.

Of the last point r_t knows nothing. What is asked comes from pi given "new and within", which is
pi / Z, Z being the probability of that. The gradient of its logarithm is that of log pi less that
of log Z; the latter is the same for every network asked, so it is multiplied by the mean of A, and
b keeps that near zero. A network that was drawn at random because 37 draws held none within the
constraints, and one that was never asked, are taken as if the policy of the moment had chosen
them.
"""

from collections import defaultdict, deque
from dataclasses import dataclass
from typing import final

import numpy as np

from mnas_search.controllers.random_search import RandomSearch
from mnas_search.controllers.recurrent_policy import Floats, Forward, RecurrentPolicy
from mnas_search.nas.controller import Controller
from mnas_search.nas.problem import Problem
from mnas_search.nas.space.choices import Choices, decode, encode, sizes
from mnas_search.nas.trial import Trial

_DRAWS = (1, 4, 32)  # a few at once cost little more than one
_STEEPEST = 5.0  # norm of a gradient, at most
_MOST_RATIO = np.float32(1e4)  # beyond, float32 would overflow in the gradient's norm


@dataclass(slots=True)
class _Open:
    """An ask in flight; its log-probabilities [D] once the policy that made it has changed."""

    old: Floats | None = None


class PPO(Controller):
    """An LSTM policy under the clipped objective.

    Args:
        problem: the search.
        batch: finished trials an update.
        epochs: gradient steps an update.
        learning_rate: Adam's.
        clip: eps.
        entropy: w.
        decay: weight of the past in the reward baseline b.
        hidden: units of the LSTM.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        batch: int = 20,
        epochs: int = 2,
        learning_rate: float = 1.4e-2,
        clip: float = 0.2,
        entropy: float = 0.05,
        decay: float = 0.95,
        hidden: int = 100,
    ) -> None:
        self._problem = problem
        self._batch, self._epochs = batch, epochs
        self._clip, self._entropy, self._decay = clip, entropy, decay
        self._random = RandomSearch(problem)
        # Always the same initial weights: what differs between runs is the asks' generators.
        self._policy = RecurrentPolicy(sizes(problem.decisions), hidden, np.random.default_rng(0))
        self._adam = Adam(learning_rate, size=self._policy.weights.size)
        self._told: list[tuple[tuple[int, ...], float | None, _Open]] = []
        self._open: defaultdict[tuple[int, ...], deque[_Open]] = defaultdict(deque)
        self._seen: set[tuple[int, ...]] = set()
        self._baseline: float | None = None
        self._rewards: list[float] = []

    def ask(self, rng: np.random.Generator) -> Choices:
        """The policy's first draw that is new and within the constraints."""
        codes = self._draw(rng)
        if codes is None:
            codes = encode(self._problem.decisions, self._random.ask(rng))
        self._opened(codes)
        return decode(self._problem.decisions, codes)

    def tell(self, trial: Trial) -> None:
        """Keep the trial; with every `batch` of them improve the policy."""
        codes = encode(self._problem.decisions, trial.choices)
        asked = self._open[codes].popleft() if self._open[codes] else _Open()
        self._seen.add(codes)
        self._told.append((codes, trial.reward, asked))
        if len(self._told) == self._batch:
            self._update()
            self._told.clear()

    def resume_ask(self, choices: Choices) -> None:
        """Open an ask; nothing of the state came from a generator."""
        self._opened(encode(self._problem.decisions, choices))

    def _draw(self, rng: np.random.Generator) -> tuple[int, ...] | None:
        """New and within the constraints, or else within them, or else None."""
        known = None
        for draws in _DRAWS:
            codes = self._policy.sample(draws, rng)
            for row in codes[self._problem.is_feasible(codes)].tolist():
                known = tuple(row)
                if known not in self._seen:
                    return known
        return known

    def _opened(self, codes: tuple[int, ...]) -> None:
        self._open[codes].append(_Open())
        self._seen.add(codes)

    def _update(self) -> None:
        ok = [reward for _, reward, _ in self._told if reward is not None]
        if not ok:
            return  # nothing says which of them failed for being bad
        for reward in ok:
            past = reward if self._baseline is None else self._baseline
            self._baseline = self._decay * past + (1 - self._decay) * reward
        self._rewards += ok
        scale = float(np.std(self._rewards))
        if not scale > 1e-9:
            return
        # A failed trial counts as the worst of its batch: to be avoided, but no worse than a
        # network that works, since the failure may have been the machine's.
        rewards = np.array([min(ok) if r is None else r for _, r, _ in self._told])
        advantages = ((rewards - self._baseline) / scale).astype(np.float32)
        codes = np.array([c for c, _, _ in self._told])
        done = self._policy.forward(codes)
        old = self._old_log_probs(done)
        for epoch in range(self._epochs):
            if epoch:
                done = self._policy.forward(codes)
            slope = clipped_slope(done.log_probs - old, advantages[:, None], self._clip)
            mean = 1 / len(codes)
            gradient = self._policy.backward(done, slope * mean, self._entropy * mean)
            # Usual ones have a norm of about 1. A bad network that has become far more likely
            # since it was asked (eq. 7 leaves such ratios free) would undo all others.
            gradient *= min(1.0, _STEEPEST / max(float(np.linalg.norm(gradient)), 1e-12))
            self._policy.weights += self._adam.step(gradient)
            self._policy.refresh()

    def _old_log_probs(self, done: Forward) -> Floats:
        """Of the policy that each told network was asked from; those in flight keep theirs."""
        waiting = [(c, o) for c, queue in self._open.items() for o in queue if o.old is None]
        if waiting:
            now = self._policy.forward(np.array([c for c, _ in waiting])).log_probs
            for (_, asked), own in zip(waiting, now, strict=True):
                asked.old = own
        told = zip(self._told, done.log_probs, strict=True)
        return np.stack([own if asked.old is None else asked.old for (*_, asked), own in told])


def clipped_slope(log_ratio: Floats, advantage: Floats, clip: float) -> Floats:
    """Derivative by log pi of min(r A, clip(r, 1 - eps, 1 + eps) A): r A, or 0 where clipped."""
    ratio = np.exp(np.minimum(log_ratio, np.log(_MOST_RATIO)))
    free = np.where(advantage > 0, ratio < 1 + clip, ratio > 1 - clip)
    slope: Floats = ratio * advantage * free
    return slope


@final
class Adam:
    """Kingma and Ba 2015, algorithm 1, with its defaults, uphill."""

    def __init__(self, learning_rate: float, *, size: int) -> None:
        self._learning_rate, self._steps = learning_rate, 0
        self._mean, self._square = np.zeros(size, np.float32), np.zeros(size, np.float32)

    def step(self, gradient: Floats) -> Floats:
        """What to add to the weights."""
        self._steps += 1
        self._mean += 0.1 * (gradient - self._mean)
        self._square += 0.001 * (gradient * gradient - self._square)
        mean = self._mean / (1 - 0.9**self._steps)
        root = np.sqrt(self._square / (1 - 0.999**self._steps))
        change: Floats = self._learning_rate * mean / (root + 1e-8)
        return change
