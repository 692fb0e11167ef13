"""Reinforcement learning with a recurrent policy: the controller of NASNet and MnasNet.

A `RecurrentPolicy` makes the decisions one by one. Every 20 finished trials it is improved by the
clipped objective of PPO (Schulman et al. 2017, eq. 7), each decision being one action t of

    L = mean over networks of sum over t of min(r_t A, clip(r_t, 1 - eps, 1 + eps) A) + w H_t
    r_t = pi(a_t | a_<t) / pi_old(a_t | a_<t)        A = (R - b) / s

where R is the trial's reward, b its moving average, s the deviation of all rewards so far and H_t
the entropy of a step's softmax.

Zoph et al. 2018 (NASNet, appendix A) give one layer of 100 units, weights uniform in [-0.1, 0.1],
20 networks an update, b with weight 0.95, Adam at 3.5e-4 and w = 1e-5, but neither eps nor the
gradient steps an update. Three things differ, because NASNet trained 20,000 networks and a search
here trains a thousand:

- Adam at 1e-2 with 2 steps an update. On soft problems as in `mnas-search bench discovery`, with
  targets of 350M and 500M, the best network's held-out reward passed EfficientNet-B0's after 111
  and 72 evaluations (medians of 20 runs, 279 at most); 7e-3 took 170 and 126, 1.4e-2 took 137 and
  97 and once failed in 400. With 400M, on seeds that chose nothing, it was 99, and 206 at most.
- w = 0.05, on advantages divided by s, so that the scale of rewards does not matter. s is of the
  whole run, never of a batch: a batch of near equals would have its noise amplified. A smaller w
  let a policy collapse onto what it had asked before.
- Networks that break a constraint, or were asked before, are drawn again: neither can win.

The ratio r_t ignores the last point: what is asked is distributed as pi / Z, Z being pi's
probability of "new and within". The gradient of log Z is the same for all networks asked and
would be multiplied by the mean of A, which b keeps near zero. Networks that were never asked, or
drawn at random since 37 draws held none within the constraints, count as chosen by the policy.
"""

from collections import defaultdict, deque
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor, nn

from mnas_search.common.machine import one_thread
from mnas_search.controllers.random_search import RandomSearch
from mnas_search.controllers.recurrent_policy import RecurrentPolicy
from mnas_search.nas.controller import Controller
from mnas_search.nas.problem import Problem
from mnas_search.nas.space.choices import Choices, decode, encode
from mnas_search.nas.trial import Trial

_DRAWS = (1, 4, 32)  # a few at once cost little more than one
_MAX_NORM = 5.0  # of a gradient


@dataclass(slots=True)
class _Open:
    """An ask in flight; its log-probabilities [D] once the policy that made it has changed."""

    old: Tensor | None = None


class PPO(Controller):
    """An LSTM policy under the clipped objective.

    Args:
        problem: the search.
        batch: finished trials an update.
        epochs: gradient steps an update.
        learning_rate: Adam's.
        clip, entropy: eps and w.
        decay: weight of the past in the reward baseline b.
        hidden: units of the LSTM.
    """

    def __init__(
        self,
        problem: Problem,
        *,
        batch: int = 20,
        epochs: int = 2,
        learning_rate: float = 1e-2,
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
        generator = torch.Generator().manual_seed(0)
        policy = RecurrentPolicy(problem.decisions, generator=generator, hidden=hidden)
        self._policy = policy.double()  # in float32 the gradient of a large ratio could overflow
        self._adam = torch.optim.Adam(policy.parameters(), learning_rate, maximize=True)
        self._told: list[tuple[tuple[int, ...], float | None, _Open]] = []
        self._open: defaultdict[tuple[int, ...], deque[_Open]] = defaultdict(deque)
        self._seen: set[tuple[int, ...]] = set()
        self._baseline: float | None = None
        self._rewards: list[float] = []

    def ask(self, rng: np.random.Generator) -> Choices:
        """Return the policy's first draw that is new and feasible."""
        codes = self._draw(torch.Generator().manual_seed(int(rng.integers(2**63))))
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

    def _draw(self, generator: torch.Generator) -> tuple[int, ...] | None:
        """New and within the constraints, or else within them, or else None."""
        known = None
        for draws in _DRAWS:
            with one_thread():
                codes = self._policy.sample(draws, generator).numpy()
            for row in codes[self._problem.is_feasible(codes)].tolist():
                known = tuple(row)
                if known not in self._seen:
                    return known
        return known

    def _opened(self, codes: tuple[int, ...]) -> None:
        self._open[codes].append(_Open())
        self._seen.add(codes)

    def _update(self) -> None:
        rewards = [reward for _, reward, _ in self._told]
        ok = [reward for reward in rewards if reward is not None]
        if not ok:
            return  # nothing says which of them failed for being bad
        baseline = ok[0] if self._baseline is None else self._baseline
        for reward in ok:
            baseline = self._decay * baseline + (1 - self._decay) * reward
        self._baseline = baseline
        self._rewards += ok
        scale = float(np.std(self._rewards))
        if not scale > 1e-9:
            return
        # A failed trial counts as the worst of its batch: the failure may be the machine's.
        filled = torch.tensor([min(ok) if r is None else r for r in rewards], dtype=torch.double)
        with one_thread():
            self._improve((filled - baseline) / scale)

    def _improve(self, advantages: Tensor) -> None:
        """Take the gradient steps of an update; advantages [N] are of the trials told."""
        codes = torch.tensor([codes for codes, _, _ in self._told])
        old: Tensor | None = None
        for _ in range(self._epochs):
            steps = self._policy(codes)
            log_probs = steps.log_prob(codes)
            old = self._old_log_probs(log_probs.detach()) if old is None else old
            gain = clipped_objective(log_probs - old, advantages[:, None], self._clip)
            objective = (gain + self._entropy * steps.entropy()).sum(1).mean()
            self._adam.zero_grad()
            objective.backward()
            # Equation 7 leaves the ratio of a bad network that became far more likely unbounded.
            nn.utils.clip_grad_norm_(self._policy.parameters(), _MAX_NORM)
            self._adam.step()

    @torch.no_grad()
    def _old_log_probs(self, current: Tensor) -> Tensor:
        """Return log p [N, D] of the trials told, under the policy that each was asked from: the
        current one's, unless an update came between. Those in flight keep the current one's."""
        waiting = [(c, o) for c, queue in self._open.items() for o in queue if o.old is None]
        if waiting:
            codes = torch.tensor([c for c, _ in waiting])
            for (_, asked), own in zip(waiting, self._policy(codes).log_prob(codes), strict=True):
                asked.old = own
        told = zip(self._told, current, strict=True)
        return torch.stack([own if asked.old is None else asked.old for (*_, asked), own in told])


def clipped_objective(log_ratio: Tensor, advantage: Tensor, clip: float) -> Tensor:
    """Return min(r A, clip(r, 1 - eps, 1 + eps) A), elementwise, given log r."""
    ratio = log_ratio.exp()
    return torch.minimum(ratio * advantage, ratio.clamp(1 - clip, 1 + clip) * advantage)
