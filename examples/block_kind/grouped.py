"""Your own block kind: `gc`, a grouped k x k convolution and a 1x1, as in ResNeXt.

    pip install --no-deps examples/block_kind
    mnas-search profile "gc_r2_k3_s1_e1_c32_se0.25"

The plan says how many layers of which size there are; the module is loaded only when a network is
built.
"""

from mnas_search.blocks import (
    BlockKind,
    BlockPlan,
    BlockSpec,
    PlanBuilder,
    finish_block,
    squeeze_channels,
)

GROUPS = 4


def plan(spec: BlockSpec) -> BlockPlan:
    """Plan a k x k convolution in four groups, batch norm, activation, SE, 1x1, batch norm."""
    builder = PlanBuilder(spec.in_channels, spec.in_size, spec.padding, shortcut=spec.shortcut)
    width = spec.in_channels
    groups = GROUPS if width % GROUPS == 0 else 1
    squeezed = squeeze_channels(width, spec.se_ratio)
    pad = builder.conv("conv", width, kernel=spec.kernel, stride=spec.stride, groups=groups)
    builder.batch_norm("bn1")
    builder.activation(spec.activation)
    builder.squeeze_excite("se", squeezed, spec.activation)
    builder.conv("conv_pw", spec.out_channels)
    builder.batch_norm("bn2")
    return finish_block(spec, builder, mid_channels=width, pad=pad, se_channels=squeezed)


GC = BlockKind(plan=plan, module="grouped_module:Grouped")
