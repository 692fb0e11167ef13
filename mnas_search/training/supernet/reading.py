"""Reading networks of a supernet: their cross-entropy with its weights."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor
from torch.nn import functional as F

from mnas_search.architecture.value import Architecture
from mnas_search.common.machine import one_thread
from mnas_search.networks.supernet import Supernet
from mnas_search.training.loop import mixed_precision

_BATCH = 512  # images, at most


@dataclass(frozen=True, slots=True, kw_only=True)
class Reading:
    """What a network measures with the weights of a supernet.

    Attributes:
        cross_entropy: mean over the images, in nats; ranks better than the accuracy, which hardly
            differs between networks that are far from trained.
        accuracy: share of the images classified correctly.
    """

    cross_entropy: float
    accuracy: float


def read_supernet(
    supernet: Supernet, architectures: Sequence[Architecture], images: Tensor, labels: Tensor
) -> list[Reading]:
    """Read networks of the supernet's space.

        images, labels = reading_images(data, recipe)
        readings = read_supernet(supernet, networks, images, labels)

    Args:
        images: normalised [N, 3, R, R], in random order; batch norms take the statistics of each
            batch of up to 512 of them.
        labels: [N].
    """
    batches = math.ceil(len(labels) / _BATCH)
    images = images.contiguous(memory_format=torch.channels_last)
    parts = list(zip(images.tensor_split(batches), labels.tensor_split(batches), strict=True))
    readings = []
    with one_thread(), torch.inference_mode(), mixed_precision(images.device):
        for architecture in architectures:
            losses, correct = [], []
            for some, theirs in parts:
                logits = supernet.logits(architecture, some).float()
                losses.append(F.cross_entropy(logits, theirs, reduction="sum"))
                correct.append((logits.argmax(1) == theirs).sum())
            readings.append(
                Reading(
                    cross_entropy=float(sum(losses)) / len(labels),
                    accuracy=int(sum(correct)) / len(labels),
                )
            )
    return readings
