"""A torchvision EfficientNet: MBConv settings, and weights under torchvision's names."""

from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any, ClassVar, final

from torch import Tensor, nn

from mnas_search.architecture.block_string import format_stages
from mnas_search.architecture.blocks import BlockPlan, plan
from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.stage import Stage
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import InvalidArchitecture, WorkFailed
from mnas_search.common.extras import can_import, describe_missing
from mnas_search.common.files import write_atomically
from mnas_search.export.base import Exporter, torch_runtime
from mnas_search.export.comparison import compare_module, images_for
from mnas_search.export.model_py.model_source import comment
from mnas_search.export.weights import build_with_weights, safetensors
from mnas_search.networks.weights.torchvision_names import EFFICIENTNET_KINDS, torchvision_names

_MODULE = "torchvision.models.efficientnet"
_STAND_IN = "mnas_search.export.torchvision.layout"
_NOT_RUN = "so model.py was run with a stand-in of the same structure and names"
_SUPPORTED = (
    "ir and ds with squeeze-and-excitation 0.25 or none, er and cn without, SiLU, identity "
    "shortcuts, symmetric padding, widths in multiples of 8, a stem 3x3 of stride 2, a head"
)

_LOAD = """\
import torch
from model import model
from safetensors.torch import load_file

NETWORK = model().eval()
NETWORK.load_state_dict(load_file(HERE / "model.safetensors"))"""


@final
class TorchvisionExporter(Exporter):
    """Writes `model.py` with the settings of `torchvision.models.efficientnet`, and
    `model.safetensors`."""

    runtime: ClassVar[str | None] = torch_runtime(_LOAD)

    def caveats(self) -> tuple[str, ...]:
        """Say if torchvision was not available to run."""
        return (
            ()
            if can_import(_MODULE)
            else (f"{describe_missing('torchvision', 'torchvision')}, {_NOT_RUN}",)
        )

    def export(
        self, architecture: Architecture, weights: dict[str, Tensor] | None, path: Path
    ) -> tuple[Path, ...]:
        """Run `model.py`, compare it with the network, and write both files."""
        from safetensors.torch import load

        source = torchvision_source(architecture)
        network = build_with_weights(architecture, weights)
        content = safetensors(_rename(architecture, network.state_dict()), architecture)
        rename, own = partial(_rename, architecture), load(content)
        images, trained = images_for(architecture, any_size=True), weights is not None
        compare_module(
            network, run_source(source), images, trained=trained, own=own, rename=rename
        )
        return (
            write_atomically(path / "model.py", source),
            write_atomically(path / "model.safetensors", content),
        )


def _rename(architecture: Architecture, weights: dict[str, Tensor]) -> dict[str, Tensor]:
    names = torchvision_names(architecture, weights)
    return {names[name]: tensor for name, tensor in weights.items()}


def run_source(source: str) -> nn.Module:
    """Build the network of `model.py` by torchvision or by its stand-in."""
    if not can_import(_MODULE):
        source = source.replace(f"from {_MODULE} import", f"from {_STAND_IN} import")
    namespace: dict[str, Any] = {"__name__": "exported", "__file__": "model.py"}
    try:
        exec(compile(source, "model.py", "exec"), namespace)
        make: Callable[[], nn.Module] = namespace["model"]
        return make().eval()
    except (AttributeError, ImportError, TypeError) as error:
        raise WorkFailed(f"the installed torchvision cannot run model.py: {error}") from error


