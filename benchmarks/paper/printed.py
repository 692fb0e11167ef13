"""The figures that the EfficientNet paper prints (Tan & Le 2019, arXiv 1905.11946), as data.

Figures are kept as text, with the digits that are printed, since that says how exact they are.
They are those of version 5; where versions 1 to 3 differ, `earlier` has theirs. `None` stands
where the paper prints nothing.
"""

import re
from dataclasses import dataclass

PAPER = "EfficientNet, arXiv 1905.11946 v5"

_FIGURE = re.compile(r"(-?\d+)(?:\.(\d+))?([%xsKMB]?)")
_UNITS = {"K": 1e3, "M": 1e6, "B": 1e9}


@dataclass(frozen=True, slots=True)
class Printed:
    """A figure as it is printed.

    Attributes:
        text: digits and unit: `%` (points), `x` (times), `s` (seconds), `K`, `M`, `B` (10^9), or
            none.
    """

    text: str

    def __post_init__(self) -> None:
        if _FIGURE.fullmatch(self.text) is None:
            raise ValueError(f"printed figure {self.text!r}; allowed: such as 5.3M, 0.39B, 77.1%")

    @property
    def value(self) -> float:
        """The number: params and FLOPs as they are, percent in points, times in seconds."""
        return float(self.text.rstrip("%xsKMB")) * self._unit

    @property
    def half(self) -> float:
        """Half a unit of the last digit: what rounding may have taken or added."""
        match = _FIGURE.fullmatch(self.text)
        assert match is not None  # checked when it was made
        return 0.5 * 10.0 ** -len(match[2] or "") * self._unit

    @property
    def _unit(self) -> float:
        return _UNITS.get(self.text[-1], 1.0)

    def rounds(self, value: float) -> bool:
        """Whether a value, rounded to the digits that are printed, is this figure."""
        return abs(value - self.value) <= self.half * (1 + 1e-9)

    def follows(self, over: "Printed", under: "Printed") -> bool:
        """Whether two printed figures, within their rounding, can have this one as their ratio."""
        low = (over.value - over.half) / (under.value + under.half)
        high = (over.value + over.half) / (under.value - under.half)
        return low <= self.value + self.half and high >= self.value - self.half


def printed(text: str | None) -> Printed | None:
    """A figure; None for None and for a dash."""
    return None if text in (None, "-") else Printed(str(text))


