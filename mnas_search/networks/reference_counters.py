"""Counts of a built network by fvcore and torch, for `profile --verify` and tests."""

import warnings
from dataclasses import dataclass

import torch
from torch.utils.flop_counter import FlopCounterMode

from mnas_search.architecture.value import Architecture
from mnas_search.networks.network import build


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceCounts:
    """Counts of one network at its resolution, batch 1.

    Attributes:
        params: trainable parameters, summed over the module.
        fvcore: fvcore's flops of convolutions and linear layers, which are multiply-adds.
        fvcore_all: all of fvcore's flops, batch norm and pooling included.
        torch: flops of torch's counter: twice the multiply-adds.
    """

    params: int
    fvcore: int
    fvcore_all: int
    torch: int


def count(architecture: Architecture) -> ReferenceCounts:
    """Build a network and count it during a forward pass of one image."""
    network = build(architecture).eval()
    image = torch.zeros(1, 3, architecture.resolution, architecture.resolution)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fvcore's trace under a newer torch
        from fvcore.nn import FlopCountAnalysis

        analysis = FlopCountAnalysis(network, image)
        analysis.unsupported_ops_warnings(False).uncalled_modules_warnings(False)
        by_operator = analysis.by_operator()
    with FlopCounterMode(display=False) as counter, torch.no_grad():
        network(image)
    return ReferenceCounts(
        params=sum(p.numel() for p in network.parameters()),
        fvcore=int(by_operator["conv"] + by_operator["linear"]),
        fvcore_all=int(sum(by_operator.values())),
        torch=counter.get_total_flops(),
    )
