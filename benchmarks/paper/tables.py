"""Tables 1, 2, 3, 4, 5 and 7 of the paper, figure by figure."""

import math

from mnas_search.architecture.blocks.network import plan
from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.value import Architecture
from mnas_search.benchmarks.paper.lines import (
    FROM_PRINTED,
    NO_RATIO,
    NOT_BUILT,
    NOT_PRINTED,
    NOT_TIMED,
    Line,
    Table,
    accuracy,
    compare,
    ratio,
    table,
)
from mnas_search.benchmarks.paper.networks import B0, body_params, counted, known, scaled
from mnas_search.benchmarks.paper.printed import (
    GEOMETRIC_MEANS,
    TABLE_1,
    TABLE_2,
    TABLE_3,
    TABLE_4,
    TABLE_5_AVAILABLE,
    TABLE_5_REPORTED,
    TABLE_7,
    Network,
    Printed,
    Scaled,
    Transfer,
)

_RELEASED = (
    "the released code's network has the figure here, its params as in timm and torchvision, its "
    "FLOPs as fvcore and torch count it; the paper does not say how it counted"
)
_PARAMS = "the released code's network has the figure here, in timm and torchvision too"
_RESNET_152 = (
    "counted with the stride in the 3x3 convolution, as libraries build it today; in the first "
    "1x1, as first published, it is 11.3B. The paper's 4.1B for ResNet-50 is of the former kind"
)
_TRUNCATED = (
    "less than the network has even without its classifier, to which the paper's other "
    "EfficientNets in this table are rounded"
)


def table_1() -> Table:
    """Compare EfficientNet-B0 stage by stage, from its plan."""
    lines: list[Line] = []
    for published, own in zip(TABLE_1, _stages(known(B0)), strict=True):
        operator, *figures = published
        row = f"{len(lines) // 3 + 1}: {operator}"
        for quantity, text, value in zip(
            ("resolution", "channels", "layers"), figures, own, strict=True
        ):
            lines.append(compare(row, quantity, Printed(text), value, why="another network"))
    return table("table_1", lines)


def _stages(architecture: Architecture) -> list[tuple[int, int, int]]:
    """Return resolution of the input, channels and layers of stem, stages and head."""
    whole = plan(architecture)
    sizes = [architecture.resolution, whole.stem.out_size]
    sizes += [blocks[-1].out_size for blocks in whole.stages]
    channels = [whole.stem.out_channels, *(blocks[-1].out_channels for blocks in whole.stages)]
    layers = [1, *(len(blocks) for blocks in whole.stages), 1]
    assert architecture.head_channels is not None
    return list(zip(sizes, [*channels, architecture.head_channels], layers, strict=True))


def table_2() -> tuple[Table, Table]:
    """Compare ImageNet accuracies and params, and FLOPs."""
    bases = {row.name: row for row in TABLE_2}
    sizes: list[Line] = []
    flops: list[Line] = []
    for row in TABLE_2:
        base, here, there = bases[row.against], counted(row.name), cost(known(row.against))
        params, macs = (None, None) if here is None else (here.params, here.macs)
        why = NOT_BUILT if here is None else _PARAMS
        under_params, under_flops = (base.params, there.params), (base.flops, there.macs)
        sizes += [
            accuracy(row.name, "top-1", row.top1, row.earlier_top1),
            accuracy(row.name, "top-5", row.top5, row.earlier_top5),
            compare(row.name, "params", row.params, params, why=why),
            ratio(row.name, "params ratio", row.params_ratio, (row.params, params), under_params),
        ]
        flops += [
            compare(row.name, "FLOPs", row.flops, macs, why=_why_flops(row)),
            ratio(row.name, "FLOPs ratio", row.flops_ratio, (row.flops, macs), under_flops),
        ]
    notes = (
        "a ratio is to the EfficientNet above; counts of this code stand in it where there are, "
        "printed figures elsewhere",
    )
    first, second = (
        Table(key="2", title=title, rows="network", lines=tuple(lines), notes=notes)
        for title, lines in (
            ("Table 2, ImageNet: accuracies and parameters", sizes),
            ("Table 2, ImageNet: FLOPs", flops),
        )
    )
    return first, second


def _why_flops(row: Network) -> str:
    if counted(row.name) is None:
        return NOT_BUILT
    return _RESNET_152 if row.name == "ResNet-152" else _RELEASED


