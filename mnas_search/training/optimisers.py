"""Optimisers as values, and the `torch.optim` objects made of them."""

from dataclasses import dataclass
from typing import Protocol, final

import torch
from torch import nn


class Optimiser(Protocol):
    """Settings of an optimiser."""

    def make(
        self, network: nn.Module, *, learning_rate: float, weight_decay: float
    ) -> torch.optim.Optimizer:
        """An optimiser of the network's parameters, with their decay."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Sgd:
    """Stochastic gradient descent with Nesterov momentum; parameters of one dimension (biases,
    batch norm) are not decayed."""

    momentum: float = 0.9

    def make(
        self, network: nn.Module, *, learning_rate: float, weight_decay: float
    ) -> torch.optim.Optimizer:
        """See `Optimiser`."""
        decayed = [p for p in network.parameters() if p.ndim > 1]
        rest = [p for p in network.parameters() if p.ndim <= 1]
        groups = [
            {"params": decayed, "weight_decay": weight_decay},
            {"params": rest, "weight_decay": 0.0},
        ]
        return torch.optim.SGD(
            groups, lr=learning_rate, momentum=self.momentum, nesterov=True, fused=True
        )
