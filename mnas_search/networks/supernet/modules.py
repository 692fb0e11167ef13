"""The modules of a network's parts, without memory: their parameters are given at every call."""

import functools
from collections import OrderedDict
from collections.abc import Callable

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from mnas_search.architecture.blocks import BlockPlan, PartPlan
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import UsageError
from mnas_search.networks.layers import GlobalAvgPool
from mnas_search.networks.network import block_class, head, stem

Prepare = Callable[[nn.Module], None]


def module_of_end(network: Architecture, part: PartPlan, prepare: Prepare | None) -> nn.Module:
    """Return the module of a network's stem or head; its parameters have the network's names."""
    with torch.device("meta"):
        if part.layers[-1].op != "linear":
            names = ("conv_stem", "bn1", "act1", "pool")
            layers = zip(names, stem(network, part), strict=True)
            return _finished(nn.Sequential(OrderedDict(layers)), prepare)
        conv, norm, activation, classifier = head(network, part)
        named = {"conv_head": conv, "bn2": norm, "act2": activation}
        named |= {"global_pool": GlobalAvgPool(), "classifier": classifier}
        return _finished(nn.Sequential(OrderedDict(named)), prepare)


@functools.lru_cache(maxsize=2048)
def module_of_block(block: BlockPlan, eps: float, prepare: Prepare | None) -> nn.Module:
    """Return the module of a block.

    Raises:
        UsageError: it has tensors that its plan does not have, such as buffers.
    """
    with torch.device("meta"):
        made = block_class(block.kind)(block, functools.partial(nn.BatchNorm2d, eps=eps), 0.0)
    made = _finished(made, prepare)
    planned = {f"{layer.path}.{name}" for layer in block.layers for name in layer.shapes}
    if unknown := sorted({*made.state_dict()} - planned):
        raise UsageError(
            f"supernet requires blocks whose plans have all of their tensors, got {block.kind!r} "
            f"with {unknown[0]!r} (a buffer or parameter)"
        )
    return made


def _finished(module: nn.Module, prepare: Prepare | None) -> nn.Module:
    for norm in module.modules():
        if isinstance(norm, _BatchNorm):  # uses the statistics of every batch
            norm.track_running_stats = False
            norm.running_mean = norm.running_var = norm.num_batches_tracked = None
    if prepare is not None:
        prepare(module)
    return module