def table_3() -> Table:
    """Compare MobileNets and ResNet-50, scaled."""
    return _scalings("3", "Table 3, scaling MobileNets and ResNet-50", TABLE_3)


def table_7() -> Table:
    """Compare EfficientNet-B0, scaled."""
    return _scalings("7", "Table 7, scaling EfficientNet-B0", TABLE_7)


def _scalings(key: str, title: str, rows: tuple[Scaled, ...]) -> Table:
    lines = []
    for row in rows:
        name, own = f"{row.base}, {row.change}", cost(scaled(row))
        lines += [
            compare(name, "FLOPs", row.flops, own.macs, why=_why_scaled(row)),
            accuracy(name, "top-1", row.top1, row.earlier),
            compare(name, "params", None, own.params, why=NOT_PRINTED),
        ]
    return Table(key=key, title=title, rows="network", lines=tuple(lines))


def _why_scaled(row: Scaled) -> str:
    base = cost(known(row.base))
    four = f"4 x {base.macs / 1e9:.3g}B = {4 * base.macs / 1e9:.3g}B"
    if not row.told:
        return (
            "the paper prints no coefficients for this row; those of MobileNetV1's, d=1.4, w=1.2, "
            "r=1.3, are assumed"
        )
    if row.resolution == 2:
        return f"twice the side is four times every convolution, {four}, however it is rounded"
    if row.depth == 4:
        return (
            f"four times the blocks give about {four}, less what is not repeated (stem, head, "
            "changes of width); the paper does not say how it deepened"
        )
    if row.width == 2:
        return (
            f"twice the channels is at most {four}, less where depthwise convolutions and the "
            "stem only double; the paper does not say how it widened"
        )
    blocks = sum(stage.repeats for stage in known(row.base).stages)
    more = sum(stage.repeats for stage in scaled(row).stages)
    return (
        f"repeats are rounded up stage by stage: d=1.4 makes {more} blocks of {blocks} "
        f"({more / blocks:.2f} times); the paper does not say how it rounded"
    )


def table_4() -> Table:
    """List seconds an image."""
    lines = []
    for slow, fast, faster in TABLE_4:
        for name, top1, seconds in (slow, fast):
            lines += [
                accuracy(name, "top-1", Printed(top1)),
                compare(name, "seconds", Printed(seconds), None, why=NOT_TIMED),
            ]
            if name == fast[0]:
                over, under = ((Printed(timed[2]), None) for timed in (slow, fast))
                lines.append(ratio(name, "times faster", Printed(faster), over, under))
    return table("table_4", lines)


def table_5() -> tuple[Table, Table]:
    """Compare transfer with what was publicly available, and with what was reported."""
    halves = (
        ("available", TABLE_5_AVAILABLE, GEOMETRIC_MEANS[0]),
        ("reported", TABLE_5_REPORTED, GEOMETRIC_MEANS[1]),
    )
    first, second = (_transfer(what, rows, mean) for what, rows, mean in halves)
    return first, second


def _transfer(what: str, rows: tuple[Transfer, ...], mean: Printed) -> Table:
    lines, ratios = [], []
    for row in rows:
        name = f"{row.data}: {row.model}, {row.ours.removeprefix('EfficientNet-')}"
        before = None if row.params is None else body_params(row.model)
        after = None if row.our_params is None else body_params(row.ours)
        over, under = (row.params, before), (row.our_params, after)
        divided = ratio(name, "params ratio", row.ratio, over, under)
        lines += [
            accuracy(name, "top-1 before", row.accuracy),
            compare(name, "params before", row.params, before, why=NOT_BUILT),
            accuracy(name, "top-1 EfficientNet", row.our_accuracy),
            compare(name, "params EfficientNet", row.our_params, after, why=_TRUNCATED),
            divided,
        ]
        ratios += [] if divided.computed is None else [divided.computed]
    odd = [row.split(":")[0] for row in (x.row for x in lines if x.reason.startswith(NO_RATIO))]
    why = f"the paper's includes the odd ratio of {odd[0]}" if odd else FROM_PRINTED
    middle = math.exp(sum(math.log(r) for r in ratios) / len(ratios))
    lines.append(compare("geometric mean", "params ratio", mean, middle, why=why))
    return Table(
        key="5",
        title=f"Table 5, transfer, beside the best {what}",
        rows="data: before, EfficientNet",
        lines=tuple(lines),
        notes=("params are counted without the classifier, which transfer replaces",),
    )
