"""Parameter names of torchvision's networks for ours.

EfficientNet: torchvision numbers the modules of a `Sequential`. `features.0` is the stem,
`features.1` on are the stages, then the head; in a block, `block.0` is the first convolution with
its batch norm (`torchvision/models/efficientnet.py`; checked there on B0, B2 and B4).

ResNet: `conv1` and `bn1` are the stem, `layer1` on the stages, `fc` the classifier; inside a block
names are ours (`torchvision/models/resnet.py`; checked there on ResNet-18, -50 and -152). timm's
ResNets have these names too.

Our names are those of timm's EfficientNet for all networks. Both list layers in order of
execution, with the same shapes.
"""

from collections.abc import Iterable

from mnas_search.architecture.blocks import plan
from mnas_search.architecture.value import Architecture

# Layers of each block kind in the order of its `Sequential`: a convolution and its batch norm
# share an index, squeeze-and-excitation has its own.
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
EFFICIENTNET_KINDS = tuple(_BLOCKS)
RESNET_KINDS = ("basic", "bottleneck")


def is_named(architecture: Architecture) -> bool:
    """Tell whether the network belongs to one of the two families."""
    kinds = {stage.kind for stage in architecture.stages}
    return kinds <= {*EFFICIENTNET_KINDS} or _is_resnet(architecture)


def torchvision_names(
    architecture: Architecture, names: Iterable[str], *, empty_places: bool = True
) -> dict[str, str]:
    """Return torchvision's name for each of ours (`blocks.2.0.conv_pw.weight`).

    Args:
        names: of parameters and buffers.
        empty_places: whether a block without squeeze-and-excitation keeps its index in the
            `Sequential` (as an `Identity`), or later layers move up.

    Raises:
        KeyError: torchvision does not have a block kind.
    """
    if _is_resnet(architecture):
        layers = _of_resnet(architecture)
    else:
        layers = _of_efficientnet(architecture, empty_places=empty_places)
    found = {}
    for name in names:
        path, _, part = name.rpartition(".")
        found[name] = f"{layers[path]}.{part}"
    return found


def _is_resnet(architecture: Architecture) -> bool:
    kinds = {stage.kind for stage in architecture.stages}
    return kinds <= {*RESNET_KINDS} and architecture.head_channels is None


def _of_resnet(architecture: Architecture) -> dict[str, str]:
    layers = {"conv_stem": "conv1", "bn1": "bn1", "classifier": "fc"}
    for s, stage in enumerate(plan(architecture).stages):
        for b, block in enumerate(stage):
            for layer in block.layers:
                layers[f"blocks.{s}.{b}.{layer.path}"] = f"layer{s + 1}.{b}.{layer.path}"
    return layers


def _of_efficientnet(architecture: Architecture, *, empty_places: bool) -> dict[str, str]:
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
