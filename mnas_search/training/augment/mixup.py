"""Mixup: images and labels blended in pairs (Zhang et al. 2018, arXiv 1710.09412)."""

import numpy as np
import torch
from torch import Generator, Tensor


def weights(alpha: float, count: int, generator: Generator) -> Tensor:
    """Draw max(λ, 1 - λ) with λ ~ Beta(alpha, alpha) per image: float [count] on the CPU. Each
    image keeps at least half of its weight, as in TensorFlow's EfficientNet."""
    # torch draws from Beta with its global generator only.
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    drawn = np.random.default_rng(seed).beta(alpha, alpha, count)
    return torch.tensor(np.maximum(drawn, 1 - drawn), dtype=torch.float32)


def mix(values: Tensor, weights: Tensor) -> Tensor:
    """Blend `values` float [N, ...] with the reversed batch: w x_i + (1 - w) x_{N-1-i}, weights
    [N]."""
    shaped = weights.view(-1, *(1,) * (values.ndim - 1))
    return shaped * values + (1 - shaped) * values.flip(0)
