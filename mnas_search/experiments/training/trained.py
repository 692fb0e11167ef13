"""Trained networks: an architecture with weights, and how images are prepared for it.

A training writes the names of its classes and the preprocessing of its images beside the weights
(`weights.json`). For other weights the classes are numbered, the resolution is the architecture's,
and the normalisation ImageNet's.
"""

import shlex
from dataclasses import dataclass, replace
from pathlib import Path
from typing import final

import numpy as np
import torch
from torch import Tensor, nn

from mnas_search.architecture.cost.memory import check_room
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import UsageError
from mnas_search.common.folders import read_training
from mnas_search.data import Split
from mnas_search.data.decode import Pixels
from mnas_search.data.preprocessing import IMAGENET, Preprocessing
from mnas_search.experiments.resolve import is_path, resolve_architecture
from mnas_search.export.provenance import Description, read_description
from mnas_search.networks import build
from mnas_search.networks.weights import loading as weights
from mnas_search.networks.weights import sources
from mnas_search.networks.weights.settings import find_settings
from mnas_search.training.loop import Images


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainedNetwork:
    """A trained network, in evaluation mode on the CPU.

    Attributes:
        label: the name of its folder or file, else the architecture's.
        architecture: with the classes of the weights, at their resolution.
        class_names: in the order of the logits; empty where they are not known.
        preprocessing: of the images that it is tested on.
        notes: sentences on what had to be assumed.
    """

    label: str
    architecture: Architecture
    network: nn.Module
    class_names: tuple[str, ...]
    preprocessing: Preprocessing
    notes: tuple[str, ...]


def prepare(preprocessing: Preprocessing, pixels: Pixels) -> Tensor:
    """Return images uint8 [N, R, R, 3] as a network takes them, float [N, 3, R, R]."""
    images = Images(
        Split(images=pixels, labels=np.zeros(len(pixels), np.int64)),
        resolution=preprocessing.size,
        normalisation=preprocessing.normalisation,
        flips=False,
    )
    return images.normalise(images.batch(slice(None)))


def load_trained(
    text: str, source: str | None = None, weights_of: str | None = None
) -> TrainedNetwork:
    """Return the network of `text`, with the weights of a file or folder.

    Args:
        text: an architecture in any form, or the folder of a training, which has weights.
        source: of the weights; None for those of the training.
        weights_of: see `TrainingConfig`.

    Raises:
        UsageError: there are no weights, they do not fit, or they are untrained.
    """
    architecture = resolve_architecture(text)
    if source is None and not (is_path(text) and Path(text).is_dir()):
        raise UsageError(
            f"{text!r} has no weights; it requires --weights (or ARCH=WEIGHTS) with a "
            "safetensors file, a torch file or the folder of a training, or such a folder as ARCH"
        )
    path = Path(text if source is None else source)
    found = sources.read(path)
    file = sources.weights_file(path)
    told = _description(file, architecture.resolution)
    classes = weights.count_classes(found)
    if classes is None:
        raise UsageError(f"the weights of {str(path)!r} must have a classifier")
    resolution = told.resolution or architecture.resolution
    architecture = replace(architecture, num_classes=classes, resolution=resolution)
    settings = find_settings(file, found, weights_of)
    notes = []
    if settings is not None and (applied := settings.apply_to(architecture)) != architecture:
        architecture = applied
        notes.append(f"{architecture.label}: {settings.text}")
    fitted = weights.fit(found, architecture)
    if fitted.new:
        raise UsageError(
            f"the weights of {str(path)!r} have no {' and '.join(fitted.new)} of "
            f"{architecture.label!r}; they must be those of the whole network"
        )
    if weights.has_initial_statistics(fitted.weights):
        raise UsageError(
            f"the weights of {str(path)!r} are untrained: no batch norm has seen an image; "
            "they must be those of a training"
        )
    check_room(architecture, copies=2, batch_size=1)
    with torch.random.fork_rng(devices=[]):
        network = build(architecture)
    network.load_state_dict(network.state_dict() | fitted.weights)
    if told.preprocessing is None:
        notes.append(
            f"{path} does not say how its images were normalised: ImageNet's mean and deviation "
            "are taken"
        )
    return TrainedNetwork(
        label=_label(text, architecture),
        architecture=architecture,
        network=network.eval(),
        class_names=told.class_names if len(told.class_names) == classes else (),
        preprocessing=told.preprocessing
        or Preprocessing(mean=IMAGENET.mean, std=IMAGENET.std, size=resolution),
        notes=tuple(notes),
    )


def _label(text: str, architecture: Architecture) -> str:
    """Return the name of a folder or file, which tells trainings of one network apart."""
    if not is_path(text):
        return architecture.label
    path = Path(text).resolve()
    return path.name if path.is_dir() else path.stem


def _description(file: Path, resolution: int) -> Description:
    """Read what the files beside a file of weights say of it."""
    if read_training(file.parent) is None:
        named = file.stem in ("weights", "model")  # as exports name theirs
        return read_description(file.parent, resolution) if named else Description()
    found = read_description(file.parent / "export", resolution)  # of its checkpoint
    if found == Description():
        raise UsageError(
            f"the training {str(file.parent)!r} has not ended; it must have (mnas-search resume "
            f"{shlex.quote(str(file.parent))})"
        )
    return found
