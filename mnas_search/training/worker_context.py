"""Data-parallel training: rank, world size and collective operations of one process.

All processes hold the same network and draw the same batches; each computes a part of the images,
and gradients are averaged before every step (`torch.nn.parallel.DistributedDataParallel`). Results
equal those of one process up to floating point, except that batch norm takes the statistics of the
images of each process, and that dropout and stochastic depth are drawn per process.
"""

from dataclasses import dataclass
from typing import final

import torch
import torch.distributed as dist
from torch import Tensor, nn


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerContext:
    """Process `rank` of `world_size`; more than one require torch's process group.

    Attributes:
        rank: from 0; process 0 writes files, and its batch-norm statistics are kept.
        world_size: number of processes.
    """

    rank: int = 0
    world_size: int = 1

    @property
    def part(self) -> slice:
        """The part of a batch or split of this process: every `world_size`-th image."""
        return slice(self.rank, None, self.world_size)

    def wrap(self, network: nn.Module) -> nn.Module:
        """Wrap the network so that gradients are averaged; broadcasts parameters and buffers of
        process 0 once."""
        if self.world_size == 1:
            return network
        synchronised: nn.Module = nn.parallel.DistributedDataParallel(
            network, broadcast_buffers=False
        )
        return synchronised

    def sum(self, values: Tensor) -> Tensor:
        """Sum over all processes, in place."""
        if self.world_size > 1:
            dist.all_reduce(values)
        return values

    @torch.no_grad()
    def broadcast(self, network: nn.Module) -> None:
        """Broadcast the buffers of process 0: batch-norm statistics."""
        if self.world_size > 1:
            for buffer in network.buffers():
                dist.broadcast(buffer, src=0)

    def barrier(self) -> None:
        """Wait for all processes."""
        if self.world_size > 1:
            dist.barrier()


SINGLE_PROCESS = WorkerContext()
