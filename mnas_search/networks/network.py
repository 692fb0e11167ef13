"""The `torch.nn.Module` of an architecture."""

import functools
import importlib

from torch import Tensor, nn

from mnas_search.architecture.blocks import (
    BlockPlan,
    NetworkPlan,
    PartPlan,
    drop_path_rates,
    plan,
)
from mnas_search.architecture.kind import block_kind
from mnas_search.architecture.value import Architecture
from mnas_search.networks.initialisation import initialise
from mnas_search.networks.layers import ACTIVATIONS, GlobalAvgPool, Norm, chain, conv


def build(architecture: Architecture) -> "StagewiseNetwork":
    """Build a network with random weights from torch's default generator.

        logits = build(reference.architecture("efficientnet_b0"))(torch.randn(1, 3, 224, 224))

    It maps images [N, 3, R, R] to logits [N, classes]. With `symmetric` padding R is arbitrary;
    with `same` it is the architecture's resolution, or another with the same paddings.
    """
    network = StagewiseNetwork(plan(architecture))
    initialise(network, network.classifier)
    return network


class StagewiseNetwork(nn.Module):
    """Stem, stages of blocks, head; parameter names are timm's."""

    def __init__(self, network_plan: NetworkPlan) -> None:
        super().__init__()
        architecture = network_plan.architecture
        norm = norm_of(architecture)
        self.conv_stem, self.bn1, self.act1, self.pool = stem(architecture, network_plan.stem)
        blocks = [block for stage in network_plan.stages for block in stage]
        rates = iter(drop_path_rates(architecture.stochastic_depth_rate, len(blocks)))
        self.blocks = nn.Sequential(
            *(
                nn.Sequential(*(_block(block, norm, next(rates)) for block in stage))
                for stage in network_plan.stages
            )
        )
        self.conv_head, self.bn2, self.act2, classifier = head(architecture, network_plan.head)
        self.global_pool = GlobalAvgPool()
        self.dropout = nn.Dropout(architecture.dropout_rate)
        self.classifier = classifier

    def forward(self, images: Tensor) -> Tensor:
        """Compute logits [N, classes] of images [N, 3, R, R]."""
        x = chain(images, self.conv_stem, self.bn1, self.act1, self.pool)
        # Block by block: one call of all stages would keep the stem's map alive until the end.
        for stage in self.blocks:
            for block in stage.children():
                x = block(x)
        x = chain(x, self.conv_head, self.bn2, self.act2, self.global_pool)
        logits: Tensor = self.classifier(self.dropout(x))
        return logits


def norm_of(architecture: Architecture) -> Norm:
    """Return a function channels -> batch norm."""
    return functools.partial(
        nn.BatchNorm2d, eps=architecture.bn_eps, momentum=architecture.bn_momentum
    )


def stem(architecture: Architecture, part: PartPlan) -> tuple[nn.Module, ...]:
    """Make convolution, batch norm, activation and pooling (or identity) of the stem."""
    first = part.layers[0]
    return (
        conv(
            first.in_channels, first.out_channels, first.kernel, stride=first.stride, pad=first.pad
        ),
        norm_of(architecture)(first.out_channels),
        ACTIVATIONS[architecture.activation](),
        nn.MaxPool2d(3, 2, 1) if architecture.stem.pool else nn.Identity(),
    )


def head(architecture: Architecture, part: PartPlan) -> tuple[nn.Module, ...]:
    """Make convolution, batch norm, activation (identities without a head convolution) and
    classifier."""
    *wide, last = part.layers
    classifier = nn.Linear(last.in_channels, last.out_channels)
    if not wide:
        return nn.Identity(), nn.Identity(), nn.Identity(), classifier
    return (
        conv(wide[0].in_channels, wide[0].out_channels),
        norm_of(architecture)(wide[0].out_channels),
        ACTIVATIONS[architecture.activation](),
        classifier,
    )


def block_class(kind: str) -> type[nn.Module]:
    """Load the module class of a block kind."""
    module, _, name = block_kind(kind).module.partition(":")
    cls: type[nn.Module] = getattr(importlib.import_module(module), name)
    return cls


def _block(block: BlockPlan, norm: Norm, drop_path: float) -> nn.Module:
    return block_class(block.kind)(block, norm, drop_path)
