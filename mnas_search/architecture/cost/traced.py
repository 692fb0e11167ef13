"""Cost of networks that are not a chain of stages, counted by torch."""

import torch
from torch.utils.flop_counter import FlopCounterMode

from mnas_search.architecture.cost.base import Cost
from mnas_search.architecture.traced_network import TracedNetwork
from mnas_search.common.errors import InvalidArchitecture


def traced_cost(network: TracedNetwork) -> Cost:
    """Run the network once on the meta device under torch's flop counter.

    torch counts a multiply-add as two, hence the division by two. Unlike the count from plans it
    includes every matrix product (attention); like it, no batch norm, activation or pooling.

    Raises:
        InvalidArchitecture: the network has no multiply-adds.
    """
    with torch.device("meta"):
        module = network.build().eval()
        image = torch.empty(1, 3, network.resolution, network.resolution)
    counter = FlopCounterMode(display=False)
    with counter, torch.no_grad():
        module(image)
    if not counter.get_total_flops():
        raise InvalidArchitecture(f"{network.label!r} must have multiply-adds, got none")
    return Cost(
        params=sum(p.numel() for p in module.parameters()),
        macs=counter.get_total_flops() // 2,
        memory=None,
    )
