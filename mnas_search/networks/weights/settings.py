"""Batch norm's epsilon and momentum, and the padding, that weights were trained with.

A state dict does not contain them, but its source determines them:

    timm, efficientnet_* and others     epsilon 1e-5, momentum 0.1, symmetric padding
    timm, tf_*                          epsilon 1e-3, momentum 0.1, TensorFlow's padding
    torchvision, B0 to B4               as timm
    torchvision, B5 to B7               epsilon 1e-3, momentum 0.01, symmetric padding
    torchvision, MnasNet                epsilon 1e-5, momentum 3e-4, symmetric padding
    torchvision, ResNet, MobileNetV2    as timm
    EfficientNet-PyTorch, Lite          epsilon 1e-3, momentum 0.01, TensorFlow's padding

(`timm/models/efficientnet.py`, `torchvision/models/efficientnet.py`, `mnasnet.py`, `resnet.py`,
`mobilenetv2.py` and lukemelas/EfficientNet-PyTorch; all in PyTorch's sense of momentum.) Files of
mnas-search contain them. `train --init`, `export --weights` and `explain --weights` use this
module.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

from torch import Tensor

from mnas_search.architecture.value import Architecture
from mnas_search.common.checks import check_choice
from mnas_search.common.errors import InvalidArchitecture
from mnas_search.common.files import read_json
from mnas_search.common.folders import read_training
from mnas_search.networks.weights import metadata
from mnas_search.networks.weights.reading import BEST

SOURCES = ("timm", "timm-tf", "torchvision")
_FIELDS = ("bn_eps", "bn_momentum", "padding")
_B5_HEAD = 2048  # head channels; torchvision's settings differ from B5 on
# Names in timm; exports named mnas_* contain their settings.
_TIMM = re.compile(r"(?!mnas_)[\w.-]{1,80}")
# torchvision's parameter names.
_EFFICIENTNET = re.compile(r"features\.\d+\.\d+\.block\.")
_MNASNET = re.compile(r"layers\.\d+\.\d+\.layers\.")
# MobileNetV2 and ResNet; timm's ResNets have the same names and settings.
_OTHERS = re.compile(r"features\.\d+\.conv\.|layer1\.0\.conv1\.")
# lukemelas/EfficientNet-PyTorch and ml-illustrated/EfficientNet-Lite-PyTorch.
_EFFICIENTNET_PYTORCH = re.compile(r"_blocks\.\d+\._depthwise_conv\.")


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class WeightSettings:
    """The settings of an architecture that weights require; fields as in `Architecture`.

    Raises:
        InvalidArchitecture: a value is not valid in an architecture.
    """

    bn_eps: float
    bn_momentum: float
    padding: str
    source: str

    def __post_init__(self) -> None:
        self.apply_to(Architecture.from_block_string("ds_r1_k3_s1_c8"))  # validates the values

    def apply_to(self, architecture: Architecture) -> Architecture:
        """Return the architecture with these settings."""
        return replace(architecture, **{name: getattr(self, name) for name in _FIELDS})

    @property
    def text(self) -> str:
        """The settings and their source, as text."""
        return (
            f"batch norm's epsilon {self.bn_eps:g} and momentum {self.bn_momentum:g}, "
            f"{self.padding} padding: those of {self.source}"
        )


def find_settings(
    file: Path, weights: Mapping[str, Tensor], weights_of: str | None = None
) -> WeightSettings | None:
    """Find the settings that weights were trained with.

    In order: those of `weights_of`; of the file, or `weights.safetensors`, `config.json` or a
    training beside it; of the library whose names the parameters have. None if unknown.

    Args:
        file: the file of the weights.
        weights: its content.
        weights_of: one of `SOURCES`, given by the user.
    """
    if weights_of is not None:
        check_choice("weights_of", weights_of, SOURCES)
        return _of_source(weights_of, weights)
    told = _metadata(file)
    if "bn_eps" in told:
        return _settings(told, "the file")
    if file.name == BEST and (training := read_training(file.parent)) is not None:
        trained = training.get("architecture")
        return _settings(trained, "its training") if isinstance(trained, dict) else None
    config = _config(file.with_name("config.json"))
    name, arguments = config.get("architecture"), config.get("model_args")
    if isinstance(arguments, dict) and "bn_eps" in arguments:
        padding = arguments.get("pad_type") or "symmetric"
        return _settings({**arguments, "padding": padding}, "its config.json")
    if isinstance(name, str) and _TIMM.fullmatch(name):
        source = "timm-tf" if name.startswith("tf_") else "timm"
        return replace(_of_source(source, weights), source=f"timm's {name}")
    if any(_has(weights, names) for names in (_EFFICIENTNET, _MNASNET, _OTHERS)):
        return _of_source("torchvision", weights)
    if _has(weights, _EFFICIENTNET_PYTORCH):
        return WeightSettings(
            bn_eps=1e-3, bn_momentum=0.01, padding="same", source="EfficientNet-PyTorch"
        )
    return None


def _of_source(source: str, weights: Mapping[str, Tensor]) -> WeightSettings:
    """Return the settings of one of `SOURCES`."""
    if source == "timm-tf":
        return WeightSettings(bn_eps=1e-3, bn_momentum=0.1, padding="same", source="timm's tf_*")
    eps, momentum = 1e-5, 0.1
    if source == "torchvision" and _has(weights, _EFFICIENTNET):
        head = weights.get("classifier.1.weight")
        if head is not None and head.ndim == 2 and head.shape[1] >= _B5_HEAD:
            eps, momentum, source = 1e-3, 0.01, "torchvision's B5 to B7"
    if source == "torchvision" and _has(weights, _MNASNET):
        momentum, source = 3e-4, "torchvision's MnasNet"
    return WeightSettings(bn_eps=eps, bn_momentum=momentum, padding="symmetric", source=source)


def _has(weights: Mapping[str, Tensor], names: re.Pattern[str]) -> bool:
    return any(names.match(name) for name in weights)


def _settings(told: Mapping[str, Any], source: str) -> WeightSettings | None:
    try:
        return WeightSettings(
            bn_eps=float(told["bn_eps"]),
            bn_momentum=float(told["bn_momentum"]),
            padding=str(told["padding"]),
            source=source,
        )
    except (LookupError, TypeError, ValueError, InvalidArchitecture):
        return None


def _metadata(file: Path) -> dict[str, str]:
    """Read the metadata of a safetensors file, or of the one that exports write beside
    `weights.pt`."""
    if file.name == "weights.pt":
        file = file.with_suffix(".safetensors")
    if file.suffix != ".safetensors":
        return {}
    return metadata.read(file)


def _config(path: Path) -> dict[str, Any]:
    try:
        value = read_json(path)
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
