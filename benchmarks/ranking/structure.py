"""Scores read from a network's plan alone, without weights or images."""

import math

from mnas_search.architecture.blocks import plan
from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.kind import Layer
from mnas_search.architecture.value import Architecture


def log_macs(architecture: Architecture) -> float:
    """Return the log of the multiply-adds."""
    return math.log(cost(architecture).macs)


def log_params(architecture: Architecture) -> float:
    """Return the log of the parameters."""
    return math.log(cost(architecture).params)


def log_both(architecture: Architecture) -> float:
    """Return the log of multiply-adds times parameters: their product, weighed by no fit."""
    return log_macs(architecture) + log_params(architecture)


def log_activations(architecture: Architecture) -> float:
    """log of the elements that convolutions write (Radosavovic et al. 2020, arXiv 2003.13678)."""
    return math.log(sum(layer.out_channels * layer.out_size**2 for layer in _convs(architecture)))


def depth(architecture: Architecture) -> float:
    """Return the number of blocks."""
    return sum(stage.repeats for stage in architecture.stages)


def entropy(architecture: Architecture) -> float:
    """Return entropy of a network of Gaussian weights: DeepMAD's H (arXiv 2303.02165, equation 4).

    log(r^2 c) of the last map, times the sum over convolutions of log(c_in k^2 / groups); gates of
    squeeze-and-excitation are left out.
    """
    layers = [layer for layer in _convs(architecture) if not layer.bias]  # gates' have one
    widths = sum(math.log(x.in_channels // x.groups * x.kernel**2) for x in layers)
    return math.log(layers[-1].out_size ** 2 * layers[-1].out_channels) * widths


def log_volume(architecture: Architecture) -> float:
    """Return the sum over layers, gates among them, of the log of their number of weights."""
    return sum(math.log(layer.weights) for layer in _convs(architecture))


def _convs(architecture: Architecture) -> list[Layer]:
    return [layer for layer in plan(architecture).layers() if layer.op == "conv"]


SCORES = (log_macs, log_params, log_activations, depth, entropy, log_volume)
