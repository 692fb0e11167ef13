"""A folder for the Hugging Face Hub and timm's loader.

timm builds a network from `config.json`: the name of an architecture in its registry, with
arguments in plain JSON, none of which are block strings. The folder of any other network therefore
contains `model.py`, which registers it.
"""

import json
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, ClassVar, final

from torch import Tensor, nn

from mnas_search.architecture import published
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import WorkFailed
from mnas_search.common.extras import can_import
from mnas_search.export.base import Origin, RecordsOrigin, torch_runtime
from mnas_search.export.timm.block_args import timm_block_args
from mnas_search.export.timm.model import (
    WEIGHTS,
    build_written,
    entry_point,
    executed,
    preprocessing,
    timm_caveats,
    timm_source,
    write_compared,
)
from mnas_search.export.timm.model_card import model_card
from mnas_search.export.weights import UNTRAINED

_NOT_RUN = (
    "so the folder was not loaded by timm: a network built from its block strings was compared "
    "with the weights in the folder"
)
_LOAD = """\
import timm
import torch

if (HERE / "model.py").exists():
    import model  # registers the network
NETWORK = timm.create_model(f"local-dir:{HERE}", pretrained=True).eval()"""
_IN_TIMM = {
    **{f"efficientnet_b{i}": f"efficientnet_b{i}" for i in range(8)},
    **{f"efficientnet_lite{i}": f"efficientnet_lite{i}" for i in range(5)},
    "mnasnet_a1": "semnasnet_100",
    "mnasnet_b1": "mnasnet_100",
    "mobilenet_v1": "mobilenetv1_100",
    "mobilenet_v2": "mobilenetv2_100",
}


@final
@dataclass(frozen=True, slots=True)
class HuggingFaceExporter(RecordsOrigin):
    """Writes `config.json`, `model.safetensors`, the model card `README.md`, and `model.py` unless
    timm has the network by name."""

    runtime: ClassVar[str | None] = torch_runtime(_LOAD)

    def caveats(self) -> tuple[str, ...]:
        """Say if timm was not available to run."""
        return timm_caveats(_NOT_RUN)

    def export(
        self, architecture: Architecture, weights: dict[str, Tensor] | None, path: Path
    ) -> tuple[Path, ...]:
        """Write the files, load the folder by timm and compare; on failure no file remains."""
        block_args = timm_block_args(architecture)
        name = timm_name(architecture)
        origin = self.origin if self.origin is not None else Origin(weights=UNTRAINED)
        source = timm_source(architecture, block_args, origin)
        texts = {
            "config.json": json.dumps(_config(architecture, origin), indent=2) + "\n",
            "README.md": model_card(architecture, origin, registered=name is None),
        }
        if name is None:
            texts["model.py"] = source

        def load(folder: Path) -> nn.Module:
            return _written(architecture, block_args, source, folder)

        return write_compared(architecture, weights, path, texts, load)


def timm_name(architecture: Architecture) -> str | None:
    """Return timm's name of the network, apart from its settings; None if it has none."""
    own = ("num_classes", "resolution", "bn_eps", "bn_momentum", "padding")
    for name, theirs in _IN_TIMM.items():
        known = published.architecture(name)
        shared = replace(known, **{n: getattr(architecture, n) for n in own})
        if shared.fingerprint == architecture.fingerprint:
            return theirs
    return None


def _config(architecture: Architecture, origin: Origin) -> dict[str, Any]:
    images = preprocessing(architecture, origin)
    name = timm_name(architecture)
    arguments: dict[str, Any] = {}
    if name is not None:
        arguments = {
            "act_layer": architecture.activation,
            "bn_eps": architecture.bn_eps,
            "bn_momentum": architecture.bn_momentum,
            "drop_rate": architecture.dropout_rate,
            "drop_path_rate": architecture.stochastic_depth_rate,
        }
        if architecture.padding == "same":
            arguments["pad_type"] = "same"
    side = architecture.resolution
    config: dict[str, Any] = {
        "architecture": entry_point(architecture) if name is None else name,
        "num_classes": architecture.num_classes,
        "model_args": arguments,
        "pretrained_cfg": {
            "tag": "mnas_search",
            "custom_load": False,
            "input_size": [3, side, side],
            "fixed_input_size": False,
            "interpolation": images.interpolation,
            "crop_pct": images.crop,
            "crop_mode": "center",
            "mean": list(images.mean),
            "std": list(images.std),
            "num_classes": architecture.num_classes,
            "first_conv": "conv_stem",
            "classifier": "classifier",
        },
    }
    if len(origin.class_names) == architecture.num_classes:
        config["label_names"] = list(origin.class_names)
    return config


def _written(
    architecture: Architecture, block_args: tuple[str, ...], source: str, folder: Path
) -> nn.Module:
    """Load the network of the written folder by timm."""
    if not can_import("timm"):
        from safetensors.torch import load_file

        written = build_written(architecture, block_args, source)
        written.load_state_dict(load_file(folder / WEIGHTS))
        return written
    import timm

    if (folder / "model.py").exists():
        executed(source, entry_point(architecture))
    try:
        network: nn.Module = timm.create_model(f"local-dir:{folder}", pretrained=True)
    except Exception as error:
        raise WorkFailed(f"the installed timm cannot load the exported folder: {error}") from error
    return network.eval()
