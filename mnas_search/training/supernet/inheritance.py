"""Networks that start from their slice of a supernet."""

import math

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from mnas_search.architecture.value import Architecture
from mnas_search.common.machine import one_thread
from mnas_search.networks import build
from mnas_search.networks.supernet import Supernet

_BATCH = 512  # images, at most


def inherit(supernet: Supernet, architecture: Architecture, images: Tensor) -> dict[str, Tensor]:
    """Return a state dict for `build(supernet.network_of(architecture))`: the network's slice of
    the supernet, with running statistics of its batch norms estimated on images. Where the
    supernet has the whole width, it fits `build(architecture)` for the classes of its data too.

        images = statistics_images(data, recipe)
        network = build(supernet.network_of(architecture))
        network.load_state_dict(inherit(supernet, architecture, images))

    Args:
        images: normalised [N, 3, R, R], in random order.
    """
    network = build(supernet.network_of(architecture)).to(images)
    network.load_state_dict(supernet.slice(architecture))
    estimate_statistics(network, images)
    return network.state_dict()


def estimate_statistics(network: nn.Module, images: Tensor) -> None:
    """Set the running statistics of all batch norms to those of the images, in place.

    Each batch of images is normalised by its own statistics; mean and variance are those over all
    batches. The network is left in evaluation mode.
    """
    sums: dict[nn.Module, Tensor] = {}  # of the batches' means, and of means of squares [2, C]

    def record(norm: nn.Module, inputs: tuple[Tensor, ...]) -> None:
        x = inputs[0].double()
        axes = [axis for axis in range(x.ndim) if axis != 1]
        moments = len(x) * torch.stack([x.mean(axes), x.square().mean(axes)])
        sums[norm] = sums.get(norm, 0) + moments

    network.eval()
    norms = [norm for norm in network.modules() if isinstance(norm, _BatchNorm)]
    handles = [norm.train().register_forward_pre_hook(record) for norm in norms]
    with one_thread(), torch.no_grad():
        for batch in images.tensor_split(math.ceil(len(images) / _BATCH)):
            network(batch)
    for norm, handle in zip(norms, handles, strict=True):
        handle.remove()
        mean, squares = sums[norm] / len(images)
        norm.running_mean = mean.to(images.dtype)
        norm.running_var = (squares - mean**2).to(images.dtype)
    network.eval()
