"""The built-in block kinds, one plan function each; names and layouts are timm's.

cn          convolution
ds          depthwise separable: depthwise k x k, 1x1                  (MobileNetV1, MBConv1)
dsa         the same with an activation after the 1x1, without a skip  (MobileNetV1)
ir          inverted residual: 1x1 expansion, depthwise k x k, 1x1     (MobileNetV2, MBConv)
er          edge residual: k x k expansion, 1x1                        (Fused-MBConv)
basic       k x k, k x k, activation after the sum                     (ResNet-18, -34)
bottleneck  1x1 reduction, k x k, 1x1, activation after the sum        (ResNet-50 and deeper)
"""

from mnas_search.architecture.blocks.arithmetic import make_divisible, squeeze_channels
from mnas_search.architecture.blocks.plan_builder import PlanBuilder, finish_block
from mnas_search.architecture.kind import BlockKind, BlockPlan, BlockSpec, StageFields
from mnas_search.common.errors import InvalidArchitecture


def _builder(spec: BlockSpec) -> PlanBuilder:
    return PlanBuilder(spec.in_channels, spec.in_size, spec.padding, shortcut=spec.shortcut)


def plan_conv(spec: BlockSpec) -> BlockPlan:
    """Plan `cn`: k x k convolution, batch norm, activation, squeeze-and-excitation."""
    builder = _builder(spec)
    squeezed = squeeze_channels(spec.in_channels, spec.se_ratio)
    pad = builder.conv("conv", spec.out_channels, kernel=spec.kernel, stride=spec.stride)
    builder.batch_norm("bn1", spec.activation)
    builder.squeeze_excite("se", squeezed, spec.activation)
    return finish_block(
        spec, builder, mid_channels=spec.out_channels, pad=pad, se_channels=squeezed
    )


def plan_depthwise_separable(spec: BlockSpec) -> BlockPlan:
    """Plan `ds`, `dsa`: depthwise k x k, SE, 1x1; `dsa` ends in an activation."""
    builder = _builder(spec)
    width = spec.in_channels
    squeezed = squeeze_channels(width, spec.se_ratio)
    pad = builder.conv("conv_dw", width, kernel=spec.kernel, stride=spec.stride, groups=width)
    builder.batch_norm("bn1", spec.activation)
    builder.squeeze_excite("se", squeezed, spec.activation)
    builder.conv("conv_pw", spec.out_channels)
    builder.batch_norm("bn2")
    activates = spec.kind == "dsa"
    return finish_block(
        spec, builder, mid_channels=width, pad=pad, se_channels=squeezed, last_activation=activates
    )


def plan_inverted_residual(spec: BlockSpec) -> BlockPlan:
    """Plan `ir`: 1x1 expansion, depthwise k x k, SE, 1x1 without activation."""
    builder = _builder(spec)
    width = make_divisible(spec.in_channels * spec.expansion)
    squeezed = squeeze_channels(spec.in_channels, spec.se_ratio)
    builder.conv("conv_pw", width)
    builder.batch_norm("bn1", spec.activation)
    pad = builder.conv("conv_dw", width, kernel=spec.kernel, stride=spec.stride, groups=width)
    builder.batch_norm("bn2", spec.activation)
    builder.squeeze_excite("se", squeezed, spec.activation)
    builder.conv("conv_pwl", spec.out_channels)
    builder.batch_norm("bn3")
    return finish_block(spec, builder, mid_channels=width, pad=pad, se_channels=squeezed)


def plan_edge_residual(spec: BlockSpec) -> BlockPlan:
    """Plan `er`: k x k expansion, squeeze-and-excitation, 1x1 without activation."""
    builder = _builder(spec)
    width = make_divisible(spec.in_channels * spec.expansion)
    squeezed = squeeze_channels(spec.in_channels, spec.se_ratio)
    pad = builder.conv("conv_exp", width, kernel=spec.kernel, stride=spec.stride)
    builder.batch_norm("bn1", spec.activation)
    builder.squeeze_excite("se", squeezed, spec.activation)
    builder.conv("conv_pwl", spec.out_channels)
    builder.batch_norm("bn2")
    return finish_block(spec, builder, mid_channels=width, pad=pad, se_channels=squeezed)


def plan_basic(spec: BlockSpec) -> BlockPlan:
    """Plan `basic`: two k x k convolutions, the first strided (arXiv 1512.03385, figure 5)."""
    builder = _builder(spec)
    pad = builder.conv("conv1", spec.out_channels, kernel=spec.kernel, stride=spec.stride)
    builder.batch_norm("bn1", spec.activation)
    builder.conv("conv2", spec.out_channels, kernel=spec.kernel)
    builder.batch_norm("bn2")
    return finish_block(
        spec, builder, mid_channels=spec.out_channels, pad=pad, se_channels=0, last_activation=True
    )


def plan_bottleneck(spec: BlockSpec) -> BlockPlan:
    """Plan `bottleneck`: 1x1 reduction to a share of the *output* width, strided k x k, 1x1. The
    stride is placed as in ResNet "v1.5"; the paper has it in the first convolution."""
    builder = _builder(spec)
    width = make_divisible(spec.out_channels * spec.expansion)
    builder.conv("conv1", width)
    builder.batch_norm("bn1", spec.activation)
    pad = builder.conv("conv2", width, kernel=spec.kernel, stride=spec.stride)
    builder.batch_norm("bn2", spec.activation)
    builder.conv("conv3", spec.out_channels)
    builder.batch_norm("bn3")
    return finish_block(
        spec, builder, mid_channels=width, pad=pad, se_channels=0, last_activation=True
    )


def _no_expansion(stage: StageFields) -> None:
    if stage.expansion != 1:
        raise InvalidArchitecture(
            f"expansion of {stage.kind!r} must be 1, got {stage.expansion} (ir, er and bottleneck "
            "take others)"
        )


def _no_squeeze(stage: StageFields) -> None:
    if stage.se_ratio:
        raise InvalidArchitecture(f"se_ratio of {stage.kind!r} must be 0, got {stage.se_ratio}")


def _neither(stage: StageFields) -> None:
    _no_expansion(stage)
    _no_squeeze(stage)


_LAYERS = "mnas_search.networks.layers"

CN = BlockKind(
    plan=plan_conv, module=f"{_LAYERS}:ConvBlock", default_skip="none", check=_no_expansion
)
DS = BlockKind(
    plan=plan_depthwise_separable, module=f"{_LAYERS}:DepthwiseSeparable", check=_no_expansion
)
DSA = BlockKind(
    plan=plan_depthwise_separable,
    module=f"{_LAYERS}:DepthwiseSeparableAct",
    skips=("none",),
    default_skip="none",
    check=_no_expansion,
)
IR = BlockKind(
    plan=plan_inverted_residual, module=f"{_LAYERS}:InvertedResidual", default_expansion=None
)
ER = BlockKind(plan=plan_edge_residual, module=f"{_LAYERS}:EdgeResidual", default_expansion=None)
BASIC = BlockKind(
    plan=plan_basic,
    module=f"{_LAYERS}:BasicBlock",
    skips=("none", "projection"),
    default_skip="projection",
    check=_neither,
)
BOTTLENECK = BlockKind(
    plan=plan_bottleneck,
    module=f"{_LAYERS}:Bottleneck",
    skips=("none", "projection"),
    default_skip="projection",
    default_expansion=0.25,
    check=_no_squeeze,
)