# Table 1, the stages of EfficientNet-B0: operator, resolution, channels, layers. The resolution
# is that of a stage's input.
TABLE_1 = (
    ("Conv3x3", "224", "32", "1"),
    ("MBConv1, k3x3", "112", "16", "1"),
    ("MBConv6, k3x3", "112", "24", "2"),
    ("MBConv6, k5x5", "56", "40", "2"),
    ("MBConv6, k3x3", "28", "80", "3"),
    ("MBConv6, k5x5", "14", "112", "3"),
    ("MBConv6, k5x5", "14", "192", "4"),
    ("MBConv6, k3x3", "7", "320", "1"),
    ("Conv1x1 & Pooling & FC", "7", "1280", "1"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Network:
    """A row of Table 2: ImageNet accuracies and size.

    Attributes:
        name, cited: the network, and whose it is where it is somebody else's.
        top1, top5, params, flops: as printed.
        params_ratio, flops_ratio: to `against`, the EfficientNet of the same group.
        earlier: top-1 and top-5 in versions 1 to 3 where known and different.
    """

    name: str
    cited: str
    top1: Printed
    top5: Printed
    params: Printed
    flops: Printed | None
    params_ratio: Printed
    flops_ratio: Printed | None
    against: str
    earlier: tuple[Printed | None, Printed | None]


# name, cited, top-1, top-5, params, ratio, FLOPs, ratio
_TABLE_2 = (
    ("EfficientNet-B0", "", "77.1%", "93.3%", "5.3M", "1x", "0.39B", "1x"),
    ("ResNet-50", "He et al. 2016", "76.0%", "93.0%", "26M", "4.9x", "4.1B", "11x"),
    ("DenseNet-169", "Huang et al. 2017", "76.2%", "93.2%", "14M", "2.6x", "3.5B", "8.9x"),
    ("EfficientNet-B1", "", "79.1%", "94.4%", "7.8M", "1x", "0.70B", "1x"),
    ("ResNet-152", "He et al. 2016", "77.8%", "93.8%", "60M", "7.6x", "11B", "16x"),
    ("DenseNet-264", "Huang et al. 2017", "77.9%", "93.9%", "34M", "4.3x", "6.0B", "8.6x"),
    ("Inception-v3", "Szegedy et al. 2016", "78.8%", "94.4%", "24M", "3.0x", "5.7B", "8.1x"),
    ("Xception", "Chollet 2017", "79.0%", "94.5%", "23M", "3.0x", "8.4B", "12x"),
    ("EfficientNet-B2", "", "80.1%", "94.9%", "9.2M", "1x", "1.0B", "1x"),
    ("Inception-v4", "Szegedy et al. 2017", "80.0%", "95.0%", "48M", "5.2x", "13B", "13x"),
    ("Inception-resnet-v2", "Szegedy et al. 2017", "80.1%", "95.1%", "56M", "6.1x", "13B", "13x"),
    ("EfficientNet-B3", "", "81.6%", "95.7%", "12M", "1x", "1.8B", "1x"),
    ("ResNeXt-101", "Xie et al. 2017", "80.9%", "95.6%", "84M", "7.0x", "32B", "18x"),
    ("PolyNet", "Zhang et al. 2017", "81.3%", "95.8%", "92M", "7.7x", "35B", "19x"),
    ("EfficientNet-B4", "", "82.9%", "96.4%", "19M", "1x", "4.2B", "1x"),
    ("SENet", "Hu et al. 2018", "82.7%", "96.2%", "146M", "7.7x", "42B", "10x"),
    ("NASNet-A", "Zoph et al. 2018", "82.7%", "96.2%", "89M", "4.7x", "24B", "5.7x"),
    ("AmoebaNet-A", "Real et al. 2019", "82.8%", "96.1%", "87M", "4.6x", "23B", "5.5x"),
    ("PNASNet", "Liu et al. 2018", "82.9%", "96.2%", "86M", "4.5x", "23B", "6.0x"),
    ("EfficientNet-B5", "", "83.6%", "96.7%", "30M", "1x", "9.9B", "1x"),
    ("AmoebaNet-C", "Cubuk et al. 2019", "83.5%", "96.5%", "155M", "5.2x", "41B", "4.1x"),
    ("EfficientNet-B6", "", "84.0%", "96.8%", "43M", "1x", "19B", "1x"),
    ("EfficientNet-B7", "", "84.3%", "97.0%", "66M", "1x", "37B", "1x"),
    ("GPipe", "Huang et al. 2018", "84.3%", "97.0%", "557M", "8.4x", "-", "-"),
)
# Top-1 of versions 1 to 3, before the retraining with AutoAugment and early stopping.
_EARLIER = {
    "EfficientNet-B0": ("76.3%", None),
    "EfficientNet-B1": ("78.8%", None),
    "EfficientNet-B2": ("79.8%", None),
    "EfficientNet-B3": ("81.1%", None),
    "EfficientNet-B4": ("82.6%", None),
    "EfficientNet-B5": ("83.3%", None),
    "EfficientNet-B7": ("84.4%", "97.1%"),
}


def _table_2() -> tuple[Network, ...]:
    rows, against = [], ""
    for name, cited, top1, top5, params, params_ratio, flops, flops_ratio in _TABLE_2:
        against = against if cited else name
        earlier = _EARLIER.get(name, (None, None))
        rows.append(
            Network(
                name=name,
                cited=cited,
                top1=Printed(top1),
                top5=Printed(top5),
                params=Printed(params),
                flops=printed(flops),
                params_ratio=Printed(params_ratio),
                flops_ratio=printed(flops_ratio),
                against=against,
                earlier=(printed(earlier[0]), printed(earlier[1])),
            )
        )
    return tuple(rows)


TABLE_2 = _table_2()


@dataclass(frozen=True, slots=True, kw_only=True)
class Scaled:
    """A row of Table 3 or 7: a network, scaled.

    Attributes:
        base, change: the network, and what was done to it.
        depth, width, resolution: the multipliers.
        told: whether the paper prints them.
        flops, top1: as printed.
        earlier: top-1 in the text of versions 1 to 3 where different.
    """

    base: str
    change: str
    depth: float
    width: float
    resolution: float
    told: bool
    flops: Printed
    top1: Printed
    earlier: Printed | None


_BASE, _DEPTH, _WIDTH, _RESOLUTION = (1, 1, 1), (4, 1, 1), (1, 2, 1), (1, 1, 2)
_COMPOUND = (1.4, 1.2, 1.3)
_CHANGES = {
    _BASE: "baseline",
    _DEPTH: "depth d=4",
    _WIDTH: "width w=2",
    _RESOLUTION: "resolution r=2",
    _COMPOUND: "compound d=1.4, w=1.2, r=1.3",
}


def _scaled(
    base: str,
    multipliers: tuple[float, float, float],
    flops: str,
    top1: str,
    *,
    told: bool = True,
    earlier: str | None = None,
) -> Scaled:
    depth, width, resolution = multipliers
    return Scaled(
        base=base,
        change=_CHANGES[multipliers] if told else "compound",
        depth=depth,
        width=width,
        resolution=resolution,
        told=told,
        flops=Printed(flops),
        top1=Printed(top1),
        earlier=printed(earlier),
    )


# Table 3, scaling up MobileNets and ResNet. The compound coefficients are printed for MobileNetV1
# alone; the other two rows have MobileNetV1's here, which is an assumption.
TABLE_3 = (
    _scaled("MobileNetV1", _BASE, "0.6B", "70.6%"),
    _scaled("MobileNetV1", _WIDTH, "2.2B", "74.2%"),
    _scaled("MobileNetV1", _RESOLUTION, "2.2B", "72.7%"),
    _scaled("MobileNetV1", _COMPOUND, "2.3B", "75.6%"),
    _scaled("MobileNetV2", _BASE, "0.3B", "72.0%"),
    _scaled("MobileNetV2", _DEPTH, "1.2B", "76.8%"),
    _scaled("MobileNetV2", _WIDTH, "1.1B", "76.4%"),
    _scaled("MobileNetV2", _RESOLUTION, "1.2B", "74.8%"),
    _scaled("MobileNetV2", _COMPOUND, "1.3B", "77.4%", told=False),
    _scaled("ResNet-50", _BASE, "4.1B", "76.0%"),
    _scaled("ResNet-50", _DEPTH, "16.2B", "78.1%"),
    _scaled("ResNet-50", _WIDTH, "14.7B", "77.7%"),
    _scaled("ResNet-50", _RESOLUTION, "16.4B", "77.5%"),
    _scaled("ResNet-50", _COMPOUND, "16.7B", "78.8%", told=False),
)

# Table 7, the networks of Figure 7 (class activation maps).
TABLE_7 = (
    _scaled("EfficientNet-B0", _BASE, "0.4B", "77.3%", earlier="76.3%"),
    _scaled("EfficientNet-B0", _DEPTH, "1.8B", "79.0%"),
    _scaled("EfficientNet-B0", _WIDTH, "1.8B", "78.9%"),
    _scaled("EfficientNet-B0", _RESOLUTION, "1.9B", "79.1%"),
    _scaled("EfficientNet-B0", _COMPOUND, "1.8B", "81.1%"),
)

# Table 4: seconds an image at batch 1 on one core of a Xeon E5-2690, mean of 20 runs. Network,
# top-1, seconds; the slower one first, and how many times faster the second one is.
TABLE_4 = (
    (("ResNet-152", "77.8%", "0.554s"), ("EfficientNet-B1", "78.8%", "0.098s"), "5.7x"),
    (("GPipe", "84.3%", "19.0s"), ("EfficientNet-B7", "84.4%", "3.1s"), "6.1x"),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Transfer:
    """A row of one half of Table 5: accuracy after transfer to another data set.

    Attributes:
        data: its name.
        model, accuracy, params: the best network before.
        ours, our_accuracy, our_params: the EfficientNet beside it.
        ratio: of the params.
    """

    data: str
    model: str
    accuracy: Printed
    params: Printed | None
    ours: str
    our_accuracy: Printed
    our_params: Printed | None
    ratio: Printed | None


def _transfers(*rows: tuple[str, ...]) -> tuple[Transfer, ...]:
    return tuple(
        Transfer(
            data=data,
            model=model,
            accuracy=Printed(accuracy),
            params=printed(params),
            ours=f"EfficientNet-{ours}",
            our_accuracy=Printed(our_accuracy),
            our_params=printed(our_params),
            ratio=printed(ratio),
        )
        for data, model, accuracy, params, ours, our_accuracy, our_params, ratio in rows
    )


# Table 5, on the left: beside the best results that were publicly available.
TABLE_5_AVAILABLE = _transfers(
    ("CIFAR-10", "NASNet-A", "98.0%", "85M", "B0", "98.1%", "4M", "21x"),
    ("CIFAR-100", "NASNet-A", "87.5%", "85M", "B0", "88.1%", "4M", "21x"),
    ("Birdsnap", "Inception-v4", "81.8%", "41M", "B5", "82.0%", "28M", "1.5x"),
    ("Stanford Cars", "Inception-v4", "93.4%", "41M", "B3", "93.6%", "10M", "4.1x"),
    ("Flowers", "Inception-v4", "98.5%", "41M", "B5", "98.5%", "28M", "1.5x"),
    ("FGVC Aircraft", "Inception-v4", "90.9%", "41M", "B3", "90.7%", "10M", "4.1x"),
    ("Oxford-IIIT Pets", "ResNet-152", "94.5%", "58M", "B4", "94.8%", "17M", "5.6x"),
    ("Food-101", "Inception-v4", "90.8%", "41M", "B4", "91.5%", "17M", "2.4x"),
)
# On the right: beside the best results that were reported at all.
TABLE_5_REPORTED = _transfers(
    ("CIFAR-10", "GPipe", "99.0%", "556M", "B7", "98.9%", "64M", "8.7x"),
    ("CIFAR-100", "GPipe", "91.3%", "556M", "B7", "91.7%", "64M", "8.7x"),
    ("Birdsnap", "GPipe", "83.6%", "556M", "B7", "84.3%", "64M", "8.7x"),
    ("Stanford Cars", "DAT", "94.8%", "-", "B7", "94.7%", "-", "-"),
    ("Flowers", "DAT", "97.7%", "-", "B7", "98.8%", "-", "-"),
    ("FGVC Aircraft", "DAT", "92.9%", "-", "B7", "92.9%", "-", "-"),
    ("Oxford-IIIT Pets", "GPipe", "95.9%", "556M", "B6", "95.4%", "41M", "14x"),
    ("Food-101", "GPipe", "93.0%", "556M", "B7", "93.0%", "64M", "8.7x"),
)
GEOMETRIC_MEANS = (Printed("4.7x"), Printed("9.6x"))

# Sections 3.3, 4 and 5.2, and what summaries repeat of them; the decay of the weights is 1e-5.
CONSTANTS = {
    "alpha": "1.2",
    "beta": "1.1",
    "gamma": "1.15",
    "alpha * beta^2 * gamma^2, about": "2",
    "exponent of the reward": "-0.07",
    "RMSProp, decay": "0.9",
    "RMSProp, momentum": "0.9",
    "batch norm, momentum": "0.99",
    "weight decay": "0.00001",
    "learning rate": "0.256",
    "learning rate, factor": "0.97",
    "learning rate, epochs a factor": "2.4",
    "stochastic depth, survival": "0.8",
    "dropout of B0": "0.2",
    "dropout of B7": "0.5",
    "target FLOPs of the search": "400M",
    "images held out of training": "25K",
}

# Figures 3 and 4 draw B0 under these multipliers (depth, width, resolution) without printing their
# FLOPs; Figure 4 goes on from each of its four by width.
FIGURE_3 = (
    *((1, width, 1) for width in (1, 1.4, 1.8, 2.6, 3.8, 5)),
    *((depth, 1, 1) for depth in (2, 3, 4, 6, 8)),
    *((1, 1, resolution) for resolution in (1.3, 1.5, 1.7, 1.9, 2.2, 2.5)),
)
FIGURE_4 = ((1, 1, 1), (2, 1, 1), (1, 1, 1.3), (2, 1, 1.3))

# Abstract and introduction, and as summaries shorten them: what is over what. The last two are
# the most that compound scaling gains (Figure 8), and the transfer data sets it is best on.
CLAIMS = {
    "GPipe / B7, params": "8.4x",
    "GPipe / B7, params, in short": "8x",
    "ResNeXt-101 / B3, FLOPs": "18x",
    "ResNet-152 / B1, time": "5.7x",
    "GPipe / B7, time": "6.1x",
    "GPipe / B7, time, in short": "6x",
    "gain by compound scaling, points": "2.5",
    "best on so many of 8 data sets": "5",
}
GPIPE_IN_SHORT = Printed("560M")  # params

# What the introduction says of the years before: name, top-1, params.
BEFORE = (
    ("GoogLeNet, 2014", "74.8%", "6.8M"),
    ("SENet, 2017", "82.7%", "145M"),
    ("GPipe, 2018", "84.3%", "557M"),
)
