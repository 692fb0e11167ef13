"""The block kind `pd`: a 1x1 convolution, then a depthwise k x k, each with batch norm."""

from mnas_search.blocks import BlockKind, BlockPlan, BlockSpec, PlanBuilder, finish_block


def plan(spec: BlockSpec) -> BlockPlan:
    """Write the plan of one block."""
    builder = PlanBuilder(spec.in_channels, spec.in_size, spec.padding, shortcut=spec.shortcut)
    width = spec.out_channels
    builder.conv("conv_pw", width)
    builder.batch_norm("bn1")
    builder.activation(spec.activation)
    pad = builder.conv("conv_dw", width, kernel=spec.kernel, stride=spec.stride, groups=width)
    builder.batch_norm("bn2")
    return finish_block(spec, builder, mid_channels=width, pad=pad, se_channels=0)


PD = BlockKind(plan=plan, module="acme_nas.block_module:PointwiseDepthwise")
