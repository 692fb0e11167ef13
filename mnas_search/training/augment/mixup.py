"""Mixup: images and labels blended in pairs (Zhang et al. 2018, arXiv 1710.09412)."""

import numpy as np
import torch
from torch import Generator, Tensor


def weights(alpha: float, count: int, generator: Generator) -> Tensor:
    """The larger of λ and 1 - λ, λ from Beta(alpha, alpha), one an image: float [count] on the
    CPU. Each image stays its own majority, as in TensorFlow's EfficientNet."""
    # torch draws from Beta with its global generator alone.
    seed = int(torch.randint(2**62, (), generator=generator, device=generator.device))
    drawn = np.random.default_rng(seed).beta(alpha, alpha, count)
    return torch.tensor(np.maximum(drawn, 1 - drawn), dtype=torch.float32)


def mix(values: Tensor, weights: Tensor) -> Tensor:
    """Each of `values` float [N, ...], weighted, with the one as far from the batch's end as it is
    from the start, which has the rest of the weight; weights [N]."""
    shaped = weights.view(-1, *(1,) * (values.ndim - 1))
    return shaped * values + (1 - shaped) * values.flip(0)
