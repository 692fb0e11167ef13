"""MnasNet's factorized hierarchical space (arXiv 1807.11626, section 4.1).

A reference network is cut into blocks (here: its stages), and each block is decided apart; the
layers within a block are identical:

    op       conv, depthwise separable conv, MBConv with expansion 3 or 6
    kernel   3, 5
    SE       none, 0.25
    skip     none, identity, pool
    filters  0.75, 1 or 1.25 times the reference's
    layers   one fewer, as many, or one more than the reference's; at least one

4 * 2 * 2 * 3 * 3 * 3 = 432 combinations a block, the paper's count. With MobileNetV2 as the
reference, widths rounded to multiples of 8 never come to 112 or 192 channels: the literal ratios
contain none of the networks that the paper published. `mnasnet_published`, with ratios 0.75, 1 and
1.2, contains MnasNet-A1, MnasNet-B1 and EfficientNet-B0, up to their activation.
"""

from dataclasses import replace

from mnas_search import reference
from mnas_search.architecture.blocks import make_divisible
from mnas_search.architecture.stage import Stage
from mnas_search.architecture.value import Architecture
from mnas_search.nas.space.choices import Choices, Decision
from mnas_search.nas.space.contract import StagewiseSpace

# (block kind, expansion) of each op
_OPS = {"conv": ("cn", 1), "dsconv": ("ds", 1), "mbconv3": ("ir", 3), "mbconv6": ("ir", 6)}


class MnasNetSpace(StagewiseSpace):
    """The factorized space around a reference network.

    Args:
        resolution: side of the deployment input, in pixels.
        num_classes: width of the deployed classifier.
        around: the reference network, which gives stem, head, strides, filters and layers.
        filter_ratios: options for a block's filters over the reference's.
        activation: of every layer; MnasNet's is ReLU.
    """

    def __init__(
        self,
        *,
        resolution: int = 224,
        num_classes: int = 1000,
        around: str | Architecture = "mobilenet_v2",
        filter_ratios: tuple[float, ...] = (0.75, 1.0, 1.25),
        activation: str = "relu",
    ) -> None:
        if isinstance(around, str):
            around = reference.architecture(around)
        self._template = replace(
            around,
            resolution=resolution,
            num_classes=num_classes,
            activation=activation,
            name=None,
        )
        self._stage_decisions = tuple(
            (
                Decision(name=f"block{i}.op", options=tuple(_OPS)),
                Decision(name=f"block{i}.kernel", options=(3, 5)),
                Decision(name=f"block{i}.se_ratio", options=(0.0, 0.25)),
                Decision(name=f"block{i}.skip", options=("none", "identity", "pool")),
                Decision(name=f"block{i}.filter_ratio", options=filter_ratios),
                Decision(name=f"block{i}.layers", options=(-1, 0, 1)),
            )
            for i in range(len(around.stages))
        )

    @property
    def template(self) -> Architecture:
        """The reference network, in this space's activation."""
        return self._template

    @property
    def stage_decisions(self) -> tuple[tuple[Decision, ...], ...]:
        """Six decisions a block."""
        return self._stage_decisions

    def stage(self, index: int, choices: Choices) -> Stage:
        """Return one block around the reference's stage `index`."""
        base = self._template.stages[index]
        kind, expansion = _OPS[str(choices[f"block{index}.op"])]
        return Stage(
            kind=kind,
            kernel=int(choices[f"block{index}.kernel"]),
            stride=base.stride,
            expansion=expansion,
            out_channels=make_divisible(
                base.out_channels * float(choices[f"block{index}.filter_ratio"])
            ),
            repeats=max(1, base.repeats + int(choices[f"block{index}.layers"])),
            se_ratio=float(choices[f"block{index}.se_ratio"]),
            skip=str(choices[f"block{index}.skip"]),
            activation=self._template.activation,
        )


class MnasNetPublishedSpace(MnasNetSpace):
    """The variant that contains MnasNet-A1, MnasNet-B1 and EfficientNet-B0 (up to activation)."""

    def __init__(self, *, resolution: int = 224, num_classes: int = 1000) -> None:
        super().__init__(
            resolution=resolution, num_classes=num_classes, filter_ratios=(0.75, 1.0, 1.2)
        )
