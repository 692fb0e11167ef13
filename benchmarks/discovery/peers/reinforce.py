"""REINFORCE with a recurrent policy, Accel-NASBench's (arXiv 2404.08005).

`RecurrentPolicy` is its policy: 100 units, embeddings of 32, weights U(-0.1, 0.1). Adam 3.5e-4,
entropy 1e-5, an update every 6 networks on the accuracy in percent, a moving average (0.95) as
baseline, taken before the advantage.
"""

from typing import final

import torch

from mnas_search.benchmarks.discovery.problems import Row, Told
from mnas_search.benchmarks.discovery.searchers import Searcher
from mnas_search.controllers.recurrent_policy import RecurrentPolicy
from mnas_search.nas.problem import Problem

RATE, ENTROPY, MEMORY, BATCH = 3.5e-4, 1e-5, 0.95, 6


@final
class Reinforce(Searcher):
    """A policy drawn from in batches of 6."""

    def __init__(self, problem: Problem, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._policy = RecurrentPolicy(problem.decisions, generator=self._generator)
        self._adam = torch.optim.Adam(self._policy.parameters(), lr=RATE)
        self._drawn: list[Row] = []
        self._told: list[tuple[Row, float]] = []
        self._baseline: float | None = None

    def ask(self) -> Row:
        """Return the next network of a batch drawn from the policy."""
        if not self._drawn:
            codes = self._policy.sample(BATCH, self._generator)
            self._drawn = [tuple(row) for row in codes.tolist()]
        return self._drawn.pop()

    def tell(self, row: Row, told: Told) -> None:
        self._told.append((row, 100 * told.penalised))
        if len(self._told) == BATCH:
            self._update()
            self._told = []

    def _update(self) -> None:
        advantages = []
        for _row, reward in self._told:
            old = reward if self._baseline is None else self._baseline
            self._baseline = MEMORY * old + (1 - MEMORY) * reward
            advantages.append(reward - self._baseline)
        codes = torch.tensor([row for row, _reward in self._told])
        steps = self._policy(codes)
        gain = steps.log_prob(codes).sum(1) * torch.tensor(advantages)
        loss = -(gain + ENTROPY * steps.entropy().sum(1)).mean()
        self._adam.zero_grad()
        loss.backward()
        self._adam.step()
