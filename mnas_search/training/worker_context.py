"""What one of several processes has of a training: its part of every batch.

All processes hold the same network and draw the same batches; each computes its own images, and
gradients are averaged before every step (`torch.nn.parallel.DistributedDataParallel`). The result
is the training of one process up to floating point, but for what depends on a whole batch or on
random numbers inside the network: batch norm takes the statistics of a process's own images, and
dropout and stochastic depth draw for each process.
"""

from dataclasses import dataclass
from typing import final

import torch
import torch.distributed as dist
from torch import Tensor, nn


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerContext:
    """Process `rank` of `count`; more than one need torch's process group.

    Attributes:
        rank: from 0; process 0 writes files, and its batch-norm statistics are kept.
        count: number of processes.
    """

    rank: int = 0
    world_size: int = 1

    @property
    def part(self) -> slice:
        """The part of a batch, or of a split: every `count`-th image."""
        return slice(self.rank, None, self.world_size)

    def wrap(self, network: nn.Module) -> nn.Module:
        """What to call instead of the network, so that its gradients are averaged; parameters and
        buffers of process 0 are taken over by all, once."""
        if self.world_size == 1:
            return network
        synchronised: nn.Module = nn.parallel.DistributedDataParallel(
            network, broadcast_buffers=False
        )
        return synchronised

    def sum(self, values: Tensor) -> Tensor:
        """The sum over all processes, in place."""
        if self.world_size > 1:
            dist.all_reduce(values)
        return values

    @torch.no_grad()
    def broadcast(self, network: nn.Module) -> None:
        """Take over the buffers of process 0: batch-norm statistics."""
        if self.world_size > 1:
            for buffer in network.buffers():
                dist.broadcast(buffer, src=0)

    def barrier(self) -> None:
        """Until all processes are here."""
        if self.world_size > 1:
            dist.barrier()


SINGLE_PROCESS = WorkerContext()
