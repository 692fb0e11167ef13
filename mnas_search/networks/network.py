"""A network's plan -> a plain `torch.nn.Module`."""

import functools
import importlib

import torch
from torch import Tensor, nn

from mnas_search import plugins
from mnas_search.architecture import Architecture
from mnas_search.blocks import BlockPlan, NetworkPlan, drop_path_rates, plan
from mnas_search.networks.layers import ACTIVATIONS, Norm, chain, conv, initialise


def build(architecture: Architecture) -> "Network":
    """A freshly initialised network; random numbers come from torch's default generator.

    It takes images [N, 3, R, R] and gives logits [N, classes]. With `symmetric` padding R may be
    any size; with `same` it is the architecture's resolution, or another with the same paddings.
    """
    network = Network(plan(architecture))
    initialise(network)
    return network


class Network(nn.Module):
    """Stem, stages of blocks, head; parameter names are timm's."""

    def __init__(self, network_plan: NetworkPlan) -> None:
        super().__init__()
        architecture = network_plan.architecture
        norm: Norm = functools.partial(
            nn.BatchNorm2d, eps=architecture.bn_eps, momentum=architecture.bn_momentum
        )
        activation = ACTIVATIONS[architecture.activation]
        stem = network_plan.stem.layers[0]
        self.conv_stem = conv(
            stem.in_channels, stem.out_channels, stem.kernel, stride=stem.stride, pad=stem.pad
        )
        self.bn1 = norm(stem.out_channels)
        self.act1 = activation()
        self.pool = nn.MaxPool2d(3, 2, 1) if architecture.stem.pool else nn.Identity()
        blocks = [block for stage in network_plan.stages for block in stage]
        rates = iter(drop_path_rates(architecture.stochastic_depth_rate, len(blocks)))
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(*(_block(block, norm, next(rates)) for block in stage))
                for stage in network_plan.stages
            )
        )
        *head, classifier = network_plan.head.layers
        self.conv_head: nn.Module = nn.Identity()
        self.bn2: nn.Module = nn.Identity()
        self.act2: nn.Module = nn.Identity()
        if head:
            self.conv_head = conv(head[0].in_channels, head[0].out_channels)
            self.bn2 = norm(head[0].out_channels)
            self.act2 = activation()
        self.dropout = nn.Dropout(architecture.dropout_rate)
        self.classifier = nn.Linear(classifier.in_channels, classifier.out_channels)

    def forward(self, images: Tensor) -> Tensor:
        """Logits [N, classes] of images [N, 3, R, R]."""
        x = chain(images, self.conv_stem, self.bn1, self.act1, self.pool)
        # Block by block: a call of all of them would hold the stem's map until the last is done.
        for stage in self.blocks:
            for block in stage.children():
                x = block(x)
        features = torch.mean(chain(x, self.conv_head, self.bn2, self.act2), (2, 3))
        logits: Tensor = self.classifier(self.dropout(features))
        return logits


def block_class(kind: str) -> type[nn.Module]:
    """The module class of a block kind, loaded from where the kind says."""
    module, _, name = plugins.block_kind(kind).module.partition(":")
    cls: type[nn.Module] = getattr(importlib.import_module(module), name)
    return cls


def _block(block: BlockPlan, norm: Norm, drop_path: float) -> nn.Module:
    return block_class(block.kind)(block, norm, drop_path)
