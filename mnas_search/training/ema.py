"""The exponential moving average of a network's weights."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel


def make_ema(network: nn.Module, decay: float) -> AveragedModel:
    """Return a copy of the network that averages it; call `update_parameters(network)` each step.

    Parameters and batch-norm statistics are averaged, counters copied. At step t, from 1, the
    decay is min(decay, (1 + t) / (10 + t)), so that the first weights do not dominate a short
    training (TensorFlow's `ExponentialMovingAverage` with `num_updates`, as in EfficientNet's
    training). The averaged network is `.module`.
    """

    @torch.no_grad()
    def update(
        averages: Sequence[Tensor], values: Sequence[Tensor], finished: Tensor | int
    ) -> None:
        if averages[0].is_floating_point():
            step = int(finished)
            kept = min(decay, (1 + step) / (10 + step))
            torch._foreach_lerp_(list(averages), list(values), 1 - kept)
        else:
            torch._foreach_copy_(list(averages), list(values))

    average = AveragedModel(network, multi_avg_fn=update, use_buffers=True)
    average.update_parameters(network)  # the first call only copies and counts
    return average
