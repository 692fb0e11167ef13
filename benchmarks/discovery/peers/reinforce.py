"""REINFORCE with a recurrent policy, Accel-NASBench's (arXiv 2404.08005).

One LSTM cell of 100 units decides one decision after the other; the embedding (32) of each choice
is the next input. Decisions of the same kind and size share an output layer. Adam 3.5e-4, entropy
1e-5, an update every 6 networks on the accuracy in percent, a moving average (0.95) as baseline,
taken before the advantage; weights U(-0.1, 0.1).
"""

from typing import final

import torch
from torch import nn

from mnas_search.benchmarks.discovery.problems import Row, Told
from mnas_search.benchmarks.discovery.searchers import Searcher
from mnas_search.nas.problem import Problem
from mnas_search.nas.space.choices import Decision

HIDDEN, EMBEDDING, RANGE = 100, 32, 0.1
RATE, ENTROPY, MEMORY, BATCH = 3.5e-4, 1e-5, 0.95, 6


def _kind(decision: Decision) -> str:
    """What `stage0.kernel` and `stage1.kernel` have in common."""
    return decision.name.rpartition(".")[2]


class _Policy(nn.Module):
    def __init__(self, decisions: tuple[Decision, ...]) -> None:
        super().__init__()
        largest: dict[str, int] = {}
        for decision in decisions:
            kind = _kind(decision)
            largest[kind] = max(largest.get(kind, 0), len(decision.options))
        first: dict[str, int] = {}
        rows = 1  # row 0 is the first input
        for kind, count in largest.items():
            first[kind] = rows
            rows += count
        self.offsets = [first[_kind(d)] for d in decisions]
        self.heads = [f"{_kind(d)}-{len(d.options)}".replace(".", "-") for d in decisions]
        self.embedding = nn.Embedding(rows, EMBEDDING)
        self.cell = nn.LSTMCell(EMBEDDING, HIDDEN)
        self.outputs = nn.ModuleDict(
            {
                h: nn.Linear(HIDDEN, len(d.options))
                for h, d in zip(self.heads, decisions, strict=True)
            }
        )

    def initialise(self, generator: torch.Generator) -> None:
        for parameter in self.parameters():
            nn.init.uniform_(parameter, -RANGE, RANGE, generator=generator)
        for output in self.outputs.values():
            assert isinstance(output, nn.Linear)
            nn.init.zeros_(output.bias)

    def forward(
        self, count: int, choose: torch.Generator | torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        """Codes [count, D] drawn or as given, their log-probabilities and entropies [count]."""
        entered = torch.zeros(count, dtype=torch.long)
        state = None
        codes, likely, entropy = [], torch.zeros(count), torch.zeros(count)
        for place, (head, offset) in enumerate(zip(self.heads, self.offsets, strict=True)):
            state = self.cell(self.embedding(entered), state)
            logs = torch.log_softmax(self.outputs[head](state[0]), dim=-1)
            if isinstance(choose, torch.Tensor):
                chosen = choose[:, place]
            else:
                chosen = torch.multinomial(logs.exp(), 1, generator=choose)[:, 0]
            likely = likely + logs.gather(1, chosen[:, None])[:, 0]
            entropy = entropy - (logs.exp() * logs).sum(-1)
            codes.append(chosen)
            entered = chosen + offset
        return torch.stack(codes, dim=1), likely, entropy


@final
class Reinforce(Searcher):
    """A policy drawn from in batches of 6."""

    def __init__(self, problem: Problem, seed: int) -> None:
        self._generator = torch.Generator().manual_seed(seed)
        self._policy = _Policy(problem.decisions)
        self._policy.initialise(self._generator)
        self._adam = torch.optim.Adam(self._policy.parameters(), lr=RATE)
        self._drawn: list[Row] = []
        self._told: list[tuple[Row, float]] = []
        self._baseline: float | None = None

    def ask(self) -> Row:
        """The next of a batch drawn from the policy."""
        if not self._drawn:
            with torch.no_grad():
                codes, _likely, _entropy = self._policy(BATCH, self._generator)
            self._drawn = [tuple(row) for row in codes.tolist()]
        return self._drawn.pop()

    def tell(self, row: Row, told: Told) -> None:
        """Update after every sixth network."""
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
        rows = torch.tensor([row for row, _reward in self._told])
        _codes, likely, entropy = self._policy(BATCH, rows)
        loss = -(likely * torch.tensor(advantages) + ENTROPY * entropy).mean()
        self._adam.zero_grad()
        loss.backward()
        self._adam.step()
