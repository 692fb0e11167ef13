"""Names of parameters in torchvision's EfficientNet, and ours for them: one table, both ways.

torchvision numbers what stands in a `Sequential`: `features.0` is the stem, `features.1` on are
the stages, then the head; in a block, `block.0` is the first convolution with its batch norm.
Ours are timm's. Both list layers in order of execution, with the same shapes
(`torchvision/models/efficientnet.py`; checked there on B0, B2 and B4).
"""

from collections.abc import Iterable

from mnas_search.architecture import Architecture
from mnas_search.blocks import plan

# Layers of each block kind in the order of its `Sequential`: a convolution and its batch norm
# share a number, squeeze-and-excitation has one for itself.
_BLOCKS: dict[str, tuple[tuple[str, ...], ...]] = {
    "ds": (("conv_dw", "bn1"), ("se.conv_reduce", "se.conv_expand"), ("conv_pw", "bn2")),
    "ir": (
        ("conv_pw", "bn1"),
        ("conv_dw", "bn2"),
        ("se.conv_reduce", "se.conv_expand"),
        ("conv_pwl", "bn3"),
    ),
    "er": (("conv_exp", "bn1"), ("conv_pwl", "bn2")),
    "cn": (("conv", "bn1"),),
}
_SQUEEZE = ("fc1", "fc2")
KINDS = tuple(_BLOCKS)


def torchvision_names(
    architecture: Architecture, names: Iterable[str], *, empty_places: bool = True
) -> dict[str, str]:
    """torchvision's name for each of ours (`blocks.2.0.conv_pw.weight`).

    Args:
        names: of parameters and buffers.
        empty_places: whether a block without squeeze-and-excitation keeps its place in the
            `Sequential` (as where an `Identity` stands there), or later layers move up.

    Raises:
        KeyError: a block kind that torchvision does not have.
    """
    layers = _layers(architecture, empty_places=empty_places)
    found = {}
    for name in names:
        path, _, part = name.rpartition(".")
        found[name] = f"{layers[path]}.{part}"
    return found


def _layers(architecture: Architecture, *, empty_places: bool) -> dict[str, str]:
    stages = plan(architecture).stages
    head = len(stages) + 1
    layers = {
        "conv_stem": "features.0.0",
        "bn1": "features.0.1",
        "conv_head": f"features.{head}.0",
        "bn2": f"features.{head}.1",
        "classifier": "classifier.1",
    }
    for s, stage in enumerate(stages):
        for b, block in enumerate(stage):
            place = 0
            for group in _BLOCKS[block.kind]:
                squeeze = group[0].startswith("se.")
                if squeeze and not block.se_channels and not empty_places:
                    continue
                for part, layer in zip(_SQUEEZE if squeeze else ("0", "1"), group, strict=True):
                    layers[f"blocks.{s}.{b}.{layer}"] = (
                        f"features.{s + 1}.{b}.block.{place}.{part}"
                    )
                place += 1
    return layers
