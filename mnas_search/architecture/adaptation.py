"""Adaptation of a network to small images (`adapt`) and to int8 (`lite`).

Networks for 224 pixels halve the side of their maps five times. On small images that would leave
maps of 1x1, on which a 5x5 kernel equals a 3x3 one: below 128 pixels, strides are dropped until
the last map is at least 4x4. Those of the first stages are dropped first and the stem's last, so
that timm, torchvision and Hugging Face, whose stems have stride 2, can express the network.
"""

from dataclasses import replace

from mnas_search.architecture.blocks.arithmetic import strided
from mnas_search.architecture.value import Architecture

LITE = "_lite"  # after the name of a network that `lite` has changed
MIN_MAP_SIZE = 4
FULL_STRIDES = 128  # pixels from which all strides are kept


def adapt(architecture: Architecture, resolution: int) -> Architecture:
    """Set the resolution, and drop the strides for which its images are too small.

        adapt(reference.architecture("efficientnet_b0"), 32)  # maps 16 16 16 16 8 8 4 4

    Strides are dropped one after the other until the last map is at least 4x4: those of the
    stages, the first stage's first, then the pooling of the stem, then its stride. From 128
    pixels on, all are kept.
    """
    stem, stages = architecture.stem, list(architecture.stages)
    strides, excess = halvings(architecture), 0
    if resolution < FULL_STRIDES:
        while excess < strides and strided(resolution, 2 ** (strides - excess)) < MIN_MAP_SIZE:
            excess += 1
    for index, stage in enumerate(stages):
        if excess and stage.stride == 2:
            stages[index] = replace(stage, stride=1)
            excess -= 1
    if excess and stem.pool:
        stem = replace(stem, pool=False)
        excess -= 1
    if excess:
        stem = replace(stem, stride=1)
    return replace(architecture, stem=stem, stages=tuple(stages), resolution=resolution)


def halvings(architecture: Architecture) -> int:
    """Count the strides of 2: how often a network halves the side of its maps."""
    stem = (architecture.stem.stride == 2) + architecture.stem.pool
    return stem + sum(stage.stride == 2 for stage in architecture.stages)


def lite(architecture: Architecture) -> Architecture:
    """Replace all activations by ReLU6 and remove squeeze-and-excitation, as EfficientNet-Lite
    does: bounded activations lose less when they are quantised to int8.

    A network that changes is called `NAME_lite`, before the words that tables print after a name.
    """
    stages = tuple(replace(stage, se_ratio=0, activation="relu6") for stage in architecture.stages)
    changed = replace(architecture, stages=stages, activation="relu6")
    if changed == architecture or architecture.name is None:
        return changed
    name, *words = architecture.name.split(" ")
    return replace(changed, name=" ".join([f"{name}{LITE}", *words]))
