"""A timm model: block strings, a `model.py` that registers it, weights under timm's names."""

import re
import sys
import warnings
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, final

from torch import Tensor, nn

from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import WorkFailed
from mnas_search.common.extras import can_import, describe_missing
from mnas_search.common.files import write_atomically
from mnas_search.export.base import Exporter, Origin
from mnas_search.export.comparison import compare, images_for
from mnas_search.export.model_py.model_source import comment
from mnas_search.export.timm.block_args import parse_block_args, timm_block_args
from mnas_search.export.weights import build_with_weights, safetensors
from mnas_search.networks import build

EXTRA = "'mnas-search[timm]'"
_NOT_RUN = "so that model.py was not run: its block strings were read back and compared"
IMAGENET = ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))  # what timm takes where nothing is said


@final
@dataclass(frozen=True, slots=True)
class TimmExporter(Exporter):
    """`blocks.txt`, `model.py` and `model.safetensors`."""

    origin: Origin | None = None

    def about(self, origin: Origin) -> "TimmExporter":
        """The same, with the normalisation of inputs for timm's configuration."""
        return TimmExporter(origin)

    def caveats(self) -> tuple[str, ...]:
        """That timm itself was not there to run."""
        return () if can_import("timm") else (f"{describe_missing('timm', EXTRA)}, {_NOT_RUN}",)

    def export(
        self, architecture: Architecture, weights: dict[str, Tensor] | None, path: Path
    ) -> tuple[Path, ...]:
        """Write the three files, after timm has built the network from them."""
        words = timm_block_args(architecture)
        network = build_with_weights(architecture, weights)
        source = timm_source(architecture, words, self.origin)
        content = safetensors(network.state_dict(), architecture)
        written = build_written(architecture, words, source)

        def run(images: Tensor, other: dict[str, Tensor] | None) -> Tensor:
            from safetensors.torch import load

            written.load_state_dict(load(content) if other is None else other)
            logits: Tensor = written(images)
            return logits

        images = images_for(architecture, any_size=True)
        compare(network, run, images, trained=weights is not None)
        return (
            write_atomically(path / "blocks.txt", "\n".join(words) + "\n"),
            write_atomically(path / "model.py", source),
            write_atomically(path / "model.safetensors", content),
        )


def entry_point(architecture: Architecture) -> str:
    """What the model is called in timm's registry; no name of timm's own begins so."""
    label = architecture.fingerprint if architecture.name is None else architecture.name
    return "mnas_" + re.sub(r"[^a-z0-9]+", "_", label.lower()).strip("_")


def build_written(architecture: Architecture, words: tuple[str, ...], source: str) -> nn.Module:
    """What timm makes of `model.py`; without timm, our own network of the words read back."""
    if can_import("timm"):
        network: nn.Module = executed(source, entry_point(architecture))()
        return network.eval()
    stages = parse_block_args(words, architecture.activation)
    fields = ("stem", "head_channels", "activation", "resolution", "num_classes", "bn_eps")
    shared = {name: getattr(architecture, name) for name in (*fields, "padding")}
    return build(Architecture(stages=stages, **shared)).eval()


def executed(source: str, name: str) -> Any:
    """The function `name` of a module of this text; timm looks the module up by its name."""
    module = ModuleType("_mnas_search_exported")
    module.__file__ = "model.py"
    sys.modules[module.__name__] = module
    try:
        with warnings.catch_warnings():
            warnings.filterwarnings("ignore", "Overwriting mnas_")  # of an export before
            exec(compile(source, "model.py", "exec"), module.__dict__)
        return getattr(module, name)
    except (AttributeError, ImportError, TypeError) as error:
        raise WorkFailed(
            f"the installed timm cannot run the exported model.py: {error}"
        ) from error
    finally:
        del sys.modules[module.__name__]


def timm_source(architecture: Architecture, words: tuple[str, ...], origin: Origin | None) -> str:
    """The text of `model.py`."""
    counted = cost(architecture)
    mean, std = normalisation(origin)
    return _TEMPLATE.format(
        name=comment(architecture.label),
        params=f"{counted.params:,}",
        macs=f"{counted.macs:,}",
        entry=entry_point(architecture),
        words="\n".join(f'    "{word}",' for word in words),
        settings="\n".join(f"        {line}," for line in settings(architecture)),
        resolution=architecture.resolution,
        classes=architecture.num_classes,
        mean=mean,
        std=std,
    )


def normalisation(origin: Origin | None) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Mean and standard deviation of input channels."""
    if origin is None or origin.mean is None or origin.std is None:
        return IMAGENET
    return origin.mean, origin.std


def settings(architecture: Architecture) -> list[str]:
    """The builder's arguments beside the blocks, as Python."""
    stem = architecture.stem
    lines = [f"stem_size={stem.channels}"]
    if stem.kernel != 3:
        lines.append(f"stem_kernel_size={stem.kernel}")
    stride = 2 * 2 ** sum(stage.stride == 2 for stage in architecture.stages)
    if stride > 32:
        lines.append(f"output_stride={stride}")  # timm would dilate beyond 32
    if architecture.padding == "same":
        lines.append('pad_type="same"')
    return [
        *lines,
        f"num_features={architecture.head_channels or 0}",
        "round_chs_fn=int",  # widths stand as they are
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
        "interpolation": "bicubic",
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
