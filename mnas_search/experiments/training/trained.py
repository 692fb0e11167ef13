"""Trained networks: an architecture with weights, and how images are prepared for it.

A training writes the names of its classes, the resolution and the normalisation of its images
beside the weights (`weights.json`). For other weights the classes are numbered, the resolution is
the architecture's, and the normalisation ImageNet's.
"""

import math
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

import numpy as np
import torch
from torch import Tensor, nn

from mnas_search.architecture.cost.memory import check_room
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import UsageError
from mnas_search.common.files import read_json
from mnas_search.common.folders import read_training
from mnas_search.data import Split
from mnas_search.data.decode import Pixels
from mnas_search.experiments.resolve import is_path, resolve_architecture
from mnas_search.experiments.training.settings import IMAGENET
from mnas_search.networks import build
from mnas_search.networks.weights import loading as weights
from mnas_search.networks.weights import sources
from mnas_search.networks.weights.settings import find_settings
from mnas_search.training.loop import Images, Normalisation

_MAX_NAME = 1_000  # of a class; ImageNet's have up to 121 characters


@final
@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainedNetwork:
    """A trained network, in evaluation mode on the CPU.

    Attributes:
        label: the name of its folder or file, else the architecture's.
        architecture: with the classes of the weights, at their resolution.
        class_names: in the order of the logits; empty where they are not known.
        notes: sentences on what had to be assumed.
    """

    label: str
    architecture: Architecture
    network: nn.Module
    class_names: tuple[str, ...]
    normalisation: Normalisation
    notes: tuple[str, ...]

    def prepared(self, pixels: Pixels) -> Tensor:
        """Return an image uint8 [R, R, 3] as the network takes it, [1, 3, R, R]."""
        split = Split(images=pixels[None], labels=np.zeros(1, np.int64))
        side, normalisation = self.architecture.resolution, self.normalisation
        images = Images(split, resolution=side, normalisation=normalisation, flips=False)
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
    words = _metadata(file)
    classes = weights.count_classes(found)
    if classes is None:
        raise UsageError(f"the weights of {str(path)!r} must have a classifier")
    resolution = words.resolution or architecture.resolution
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
    if words.normalisation is None:
        notes.append(
            f"{path} does not say how its images were normalised: ImageNet's mean and deviation "
            "are taken"
        )
    return TrainedNetwork(
        label=_label(text, architecture),
        architecture=architecture,
        network=network.eval(),
        class_names=words.class_names if len(words.class_names) == classes else (),
        normalisation=words.normalisation or IMAGENET,
        notes=tuple(notes),
    )


def _label(text: str, architecture: Architecture) -> str:
    """Return the name of a folder or file, which tells trainings of one network apart."""
    if not is_path(text):
        return architecture.label
    path = Path(text).resolve()
    return path.name if path.is_dir() else path.stem


@dataclass(frozen=True, slots=True, kw_only=True)
class _Metadata:
    """The contents of weights.json; empty or None for what is missing."""

    normalisation: Normalisation | None = None
    class_names: tuple[str, ...] = ()
    resolution: int | None = None


def _metadata(file: Path) -> _Metadata:
    """Read the weights.json that belongs to a file of weights."""
    beside = file.with_name("weights.json")
    if training := read_training(file.parent) is not None:  # the file is its checkpoint
        beside = file.parent / "export" / "weights.json"
    elif file.stem != "weights":
        return _Metadata()
    try:
        value = read_json(beside)
    except FileNotFoundError:
        if training:
            raise UsageError(
                f"the training {str(file.parent)!r} has not ended; it must have "
                f"(mnas-search resume {file.parent})"
            ) from None
        return _Metadata()
    except (OSError, ValueError) as error:
        raise UsageError(f"{str(beside)!r} cannot be read: {error}") from None
    if not isinstance(value, dict):
        raise UsageError(f"{str(beside)!r} must hold a JSON object, as a training writes it")
    try:
        return _Metadata(
            normalisation=_normalisation(value.get("normalisation")),
            class_names=_names(value.get("class_names")),
            resolution=value.get("resolution"),
        )
    except (LookupError, TypeError, ValueError, OverflowError) as error:
        raise UsageError(f"{str(beside)!r} is not what a training writes: {error}") from None


def _names(value: Any) -> tuple[str, ...]:
    value = [] if value is None else value
    if not isinstance(value, list) or not all(isinstance(name, str) for name in value):
        raise ValueError(f"class_names must be a list of texts, got {ascii(value)[:80]}")
    longest = max(value, key=len, default="")
    if len(longest) > _MAX_NAME:
        raise ValueError(
            f"class name {longest[:40]!r} must have at most {_MAX_NAME:,} characters, got "
            f"{len(longest):,}"
        )
    return tuple(value)


def _normalisation(value: Any) -> Normalisation | None:
    if value is None:
        return None
    mean, std = ([float(x) for x in value[name]] for name in ("mean", "std"))
    if len(mean) != 3 or len(std) != 3 or not all(math.isfinite(x) for x in (*mean, *std)):
        raise ValueError(f"normalisation must be three means and deviations, got {value!r}")
    if min(std) <= 0:
        raise ValueError(f"deviations must be above 0, got {std!r}")
    return Normalisation(mean=(mean[0], mean[1], mean[2]), std=(std[0], std[1], std[2]))
