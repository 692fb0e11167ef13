"""The built-in block kinds, one plan function each; names and layouts are timm's.

cn   convolution
ds   depthwise separable: depthwise k x k, 1x1                    (MobileNetV1, MBConv1)
dsa  the same with an activation after the 1x1, without a skip    (MobileNetV1)
ir   inverted residual: 1x1 expansion, depthwise k x k, 1x1       (MobileNetV2, MBConv)
er   edge residual: k x k expansion, 1x1                          (Fused-MBConv)
"""

from typing import TYPE_CHECKING

from mnas_search.blocks.arithmetic import make_divisible, squeeze_channels
from mnas_search.blocks.plans import BlockKind, BlockPlan, BlockSpec, LayerPen, finish_block
from mnas_search.errors import InvalidArchitecture

if TYPE_CHECKING:
    from mnas_search.architecture import Stage


def _pen(spec: BlockSpec) -> LayerPen:
    return LayerPen(spec.in_channels, spec.in_size, spec.padding, shortcut=spec.shortcut)


def plan_conv(spec: BlockSpec) -> BlockPlan:
    """`cn`: k x k convolution, batch norm, activation, squeeze-and-excitation."""
    pen = _pen(spec)
    squeezed = squeeze_channels(spec.in_channels, spec.se_ratio)
    pad = pen.conv("conv", spec.out_channels, kernel=spec.kernel, stride=spec.stride)
    pen.batch_norm("bn1")
    pen.squeeze_excite("se", squeezed)
    return finish_block(spec, pen, mid_channels=spec.out_channels, pad=pad, se_channels=squeezed)


def plan_depthwise_separable(spec: BlockSpec) -> BlockPlan:
    """`ds`, `dsa`: depthwise k x k, squeeze-and-excitation, 1x1."""
    pen = _pen(spec)
    width = spec.in_channels
    squeezed = squeeze_channels(width, spec.se_ratio)
    pad = pen.conv("conv_dw", width, kernel=spec.kernel, stride=spec.stride, groups=width)
    pen.batch_norm("bn1")
    pen.squeeze_excite("se", squeezed)
    pen.conv("conv_pw", spec.out_channels)
    pen.batch_norm("bn2")
    return finish_block(spec, pen, mid_channels=width, pad=pad, se_channels=squeezed)


def plan_inverted_residual(spec: BlockSpec) -> BlockPlan:
    """`ir`: 1x1 expansion, depthwise k x k, squeeze-and-excitation, 1x1 without activation."""
    pen = _pen(spec)
    width = make_divisible(spec.in_channels * spec.expansion)
    squeezed = squeeze_channels(spec.in_channels, spec.se_ratio)
    pen.conv("conv_pw", width)
    pen.batch_norm("bn1")
    pad = pen.conv("conv_dw", width, kernel=spec.kernel, stride=spec.stride, groups=width)
    pen.batch_norm("bn2")
    pen.squeeze_excite("se", squeezed)
    pen.conv("conv_pwl", spec.out_channels)
    pen.batch_norm("bn3")
    return finish_block(spec, pen, mid_channels=width, pad=pad, se_channels=squeezed)


def plan_edge_residual(spec: BlockSpec) -> BlockPlan:
    """`er`: k x k expansion, squeeze-and-excitation, 1x1 without activation."""
    pen = _pen(spec)
    width = make_divisible(spec.in_channels * spec.expansion)
    squeezed = squeeze_channels(spec.in_channels, spec.se_ratio)
    pad = pen.conv("conv_exp", width, kernel=spec.kernel, stride=spec.stride)
    pen.batch_norm("bn1")
    pen.squeeze_excite("se", squeezed)
    pen.conv("conv_pwl", spec.out_channels)
    pen.batch_norm("bn2")
    return finish_block(spec, pen, mid_channels=width, pad=pad, se_channels=squeezed)


def _no_expansion(stage: "Stage") -> None:
    if stage.expansion != 1:
        raise InvalidArchitecture(
            f"expansion is {stage.expansion} on {stage.kind!r}; allowed: 1 (ir and er expand)"
        )


def _no_expansion_no_skip(stage: "Stage") -> None:
    _no_expansion(stage)
    if stage.skip != "none":
        raise InvalidArchitecture(f"skip is {stage.skip!r} on {stage.kind!r}; allowed: none")


_LAYERS = "mnas_search.networks.layers"

CN = BlockKind(
    plan=plan_conv,
    module=f"{_LAYERS}:ConvBlock",
    default_skip="none",
    check=_no_expansion,
)
DS = BlockKind(
    plan=plan_depthwise_separable,
    module=f"{_LAYERS}:DepthwiseSeparable",
    check=_no_expansion,
)
DSA = BlockKind(
    plan=plan_depthwise_separable,
    module=f"{_LAYERS}:DepthwiseSeparableAct",
    default_skip="none",
    check=_no_expansion_no_skip,
)
IR = BlockKind(plan=plan_inverted_residual, module=f"{_LAYERS}:InvertedResidual")
ER = BlockKind(plan=plan_edge_residual, module=f"{_LAYERS}:EdgeResidual")
