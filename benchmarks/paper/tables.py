"""Tables 1, 2, 3, 4, 5 and 7 of the paper, figure by figure."""

import math

from mnas_search.architecture.blocks.network import plan
from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.value import Architecture
from mnas_search.benchmarks.paper import printed as paper
from mnas_search.benchmarks.paper import reasons
from mnas_search.benchmarks.paper.lines import Line, Table, accuracy, compare, ratio, table
from mnas_search.benchmarks.paper.networks import B0, body_params, counted, known, scaled


def table_1() -> Table:
    """Compare EfficientNet-B0 stage by stage, from its plan."""
    lines: list[Line] = []
    for published, own in zip(paper.TABLE_1, _stages(known(B0)), strict=True):
        operator, *figures = published
        row = f"{len(lines) // 3 + 1}: {operator}"
        for quantity, text, value in zip(
            ("resolution", "channels", "layers"), figures, own, strict=True
        ):
            lines.append(compare(row, quantity, paper.Printed(text), value, why="another network"))
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


def table_2() -> tuple[Table, ...]:
    """Compare ImageNet accuracies and params, and FLOPs."""
    bases = {row.name: row for row in paper.TABLE_2}
    sizes: list[Line] = []
    flops: list[Line] = []
    for row in paper.TABLE_2:
        base, here, there = bases[row.against], counted(row.name), cost(known(row.against))
        params, macs = (None, None) if here is None else (here.params, here.macs)
        why = reasons.NOT_BUILT if here is None else reasons.PARAMS
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
    titled = {"accuracies and parameters": sizes, "FLOPs": flops}
    return tuple(
        Table(
            key="2",
            title=f"Table 2, ImageNet: {title}",
            rows="network",
            lines=tuple(lines),
            notes=notes,
        )
        for title, lines in titled.items()
    )


def _why_flops(row: paper.Network) -> str:
    if counted(row.name) is None:
        return reasons.NOT_BUILT
    return reasons.RESNET_152 if row.name == "ResNet-152" else reasons.RELEASED


def table_3() -> Table:
    """Compare MobileNets and ResNet-50, scaled."""
    return _scalings("3", "Table 3, scaling MobileNets and ResNet-50", paper.TABLE_3)


def table_7() -> Table:
    """Compare EfficientNet-B0, scaled."""
    return _scalings("7", "Table 7, scaling EfficientNet-B0", paper.TABLE_7)


def _scalings(key: str, title: str, rows: tuple[paper.Scaled, ...]) -> Table:
    lines = []
    for row in rows:
        name, own = f"{row.base}, {row.change}", cost(scaled(row))
        lines += [
            compare(name, "FLOPs", row.flops, own.macs, why=_why_scaled(row)),
            accuracy(name, "top-1", row.top1, row.earlier),
            compare(name, "params", None, own.params, why=reasons.NOT_PRINTED),
        ]
    return Table(key=key, title=title, rows="network", lines=tuple(lines))


def _why_scaled(row: paper.Scaled) -> str:
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
    for slow, fast, faster in paper.TABLE_4:
        for name, top1, seconds in (slow, fast):
            lines += [
                accuracy(name, "top-1", paper.Printed(top1)),
                compare(name, "seconds", paper.Printed(seconds), None, why=reasons.NOT_TIMED),
            ]
            if name == fast[0]:
                over, under = ((paper.Printed(timed[2]), None) for timed in (slow, fast))
                lines.append(ratio(name, "times faster", paper.Printed(faster), over, under))
    return table("table_4", lines)


def table_5() -> tuple[Table, ...]:
    """Compare transfer with what was publicly available, and with what was reported."""
    available, reported = paper.GEOMETRIC_MEANS
    return (
        _transfer("available", paper.TABLE_5_AVAILABLE, available),
        _transfer("reported", paper.TABLE_5_REPORTED, reported),
    )


def _transfer(what: str, rows: tuple[paper.Transfer, ...], mean: paper.Printed) -> Table:
    lines, ratios = [], []
    for row in rows:
        name = f"{row.data}: {row.model}, {row.ours.removeprefix('EfficientNet-')}"
        before = None if row.params is None else body_params(row.model)
        after = None if row.our_params is None else body_params(row.ours)
        over, under = (row.params, before), (row.our_params, after)
        divided = ratio(name, "params ratio", row.ratio, over, under)
        lines += [
            accuracy(name, "top-1 before", row.accuracy),
            compare(name, "params before", row.params, before, why=reasons.NOT_BUILT),
            accuracy(name, "top-1 EfficientNet", row.our_accuracy),
            compare(name, "params EfficientNet", row.our_params, after, why=reasons.TRUNCATED),
            divided,
        ]
        ratios += [] if divided.computed is None else [divided.computed]
    odd = [x.row.split(":")[0] for x in lines if x.reason.startswith(reasons.NO_RATIO)]
    why = f"the paper's includes the odd ratio of {odd[0]}" if odd else reasons.FROM_PRINTED
    middle = math.exp(sum(math.log(r) for r in ratios) / len(ratios))
    lines.append(compare("geometric mean", "params ratio", mean, middle, why=why))
    return Table(
        key="5",
        title=f"Table 5, transfer, beside the best {what}",
        rows="data: before, EfficientNet",
        lines=tuple(lines),
        notes=("params are counted without the classifier, which transfer replaces",),
    )
