"""Published architectures as data: block strings and the settings beside them.

Sources: efficientnet_builder.py, lite/efficientnet_lite_builder.py and mnasnet_models.py of
tensorflow/tpu; MobileNetV1
(arXiv 1704.04861) table 1; MobileNetV2 (arXiv 1801.04381) table 2; ResNet (arXiv 1512.03385)
table 1. The block strings are those of the released code, whose counts equal those of the papers'
tables. ResNets are torchvision's "v1.5", with a block's stride in its 3x3 convolution.
"""

import functools
from dataclasses import replace
from typing import Any

from mnas_search.architecture.adaptation import lite
from mnas_search.architecture.scaling import (
    LARGER,
    LITE,
    PUBLISHED,
    Coefficients,
    published_family,
    published_member,
)
from mnas_search.architecture.stage import Stem
from mnas_search.architecture.value import Architecture
from mnas_search.common.checks import did_you_mean
from mnas_search.common.errors import UnknownName

__all__ = ["architecture", "names"]

_EFFICIENTNET_B0 = (
    "ds_r1_k3_s1_e1_c16_se0.25 ir_r2_k3_s2_e6_c24_se0.25 ir_r2_k5_s2_e6_c40_se0.25 "
    "ir_r3_k3_s2_e6_c80_se0.25 ir_r3_k5_s1_e6_c112_se0.25 ir_r4_k5_s2_e6_c192_se0.25 "
    "ir_r1_k3_s1_e6_c320_se0.25"
)
_EFFICIENTNETS = tuple(f"efficientnet_b{i}" for i in range(len(PUBLISHED)))
_LARGER = {f"efficientnet_{key}": coefficients for key, coefficients in LARGER.items()}
_LITE = {f"efficientnet_lite{i}": coefficients for i, coefficients in enumerate(LITE)}

_RELU: dict[str, Any] = {"activation": "relu", "stochastic_depth_rate": 0.0}
_RELU6: dict[str, Any] = {"activation": "relu6", "stochastic_depth_rate": 0.0}
_RESNET: dict[str, Any] = {
    **_RELU,
    "stem": Stem(channels=64, kernel=7, pool=True),
    "head_channels": None,
    "bn_eps": 1e-5,
    "bn_momentum": 0.1,
    "dropout_rate": 0.0,
}


def _resnet(kind: str, expansion: str, widths: tuple[int, ...], repeats: tuple[int, ...]) -> str:
    strides = (1, 2, 2, 2)
    return " ".join(
        f"{kind}_r{r}_k3_s{s}_e{expansion}_c{c}_nre"
        for r, s, c in zip(repeats, strides, widths, strict=True)
    )


def _basic(*repeats: int) -> tuple[str, dict[str, Any]]:
    return _resnet("basic", "1", (64, 128, 256, 512), repeats), _RESNET


def _bottleneck(*repeats: int) -> tuple[str, dict[str, Any]]:
    return _resnet("bottleneck", "0.25", (256, 512, 1024, 2048), repeats), _RESNET


_OTHERS: dict[str, tuple[str, dict[str, Any]]] = {
    "mnasnet_a1": (
        "ds_r1_k3_s1_e1_c16_nre_noskip ir_r2_k3_s2_e6_c24_nre ir_r3_k5_s2_e3_c40_se0.25_nre "
        "ir_r4_k3_s2_e6_c80_nre ir_r2_k3_s1_e6_c112_se0.25_nre ir_r3_k5_s2_e6_c160_se0.25_nre "
        "ir_r1_k3_s1_e6_c320_nre",
        _RELU,
    ),
    "mnasnet_b1": (
        "ds_r1_k3_s1_e1_c16_nre_noskip ir_r3_k3_s2_e3_c24_nre ir_r3_k5_s2_e3_c40_nre "
        "ir_r3_k5_s2_e6_c80_nre ir_r2_k3_s1_e6_c96_nre ir_r4_k5_s2_e6_c192_nre "
        "ir_r1_k3_s1_e6_c320_nre_noskip",
        _RELU,
    ),
    "mobilenet_v1": (
        "dsa_r1_k3_s1_e1_c64_nre dsa_r2_k3_s2_e1_c128_nre dsa_r2_k3_s2_e1_c256_nre "
        "dsa_r6_k3_s2_e1_c512_nre dsa_r2_k3_s2_e1_c1024_nre",
        {**_RELU, "head_channels": None},
    ),
    "mobilenet_v2": (
        "ds_r1_k3_s1_e1_c16_nr6 ir_r2_k3_s2_e6_c24_nr6 ir_r3_k3_s2_e6_c32_nr6 "
        "ir_r4_k3_s2_e6_c64_nr6 ir_r3_k3_s1_e6_c96_nr6 ir_r3_k3_s2_e6_c160_nr6 "
        "ir_r1_k3_s1_e6_c320_nr6",
        _RELU6,
    ),
    "resnet18": _basic(2, 2, 2, 2),
    "resnet34": _basic(3, 4, 6, 3),
    "resnet50": _bottleneck(3, 4, 6, 3),
    "resnet101": _bottleneck(3, 4, 23, 3),
    "resnet152": _bottleneck(3, 8, 36, 3),
}


def names() -> tuple[str, ...]:
    """Return all names, in the order of the papers' tables."""
    return (*_EFFICIENTNETS, *_LARGER, *_LITE, *_OTHERS)


@functools.cache
def architecture(name: str) -> Architecture:
    """Return the architecture called `name`; raises `UnknownName` if there is none."""
    base = Architecture.from_block_string(_EFFICIENTNET_B0)
    if name in _EFFICIENTNETS:
        return published_family(base, _EFFICIENTNETS)[_EFFICIENTNETS.index(name)]
    if name in _LARGER:
        return published_member(base, _LARGER[name], name=name)
    if name in _LITE:
        return _lite(base, _LITE[name], name)
    if name in _OTHERS:
        text, shared = _OTHERS[name]
        return Architecture.from_block_string(text, name=name, **shared)
    hint = did_you_mean(name, names())
    raise UnknownName(f"architecture must be one of {', '.join(names())}, got {name!r}{hint}")


def _lite(b0: Architecture, coefficients: Coefficients, name: str) -> Architecture:
    """Return B0 with ReLU6 and without squeeze-and-excitation, scaled except for stem, head and
    the repeats of the first and last stages."""
    base = lite(b0)
    scaled = published_member(base, coefficients, name=name)
    stages, (first, *middle, last) = base.stages, scaled.stages
    ends = replace(first, repeats=stages[0].repeats), replace(last, repeats=stages[-1].repeats)
    stages = (ends[0], *middle, ends[1])
    return replace(scaled, stages=stages, stem=base.stem, head_channels=base.head_channels)
