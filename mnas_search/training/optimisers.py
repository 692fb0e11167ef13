"""Optimisers as values, and the `torch.optim` objects made of them."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any, Protocol, final

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.optim.optimizer import ParamsT


class Optimiser(Protocol):
    """Settings of an optimiser."""

    def make(
        self, network: nn.Module, *, learning_rate: float, weight_decay: float
    ) -> torch.optim.Optimizer:
        """Return an optimiser of the network's parameters."""


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class Sgd:
    """Stochastic gradient descent with Nesterov momentum; one-dimensional parameters (biases,
    batch norm) are not decayed."""

    momentum: float = 0.9

    def make(
        self, network: nn.Module, *, learning_rate: float, weight_decay: float
    ) -> torch.optim.Optimizer:
        """Return the optimiser."""
        return torch.optim.SGD(
            _groups(network.parameters(), _has_one_dimension, weight_decay),
            lr=learning_rate,
            momentum=self.momentum,
            nesterov=True,
            fused=True,
        )


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class AdamW:
    """Adam with decoupled weight decay (Loshchilov & Hutter 2019, arXiv 1711.05101);
    one-dimensional parameters (biases, batch norm) are not decayed."""

    betas: tuple[float, float] = (0.9, 0.999)

    def make(
        self, network: nn.Module, *, learning_rate: float, weight_decay: float
    ) -> torch.optim.Optimizer:
        """Return the optimiser."""
        return torch.optim.AdamW(
            _groups(network.parameters(), _has_one_dimension, weight_decay),
            lr=learning_rate,
            betas=self.betas,
            fused=True,
        )


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class RmsProp:
    """TensorFlow's RMSProp, EfficientNet's optimiser; parameters of batch norm are not decayed,
    biases are. See `TensorFlowRmsProp`."""

    decay: float = 0.9
    momentum: float = 0.9
    epsilon: float = 1e-3

    def make(
        self, network: nn.Module, *, learning_rate: float, weight_decay: float
    ) -> torch.optim.Optimizer:
        """Return the optimiser."""
        norms = {
            id(parameter)
            for module in network.modules()
            if isinstance(module, _BatchNorm)
            for parameter in module.parameters(recurse=False)
        }
        return TensorFlowRmsProp(
            _groups(network.parameters(), lambda p: id(p) in norms, weight_decay),
            lr=learning_rate,
            decay=self.decay,
            momentum=self.momentum,
            epsilon=self.epsilon,
        )


@final
class TensorFlowRmsProp(torch.optim.Optimizer):
    """RMSProp with momentum by TensorFlow's formula, for gradient g with weight decay d:

        g <- g + d p
        v <- decay v + (1 - decay) g^2,  v = 1 initially
        m <- momentum m + lr g / sqrt(v + epsilon)
        p <- p - m

    `torch.optim.RMSprop` differs in three points: it adds epsilon to the root, starts with v = 0,
    and applies the learning rate to m as a whole, so that a change affects past gradients too.
    """

    def __init__(
        self,
        params: ParamsT,
        *,
        lr: float,
        decay: float,
        momentum: float,
        epsilon: float,
        weight_decay: float = 0.0,
    ) -> None:
        defaults = {"lr": lr, "decay": decay, "momentum": momentum, "epsilon": epsilon}
        super().__init__(params, {**defaults, "weight_decay": weight_decay})

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Update the parameters that have a gradient."""
        del closure
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if not params:
                continue
            for p in params:
                if p not in self.state:
                    ones, zeros = torch.ones_like(p), torch.zeros_like(p)
                    self.state[p] = {"mean_square": ones, "momentum": zeros}
            squares = [self.state[p]["mean_square"] for p in params]
            moves = [self.state[p]["momentum"] for p in params]
            gradients = [p.grad for p in params]
            if group["weight_decay"]:
                decay = group["weight_decay"]
                gradients = list(torch._foreach_add(gradients, params, alpha=decay))
            torch._foreach_mul_(squares, group["decay"])
            torch._foreach_addcmul_(squares, gradients, gradients, 1 - group["decay"])
            roots = torch._foreach_add(squares, group["epsilon"])
            torch._foreach_sqrt_(roots)
            torch._foreach_mul_(moves, group["momentum"])
            torch._foreach_addcdiv_(moves, gradients, roots, group["lr"])
            torch._foreach_sub_(params, moves)


def _has_one_dimension(parameter: nn.Parameter) -> bool:
    return parameter.ndim <= 1


def _groups(
    parameters: Iterable[nn.Parameter],
    exempt: Callable[[nn.Parameter], bool],
    weight_decay: float,
) -> list[dict[str, Any]]:
    """Group parameters by whether they are exempt from weight decay."""
    every = list(parameters)
    return [
        {"params": [p for p in every if not exempt(p)], "weight_decay": weight_decay},
        {"params": [p for p in every if exempt(p)], "weight_decay": 0.0},
    ]