def torchvision_source(architecture: Architecture) -> str:
    """Return the text of `model.py`.

    Raises:
        InvalidArchitecture: torchvision cannot express the network or a stage, which the message
            names.
    """
    why = _obstacle(architecture)
    if why is not None:
        raise InvalidArchitecture(f"torchvision cannot express {why}; supported: {_SUPPORTED}")
    stages = plan(architecture).stages
    pairs = tuple(zip(architecture.stages, stages, strict=True))
    for index, (stage, blocks) in enumerate(pairs):
        why = _obstacle_of_stage(stage, blocks)
        if why is not None:
            word = format_stages((stage,))
            raise InvalidArchitecture(
                f"torchvision cannot express stage {index}, {word!r}: {why}; "
                f"supported: {_SUPPORTED}"
            )
    lines = [_setting(stage, blocks[0]) for stage, blocks in pairs]
    used = ["EfficientNet"]
    used += [
        n for n in ("FusedMBConvConfig", "MBConvConfig") if any(x.startswith(n) for x in lines)
    ]
    plain = any("block=plain" in line for line in lines)
    counted = cost(architecture)
    return _TEMPLATE.format(
        name=comment(architecture.label),
        params=f"{counted.params:,}",
        macs=f"{counted.macs:,}",
        resolution=architecture.resolution,
        module=_MODULE,
        names=", ".join(sorted([*used, *(["MBConv"] if plain else [])])),
        plain=_PLAIN if plain else "",
        settings="\n".join(f"    {line}," for line in lines),
        classes=architecture.num_classes,
        dropout=f"{architecture.dropout_rate:g}",
        depth=f"{architecture.stochastic_depth_rate:g}",
        eps=architecture.bn_eps,
        momentum=architecture.bn_momentum,
        head=architecture.head_channels,
    )


def _obstacle(architecture: Architecture) -> str | None:
    stem = architecture.stem
    if (stem.kernel, stem.stride, stem.pool) != (3, 2, False) or stem.channels % 8:
        return (
            f"a stem of {stem.channels} channels, {stem.kernel}x{stem.kernel} with stride "
            f"{stem.stride}{' and a pool' * stem.pool}"
        )
    if architecture.activation != "silu":
        return f"{architecture.activation!r} in stem and head"
    if architecture.head_channels is None:
        return "a network without a head convolution"
    return None if architecture.padding == "symmetric" else f"{architecture.padding!r} padding"


def _obstacle_of_stage(stage: Stage, blocks: tuple[BlockPlan, ...]) -> str | None:
    if stage.kind not in EFFICIENTNET_KINDS:
        return f"it has no block {stage.kind!r}"
    if stage.activation != "silu":
        return f"its blocks have no {stage.activation!r}"
    if stage.out_channels % 8:
        return "widths are rounded to multiples of 8"
    for block in blocks:
        adds = block.stride == 1 and block.in_channels == block.out_channels
        theirs, squeezed = "identity" if adds else "none", max(1, block.in_channels // 4)
        if block.shortcut != theirs:
            return f"shortcut {block.shortcut!r} where it would be {theirs!r}"
        if block.se_channels not in (0, squeezed):
            return f"squeeze-and-excitation is {squeezed} channels wide there"
        if block.kind in ("er", "cn") and block.se_channels:
            return "its fused blocks have no squeeze-and-excitation"
        if block.kind in ("er", "ir") and block.mid_channels == block.in_channels:
            return "without expansion, there is no expansion convolution"
    return None


def _setting(stage: Stage, first: BlockPlan) -> str:
    fused = stage.kind in ("er", "cn")
    plain = "" if fused or first.se_channels else ", block=plain"
    return (
        f"{'Fused' * fused}MBConvConfig({stage.expansion!r}, {stage.kernel}, {stage.stride}, "
        f"{first.in_channels}, {stage.out_channels}, {stage.repeats}{plain})"
    )


_PLAIN = '''

def no_squeeze(*arguments, **keywords):
    """Replace squeeze-and-excitation by an identity."""
    return nn.Identity()


plain = partial(MBConv, se_layer=no_squeeze)
'''

_TEMPLATE = '''\
"""{name} as a torchvision EfficientNet.

{params} parameters, {macs} multiply-adds at {resolution}x{resolution}. Written by mnas-search.

    from safetensors.torch import load_file
    network = model()
    network.load_state_dict(load_file("model.safetensors"))
"""

from functools import partial

from torch import nn
from {module} import {names}
{plain}
# Expansion, kernel, stride, input channels, output channels, layers.
SETTINGS = [
{settings}
]


def model():
    """Images [N, 3, {resolution}, {resolution}] to {classes} logits."""
    return EfficientNet(
        SETTINGS,
        dropout={dropout},
        stochastic_depth_prob={depth},
        num_classes={classes},
        norm_layer=partial(nn.BatchNorm2d, eps={eps!r}, momentum={momentum!r}),
        last_channel={head},
    )
'''
