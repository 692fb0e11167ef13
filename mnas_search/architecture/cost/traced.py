"""Networks that are no chain of stages, counted by torch itself."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from mnas_search.architecture.cost.base import Cost
from mnas_search.architecture.traced_network import TracedNetwork
from mnas_search.common.errors import InvalidArchitecture


def traced_cost(network: TracedNetwork) -> Cost:
    """Run the network once on the meta device under torch's flop counter.

    torch counts a multiply-add as two, so halves are multiply-adds; unlike our own count, it knows
    every matrix product (attention) and still no batch norm, activation or pooling.
    """
    with torch.device("meta"):
        module = network.build().eval()
        image = torch.empty(1, 3, network.resolution, network.resolution)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        module(image)
    if not counter.get_total_flops():
        raise InvalidArchitecture(f"{network.label!r} has no multiply-adds; allowed: some")
    return Cost(
        params=sum(p.numel() for p in module.parameters()),
        macs=counter.get_total_flops() // 2,
        memory=None,
    )
