"""A policy that makes one decision after the other with an LSTM, as NASNet's controller does.

Step j is fed the embedding of the choice before it and has a softmax over its decision's options:

    h_j, c_j = LSTMCell(embedding[choice j-1], (h_{j-1}, c_{j-1}))    p_j = softmax(V_j h_j + v_j)
"""

from collections.abc import Sequence
from typing import Any, final

import torch
from torch import Tensor, nn
from torch.distributions import Categorical

from mnas_search.nas.space.choices import Decision, sizes

_INITIAL_RANGE = 0.1
_ABSENT = -1e9  # logit of an option that a decision does not have


@final
class RecurrentPolicy(nn.Module):
    """A distribution over codes.

    Decisions of the same kind (`stage0.kernel` and `stage1.kernel`) share their embeddings, and
    those of the same kind and size their head: which stage it is, the LSTM has to know.

    Args:
        decisions: the D decisions, in the order in which they are made.
        generator: draws the initial weights, uniform in [-0.1, 0.1]; biases of heads are zero.
        hidden, embedding: sizes of the LSTM's state and of a choice's embedding.
    """

    def __init__(
        self,
        decisions: Sequence[Decision],
        *,
        generator: torch.Generator,
        hidden: int = 100,
        embedding: int = 32,
    ) -> None:
        super().__init__()
        counts = sizes(decisions)
        kinds = [d.name.rpartition(".")[2] for d in decisions]
        self._heads = [f"{k}-{n}" for k, n in zip(kinds, counts, strict=True)]
        first, rows = {}, 1  # row 0 is the input of the first step
        for kind in dict.fromkeys(kinds):
            first[kind] = rows
            rows += max(n for k, n in zip(kinds, counts, strict=True) if k == kind)
        self._rows, self._max_options = torch.tensor([first[kind] for kind in kinds]), max(counts)
        options = dict(zip(self._heads, counts, strict=True))
        with torch.device("meta"):  # the modules' own initial values would draw from torch's state
            self.embedding = nn.Embedding(rows, embedding)
            self.cell = nn.LSTMCell(embedding, hidden)
            self.heads = nn.ModuleDict({h: nn.Linear(hidden, n) for h, n in options.items()})
        self.to_empty(device="cpu")
        for name, parameter in self.named_parameters():
            nn.init.uniform_(parameter, -_INITIAL_RANGE, _INITIAL_RANGE, generator=generator)
            if name.startswith("heads.") and name.endswith(".bias"):
                nn.init.zeros_(parameter)

    def forward(self, codes: Tensor) -> Categorical:
        """Return each step's distribution [N, D], given the earlier choices of codes [N, D]."""
        fed = nn.functional.pad(codes + self._rows, (1, -1))  # row 0, all choices but the last
        state, logits = None, []
        for step, given in enumerate(self.embedding(fed).unbind(1)):
            own, state = self._step(step, given, state)
            missing = self._max_options - own.shape[1]
            logits.append(nn.functional.pad(own, (0, missing), value=_ABSENT))
        return Categorical(logits=torch.stack(logits, dim=1), validate_args=False)

    @torch.no_grad()
    def sample(self, count: int, generator: torch.Generator) -> Tensor:
        """Draw codes [count, D]."""
        fed, state, codes = torch.zeros(count, dtype=torch.long), None, []
        for step, row in enumerate(self._rows):
            logits, state = self._step(step, self.embedding(fed), state)
            codes.append(torch.multinomial(logits.softmax(1), 1, generator=generator)[:, 0])
            fed = codes[-1] + row
        return torch.stack(codes, dim=1)

    def _step(self, step: int, given: Tensor, state: Any) -> tuple[Tensor, tuple[Tensor, Tensor]]:
        """Return a step's logits [N, options], and the LSTM's state after it."""
        hidden, cell = self.cell(given, state)
        return self.heads[self._heads[step]](hidden), (hidden, cell)
