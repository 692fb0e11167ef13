"""EfficientNet-B0's skeleton with kernel, expansion, depth and SE left open: 28 decisions.

    stage           0   1   2   3   4    5    6
    stride          1   2   2   2   1    2    1
    out channels    16  24  40  80  112  192  320

Open in every stage: expansion {1, 4, 6}, kernel {3, 5}, repeats {1, 2, 3} (stage 5: {1, 2, 3, 4}),
squeeze-and-excitation {none, 0.25}. Widths, strides, stem (32) and head (1280) are fixed: they are
B0's, and a search here does not discover them. 36^6 * 48 ~ 1.04e11 networks; EfficientNet-B0 is
one of them. The space of Accel-NASBench (arXiv 2404.08005).
"""

from dataclasses import replace

from mnas_search.architecture.published import architecture
from mnas_search.architecture.stage import Stage
from mnas_search.architecture.value import Architecture
from mnas_search.nas.space.choices import Choices, Decision
from mnas_search.nas.space.contract import StagewiseSpace

_STRIDES = (1, 2, 2, 2, 1, 2, 1)
_WIDTHS = (16, 24, 40, 80, 112, 192, 320)
_MAX_REPEATS = (3, 3, 3, 3, 3, 4, 3)


class EfficientNetSpace(StagewiseSpace):
    """The 28-decision space around EfficientNet-B0.

    Args:
        resolution: side of the deployment input, in pixels.
        num_classes: width of the deployed classifier.
    """

    def __init__(self, *, resolution: int = 224, num_classes: int = 1000) -> None:
        self._template = replace(
            architecture("efficientnet_b0"),
            resolution=resolution,
            num_classes=num_classes,
            name=None,
        )
        self._stage_decisions = tuple(
            (
                Decision(name=f"stage{i}.expansion", options=(1, 4, 6)),
                Decision(name=f"stage{i}.kernel", options=(3, 5)),
                Decision(name=f"stage{i}.repeats", options=tuple(range(1, max_repeats + 1))),
                Decision(name=f"stage{i}.se_ratio", options=(0.0, 0.25)),
            )
            for i, max_repeats in enumerate(_MAX_REPEATS)
        )

    @property
    def template(self) -> Architecture:
        """B0's stem and head."""
        return self._template

    @property
    def stage_decisions(self) -> tuple[tuple[Decision, ...], ...]:
        """Four decisions a stage."""
        return self._stage_decisions

    def stage(self, index: int, choices: Choices) -> Stage:
        """Return an MBConv stage; expansion 1 has no expansion convolution."""
        return Stage(
            kind="ir",
            kernel=int(choices[f"stage{index}.kernel"]),
            stride=_STRIDES[index],
            expansion=int(choices[f"stage{index}.expansion"]),
            out_channels=_WIDTHS[index],
            repeats=int(choices[f"stage{index}.repeats"]),
            se_ratio=float(choices[f"stage{index}.se_ratio"]),
        )
