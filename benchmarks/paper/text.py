"""What the paper's text and figures say: ratios, equation 3, settings."""

from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.scaling import BASE_RESOLUTION, PUBLISHED, CompoundRule, compound
from mnas_search.benchmarks.paper import printed as paper
from mnas_search.benchmarks.paper import reasons
from mnas_search.benchmarks.paper.lines import Line, Table, accuracy, compare, ratio, table
from mnas_search.benchmarks.paper.networks import B0, known, multiplied
from mnas_search.nas.objective import DEFAULT_EXPONENTS


def headlines() -> Table:
    """Compute the ratios that are quoted most."""
    rows = {row.name: row for row in paper.TABLE_2}
    b7, b3 = rows["EfficientNet-B7"], rows["EfficientNet-B3"]
    b7_params = (b7.params, cost(known(b7.name)).params)
    b3_flops = (b3.flops, cost(known(b3.name)).macs)
    (resnet, b1, _), (gpipe, b7_timed, _) = paper.TABLE_4
    divided = {
        "GPipe / B7, params": ((rows["GPipe"].params, None), b7_params),
        "GPipe / B7, params, in short": ((paper.GPIPE_IN_SHORT, None), b7_params),
        "ResNeXt-101 / B3, FLOPs": ((rows["ResNeXt-101"].flops, None), b3_flops),
        "ResNet-152 / B1, time": (_seconds(resnet), _seconds(b1)),
        "GPipe / B7, time": (_seconds(gpipe), _seconds(b7_timed)),
        "GPipe / B7, time, in short": (_seconds(gpipe), _seconds(b7_timed)),
    }
    single = max(row.top1.value for row in paper.TABLE_7 if not row.change.startswith("compound"))
    scaled = max(row.top1.value for row in paper.TABLE_7)
    counted = {
        "gain by compound scaling, points": round(scaled - single, 1),
        "number of 8 data sets on which it is best": sum(
            row.our_accuracy.value >= row.accuracy.value for row in paper.TABLE_5_REPORTED
        ),
    }
    claims = {name: paper.Printed(text) for name, text in paper.CLAIMS.items()}
    lines = [
        *(ratio(name, "figure", claims[name], a, b) for name, (a, b) in divided.items()),
        *(
            compare(name, "figure", claims[name], n, why=reasons.GAIN)
            for name, n in counted.items()
        ),
    ]
    return table("headlines", lines)


def _seconds(row: tuple[str, str, str]) -> tuple[paper.Printed, None]:
    return paper.Printed(row[2]), None


def before() -> Table:
    """List networks of the introduction, and other figures for those of Table 2."""
    lines: list[Line] = []
    for name, top1, params in paper.BEFORE:
        lines += [
            accuracy(name, "top-1", paper.Printed(top1)),
            compare(name, "params", paper.Printed(params), None, why=reasons.NOT_BUILT),
        ]
    lines.append(
        compare("GPipe, in short", "params", paper.GPIPE_IN_SHORT, None, why=reasons.NOT_BUILT)
    )
    return table("before", lines)


def rule() -> Table:
    """Compare equation 3 with the released coefficients, and its FLOPs with 2^phi."""
    own, base = CompoundRule(), known(B0)
    unit = cost(base).macs
    lines = []
    for phi, released in enumerate(PUBLISHED[:8]):
        row, member = f"B{phi}: phi = {phi}", known(f"EfficientNet-B{phi}")
        powers = {
            "depth": (f"{released.depth:.1f}", own.alpha**phi),
            "width": (f"{released.width:.1f}", own.beta**phi),
            "resolution": (f"{released.resolution:g}", BASE_RESOLUTION * own.gamma**phi),
        }
        lines += [
            compare(row, quantity, paper.Printed(text), power, why=reasons.NOT_POWERS)
            for quantity, (text, power) in powers.items()
        ]
        double, macs = paper.Printed(f"{2**phi}x"), cost(compound(base, phi, own)).macs
        lines += [
            compare(row, "FLOPs, equation 3", double, macs / unit, why=reasons.UPWARDS),
            compare(
                row, "FLOPs, released", double, cost(member).macs / unit, why=reasons.NOT_POWERS
            ),
        ]
    return table("rule", lines)


def settings() -> Table:
    """Compare constants of scaling, search and training with this code's defaults."""
    from mnas_search.training.optimisers import RmsProp  # loads torch
    from mnas_search.training.recipes import EFFICIENTNET
    from mnas_search.training.schedules import ExponentialDecay

    own, base, last = CompoundRule(), known(B0), known("EfficientNet-B7")
    optimiser, schedule = EFFICIENTNET.optimiser, EFFICIENTNET.schedule
    assert isinstance(optimiser, RmsProp)
    assert isinstance(schedule, ExponentialDecay)
    assert EFFICIENTNET.bn_momentum is not None
    here = {
        "alpha": own.alpha,
        "beta": own.beta,
        "gamma": own.gamma,
        "alpha * beta^2 * gamma^2, about": own.product,
        "exponent of the reward": DEFAULT_EXPONENTS["soft"],
        "RMSProp, decay": optimiser.decay,
        "RMSProp, momentum": optimiser.momentum,
        # PyTorch's momentum is the weight of the new batch, TensorFlow's that of the old average.
        "batch norm, momentum": 1 - EFFICIENTNET.bn_momentum,
        "weight decay": EFFICIENTNET.weight_decay,
        "learning rate": EFFICIENTNET.learning_rate,
        "learning rate, factor": schedule.factor,
        "learning rate, epochs a factor": schedule.every,
        "stochastic depth, survival": 1 - base.stochastic_depth_rate,
        "dropout of B0": base.dropout_rate,
        "dropout of B7": last.dropout_rate,
    }
    why = "no constant here: each run is told or finds its own"
    lines = [
        compare(name, "figure", paper.Printed(text), here.get(name), why=why)
        for name, text in paper.CONSTANTS.items()
    ]
    return table("settings", lines)


def figures_3_and_4() -> Table:
    """Count B0 under the multipliers of Figures 3 and 4."""
    lines = []
    for where, (depth, width, resolution) in (
        *(("Figure 3", m) for m in paper.FIGURE_3),
        *(("Figure 4", m) for m in paper.FIGURE_4),
    ):
        own = cost(multiplied(B0, depth, width, resolution))
        row = f"{where}: d={depth:g}, w={width:g}, r={resolution:g}"
        lines += [
            compare(row, "params", None, own.params, why=reasons.NOT_PRINTED),
            compare(row, "FLOPs", None, own.macs, why=reasons.NOT_PRINTED),
        ]
    return table("figures_3_and_4", lines)
