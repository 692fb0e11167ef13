"""A timm model: block strings, a `model.py` that registers it, weights under timm's names."""

import re
import sys
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar, final

from safetensors.torch import load_file
from torch import Tensor, nn

from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import WorkFailed
from mnas_search.common.extras import can_import, describe_missing
from mnas_search.common.files import atomic_directory, write_atomically
from mnas_search.data.preprocessing import IMAGENET, Preprocessing
from mnas_search.export.base import Origin, RecordsOrigin, torch_runtime
from mnas_search.export.comparison import compare_module, images_for
from mnas_search.export.model_py.model_source import comment
from mnas_search.export.timm.block_args import parse_block_args, timm_block_args
from mnas_search.export.weights import build_with_weights, safetensors
from mnas_search.networks import build

EXTRA = "'mnas-search[timm]'"
WEIGHTS = "model.safetensors"
_CROP = 0.875  # timm's default, for weights of unknown preprocessing
_LOAD = """\
import model
import timm
import torch

(NAME,) = model.default_cfgs
NETWORK = timm.create_model(NAME, pretrained=True).eval()"""


@final
@dataclass(frozen=True, slots=True)
class TimmExporter(RecordsOrigin):
    """Writes `blocks.txt`, `model.py` and `model.safetensors`."""

    runtime: ClassVar[str | None] = torch_runtime(_LOAD)

    def caveats(self) -> tuple[str, ...]:
        """Say if timm was not available to run."""
        return timm_caveats(
            "so model.py was not run: a network built from its block strings was compared"
        )

    def export(
        self, architecture: Architecture, weights: dict[str, Tensor] | None, path: Path
    ) -> tuple[Path, ...]:
        """Build the network by timm, compare it, and write the three files."""
        block_args = timm_block_args(architecture)
        source = timm_source(architecture, block_args, self.origin)
        texts = {"blocks.txt": "\n".join(block_args) + "\n", "model.py": source}

        def load(folder: Path) -> nn.Module:
            written = build_written(architecture, block_args, source)
            written.load_state_dict(load_file(folder / WEIGHTS))
            return written

        return write_compared(architecture, weights, path, texts, load)


def timm_caveats(consequence: str) -> tuple[str, ...]:
    """Say that timm was not available to run, and the consequence."""
    missing = describe_missing("timm", EXTRA)
    return () if can_import("timm") else (f"{missing}, {consequence}",)


def write_compared(
    architecture: Architecture,
    weights: dict[str, Tensor] | None,
    path: Path,
    texts: dict[str, str],
    load: Callable[[Path], nn.Module],
) -> tuple[Path, ...]:
    """Write texts by name and `model.safetensors`, load the folder, and compare; on failure no
    file remains."""
    network = build_with_weights(architecture, weights)
    with atomic_directory(path) as folder:
        for name, text in texts.items():
            write_atomically(folder / name, text)
        write_atomically(folder / WEIGHTS, safetensors(network.state_dict(), architecture))
        images = images_for(architecture, any_size=True)
        compare_module(network, load(folder), images, trained=weights is not None)
    return tuple(path / name for name in (*texts, WEIGHTS))


def entry_point(architecture: Architecture) -> str:
    """Return the name in timm's registry, with a prefix that timm's own names do not have."""
    label = architecture.fingerprint if architecture.name is None else architecture.name
    return "mnas_" + re.sub(r"[^a-z0-9]+", "_", label.lower()).strip("_")


def build_written(
    architecture: Architecture, block_args: tuple[str, ...], source: str
) -> nn.Module:
    """Build the network by timm; without timm, our network of the block arguments."""
    if can_import("timm"):
        network: nn.Module = executed(source, entry_point(architecture))()
        return network.eval()
    stages = parse_block_args(block_args, architecture.activation)
    fields = ("stem", "head_channels", "activation", "resolution", "num_classes", "bn_eps")
    shared = {name: getattr(architecture, name) for name in (*fields, "padding")}
    return build(Architecture(stages=stages, **shared)).eval()


