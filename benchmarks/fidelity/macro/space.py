"""The search space of NAS-Bench-Macro, and the block kind that it needs beside the project's own.

Eight layers in stages of 2, 3 and 3, with 64, 128 and 256 channels; the first layer of a stage has
stride 2. Each layer is one decision:

    0  identity, kind `id`: a 1x1 convolution with batch norm where the shape changes, else nothing
    1  MBConv, kernel 3, expansion 3
    2  MBConv, kernel 5, expansion 6

ReLU everywhere, no squeeze-and-excitation, a 3x3 stem of 32 channels with stride 1, a head of
1280. The space has 3^8 = 6,561 codes for 3,969 different networks: which of the later layers of a
stage is the identity makes no difference.
"""

from dataclasses import replace

from mnas_search.architecture.kind import StageFields
from mnas_search.architecture.stage import Stage, Stem
from mnas_search.architecture.value import Architecture
from mnas_search.blocks import BlockKind, BlockPlan, BlockSpec, PlanBuilder, finish_block
from mnas_search.common.errors import InvalidArchitecture
from mnas_search.nas.space.choices import Choices, Decision
from mnas_search.nas.space.contract import StagewiseSpace

IDENTITY = 0  # the option of a layer that is left out
# Kernel and expansion of the other two.
_MBCONV = {1: (3, 3), 2: (5, 6)}
# Channels and stride of each layer.
_LAYERS = ((64, 2), (64, 1), (128, 2), (128, 1), (128, 1), (256, 2), (256, 1), (256, 1))


def plan_identity(spec: BlockSpec) -> BlockPlan:
    """Plan `id`: no layer where the shape stays, else a strided 1x1 convolution, batch norm."""
    builder = PlanBuilder(spec.in_channels, spec.in_size, spec.padding)
    if spec.stride != 1 or spec.in_channels != spec.out_channels:
        builder.conv("conv", spec.out_channels, stride=spec.stride)
        builder.batch_norm("bn1")
    plan = finish_block(spec, builder, mid_channels=spec.out_channels, pad=(0, 0), se_channels=0)
    # Without layers, the input alone is live.
    return replace(plan, peak=max(plan.peak, spec.in_channels * spec.in_size**2))


def _check_identity(stage: StageFields) -> None:
    given = (stage.kernel, stage.expansion, stage.se_ratio)
    if given != (1, 1, 0):
        kernel, expansion, se_ratio = given
        raise InvalidArchitecture(
            f"kernel, expansion and se_ratio of {stage.kind!r} must be 1, 1 and 0, "
            f"got {kernel}, {expansion} and {se_ratio}"
        )


ID = BlockKind(
    plan=plan_identity,
    module="mnas_search.benchmarks.fidelity.macro.identity:IdentityBlock",
    skips=("none",),
    default_skip="none",
    check=_check_identity,
)


class NasBenchMacro(StagewiseSpace):
    """The space of NAS-Bench-Macro; every layer is a stage of one block.

        NasBenchMacro().decode({f"layer{i}.op": 1 for i in range(8)})

    Args:
        resolution: side of the deployment input, in pixels; the recordings are of CIFAR-10's 32.
        num_classes: width of the deployed classifier.
    """

    def __init__(self, *, resolution: int = 32, num_classes: int = 10) -> None:
        stages = tuple(_stage(index, 1) for index in range(len(_LAYERS)))
        self._template = Architecture(
            stages=stages,
            stem=Stem(channels=32, kernel=3, stride=1),
            head_channels=1280,
            activation="relu",
            resolution=resolution,
            num_classes=num_classes,
            bn_eps=1e-5,
            bn_momentum=0.1,
            dropout_rate=0.0,
            stochastic_depth_rate=0.0,
        )

    @property
    def template(self) -> Architecture:
        """Stem and head."""
        return self._template

    @property
    def stage_decisions(self) -> tuple[tuple[Decision, ...], ...]:
        """One decision a layer."""
        return tuple(
            (Decision(name=f"layer{index}.op", options=(IDENTITY, *_MBCONV)),)
            for index in range(len(_LAYERS))
        )

    def stage(self, index: int, choices: Choices) -> Stage:
        """Return layer `index` as a stage."""
        return _stage(index, int(choices[f"layer{index}.op"]))


def _stage(index: int, option: int) -> Stage:
    channels, stride = _LAYERS[index]
    if option == IDENTITY:
        return Stage(
            kind="id", kernel=1, stride=stride, out_channels=channels, repeats=1, skip="none"
        )
    kernel, expansion = _MBCONV[option]
    return Stage(
        kind="ir",
        kernel=kernel,
        stride=stride,
        expansion=expansion,
        out_channels=channels,
        repeats=1,
        activation="relu",
    )
