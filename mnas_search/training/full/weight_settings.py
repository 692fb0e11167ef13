"""Batch norm's epsilon and the padding that weights were trained with.

A state dict does not hold them. Where its source is known they are known too:

    timm, efficientnet_* and others     epsilon 1e-5, momentum 0.1, symmetric padding
    timm, tf_*                          epsilon 1e-3, momentum 0.1, TensorFlow's padding
    torchvision, B0 to B4               as timm
    torchvision, B5 to B7               epsilon 1e-3, momentum 0.01, symmetric padding

(`timm/models/efficientnet.py` and `torchvision/models/efficientnet.py`; both call PyTorch's
momentum.) Files that mnas-search wrote say it themselves.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, final

from mnas_search.architecture import Architecture
from mnas_search.errors import InvalidArchitecture
from mnas_search.files import read_json

SOURCES = ("timm", "timm-tf", "torchvision")
_FIELDS = ("bn_eps", "bn_momentum", "padding")
_WIDE_HEAD = 2048  # of B5; torchvision set B5 to B7 otherwise than the smaller ones


@final
@dataclass(frozen=True, slots=True, kw_only=True)
class WeightSettings:
    """What an architecture has to be set to for some weights; fields as in `Architecture`."""

    bn_eps: float
    bn_momentum: float
    padding: str
    source: str

    def of(self, architecture: Architecture) -> Architecture:
        """The architecture with these settings."""
        return replace(architecture, **{name: getattr(self, name) for name in _FIELDS})

    @property
    def text(self) -> str:
        """The settings and where they are from."""
        return (
            f"batch norm's epsilon {self.bn_eps:g} and momentum {self.bn_momentum:g}, "
            f"{self.padding} padding: those of {self.source}"
        )


def of_source(source: str, architecture: Architecture) -> WeightSettings:
    """The settings of all weights of one of `SOURCES`."""
    if source == "timm-tf":
        return WeightSettings(bn_eps=1e-3, bn_momentum=0.1, padding="same", source="timm's tf_*")
    wide = (architecture.head_channels or 0) >= _WIDE_HEAD
    if source == "torchvision" and wide:
        return WeightSettings(bn_eps=1e-3, bn_momentum=0.01, padding="symmetric", source=source)
    return WeightSettings(bn_eps=1e-5, bn_momentum=0.1, padding="symmetric", source=source)


def settings_of(
    file: Path, names: Iterable[str], architecture: Architecture
) -> WeightSettings | None:
    """The settings that a file of weights, or the `config.json` beside it, tells.

    None where nothing is told: the architecture's own are as good as any.
    """
    told = _metadata(file)
    if "bn_eps" in told:
        return _settings(told, "the file")
    config = _config(file.with_name("config.json"))
    name, arguments = str(config.get("architecture", "")), config.get("model_args")
    if isinstance(arguments, dict) and "bn_eps" in arguments:
        padding = arguments.get("pad_type") or "symmetric"
        return _settings({**arguments, "padding": padding}, "its config.json")
    if name and not name.startswith("mnas_"):
        return of_source("timm-tf" if name.startswith("tf_") else "timm", architecture)
    if any(name.startswith("features.") and ".block." in name for name in names):
        return of_source("torchvision", architecture)
    return None


def _settings(told: Mapping[str, Any], source: str) -> WeightSettings | None:
    try:
        found = WeightSettings(
            bn_eps=float(told["bn_eps"]),
            bn_momentum=float(told["bn_momentum"]),
            padding=str(told["padding"]),
            source=source,
        )
        found.of(Architecture.from_block_string("ds_r1_k3_s1_c8"))  # which looks at the values
    except (LookupError, TypeError, ValueError, InvalidArchitecture):
        return None
    return found


def _metadata(file: Path) -> dict[str, str]:
    if file.suffix != ".safetensors":
        return {}
    from safetensors import safe_open

    with safe_open(file, "pt") as opened:
        return dict(opened.metadata() or {})


def _config(path: Path) -> dict[str, Any]:
    try:
        value = read_json(path)
    except (OSError, ValueError):
        return {}
    return value if isinstance(value, dict) else {}