def executed(source: str, name: str) -> Any:
    """Execute source and return its function `name`; timm looks the module up in sys.modules."""
    module = ModuleType("_mnas_search_exported")
    module.__file__ = "model.py"
    sys.modules[module.__name__] = module
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Overwriting mnas_")  # of an earlier export
            exec(compile(source, "model.py", "exec"), module.__dict__)
        return getattr(module, name)
    except (AttributeError, ImportError, TypeError) as error:
        raise WorkFailed(
            f"the installed timm cannot run the exported model.py: {error}"
        ) from error
    finally:
        del sys.modules[module.__name__]


def timm_source(
    architecture: Architecture, block_args: tuple[str, ...], origin: Origin | None
) -> str:
    """Return the text of `model.py`."""
    counted = cost(architecture)
    images = preprocessing(architecture, origin)
    return _TEMPLATE.format(
        name=comment(architecture.label),
        params=f"{counted.params:,}",
        macs=f"{counted.macs:,}",
        entry=entry_point(architecture),
        words="\n".join(f'    "{word}",' for word in block_args),
        settings="\n".join(f"        {line}," for line in settings(architecture)),
        resolution=architecture.resolution,
        classes=architecture.num_classes,
        interpolation=images.interpolation,
        crop=images.crop,
        mean=images.mean,
        std=images.std,
    )


def preprocessing(architecture: Architecture, origin: Origin | None) -> Preprocessing:
    """Return the preprocessing of the origin, else timm's default."""
    if origin is not None and origin.preprocessing is not None:
        return origin.preprocessing
    size = architecture.resolution
    return Preprocessing(mean=IMAGENET.mean, std=IMAGENET.std, size=size, crop=_CROP)


def settings(architecture: Architecture) -> list[str]:
    """Return the other arguments of timm's builder, as Python source."""
    stem = architecture.stem
    lines = [f"stem_size={stem.channels}"]
    if stem.kernel != 3:
        lines.append(f"stem_kernel_size={stem.kernel}")
    stride = 2 * 2 ** sum(stage.stride == 2 for stage in architecture.stages)
    if stride > 32:
        lines.append(f"output_stride={stride}")  # beyond 32 timm would dilate instead
    if architecture.padding == "same":
        lines.append('pad_type="same"')
    return [
        *lines,
        f"num_features={architecture.head_channels or 0}",
        "round_chs_fn=int",  # keep widths
        f'act_layer="{architecture.activation}"',
        f"norm_layer=partial(nn.BatchNorm2d, eps={architecture.bn_eps!r}, "
        f"momentum={architecture.bn_momentum!r})",
        f"drop_rate={architecture.dropout_rate:g}",
        f"drop_path_rate={architecture.stochastic_depth_rate:g}",
    ]


_TEMPLATE = '''\
"""{name} as a timm model.

{params} parameters, {macs} multiply-adds at {resolution}x{resolution}. Written by mnas-search;
needs timm. Importing this file registers the model:

    import timm, model
    network = timm.create_model("{entry}", pretrained=True)
"""

from functools import partial
from pathlib import Path

from timm.models import register_model
from timm.models._efficientnet_builder import decode_arch_def
from timm.models.efficientnet import _create_effnet
from torch import nn

BLOCKS = [
{words}
]

default_cfgs = {{
    "{entry}": {{
        "file": str(Path(__file__).with_name("model.safetensors")),
        "num_classes": {classes},
        "input_size": (3, {resolution}, {resolution}),
        "interpolation": "{interpolation}",
        "crop_pct": {crop},
        "mean": {mean},
        "std": {std},
        "first_conv": "conv_stem",
        "classifier": "classifier",
    }}
}}


@register_model
def {entry}(pretrained=False, **kwargs):
    """Images [N, 3, {resolution}, {resolution}] to {classes} logits."""
    settings = dict(
        block_args=decode_arch_def([[word] for word in BLOCKS]),
{settings}
    )
    return _create_effnet("{entry}", pretrained, **(settings | kwargs))
'''
