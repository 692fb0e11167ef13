"""The text of an exported `model.py`.

The file begins with a table of the stages, every integer resolved; below is the source of the
modules of mnas-search that this network uses.
"""

import json
import re
import textwrap
from collections.abc import Sequence
from itertools import groupby

from mnas_search.architecture.block_string import format_stages
from mnas_search.architecture.blocks import BlockPlan, NetworkPlan, plan
from mnas_search.architecture.cost.count import cost
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import InvalidArchitecture
from mnas_search.export.model_py.prune_source import (
    ACTIVATION_SOURCES,
    has_only_builtin_blocks,
    is_symmetric,
    pruner_for,
)
from mnas_search.export.model_py.source import definitions, foreign_import
from mnas_search.networks import layers
from mnas_search.networks.network import block_class

# The fields of a plan: their types and comments in the exported file.
_FIELDS = {
    "in_channels": ("int", ""),
    "mid_channels": ("int", "width of the spatial convolution"),
    "out_channels": ("int", ""),
    "kernel": ("int", ""),
    "stride": ("int", ""),
    "pad": ("tuple[int, int]", "before and after, on each axis"),
    "se_channels": ("int", "between the layers of squeeze-and-excitation; 0 for none"),
    "shortcut": ("str", "identity, pool, projection or none"),
    "pool_pad": ("tuple[int, int]", "of the pooled shortcut"),
    "activation": ("str", ""),
}
_WIDTH = 99


def model_source(architecture: Architecture) -> str:
    """Return the text of `model.py`.

    Raises:
        InvalidArchitecture: the module of a block kind imports more than torch and
            `mnas_search.networks.layers`.
    """
    network = plan(architecture)
    counted = cost(architecture)
    kinds = sorted({stage.kind for stage in architecture.stages})
    classes = {kind: block_class(kind) for kind in kinds}
    for index, stage in enumerate(architecture.stages):
        foreign = foreign_import(classes[stage.kind])
        if foreign is not None:
            raise InvalidArchitecture(
                f"model.py cannot express stage {index}, {format_stages((stage,))!r}: the module "
                f"of its block must import torch and {layers.__name__} only, got {foreign!r}"
            )
    if has_only_builtin_blocks(network):
        imports, code = definitions(
            tuple(classes.values()), also=("chain", "conv"), rewrite=pruner_for(network)
        )
        used = set(re.findall(r"\bplan\.(\w+)", code))
    else:
        imports, code = definitions(tuple(classes.values()), also=("ACTIVATIONS", "chain", "conv"))
        used = set(_FIELDS)
    columns = [name for name in _FIELDS if name in used]
    drops = not has_only_builtin_blocks(network) or "drop_path: float" in code
    return _TEMPLATE.format(
        name=textwrap.fill(comment(architecture.label), _WIDTH - 4),
        params=f"{counted.params:,}",
        macs=f"{counted.macs:,}",
        resolution=architecture.resolution,
        plugin_imports="".join(f"{line}\n" for line in imports),
        functional="from torch.nn import functional as F\n" * bool(re.search(r"\bF\.", code)),
        fields="\n".join(_field(name) for name in columns),
        table=_table(network, columns),
        depth=_DEPTH.format(rate=f"{architecture.stochastic_depth_rate:g}") if drops else "",
        eps=architecture.bn_eps,
        momentum=architecture.bn_momentum,
        code=code,
        blocks=", ".join(f'"{kind}": {cls.__name__}' for kind, cls in classes.items()),
        layers=_layers(network, drops=drops),
        forward=_forward(architecture),
        expected_params=counted.params,
        expected_macs=counted.macs,
    )


def comment(text: str) -> str:
    """Replace characters that could end the docstring that contains the text."""
    return re.sub(r"[^\w .,:;=+*/()@-]", "?", text)


def _field(name: str) -> str:
    kind, words = _FIELDS[name]
    return f"    {name}: {kind}" + (f"  # {words}" if words else "")


def _table(network: NetworkPlan, columns: Sequence[str]) -> str:
    rows = []
    for index, stage in enumerate(network.stages):
        texts = [(t, len(list(g))) for t, g in groupby(_plan(block, columns) for block in stage)]
        row = _row(stage[0].kind, texts)
        rows += [f"    # stage {index}: {stage[0].in_size} -> {stage[-1].out_size} pixels", row]
    return "\n".join(rows)


def _row(kind: str, plans: Sequence[tuple[str, int]]) -> str:
    """Format a stage from the texts of its plans and their numbers of repetitions."""
    indent, deeper = " " * 8, " " * 12
    if all(times == 1 for _, times in plans):
        texts = [text for text, _ in plans]
        line = f"[{', '.join(texts)}]"
        broken = "[\n" + "".join(f"{deeper}{text},\n" for text in texts) + f"{indent}]"
    else:
        terms = [f"[{text}]" + (f" * {times}" if times > 1 else "") for text, times in plans]
        line, broken = " + ".join(terms), f"\n{indent}+ ".join(terms)
    row = f'    ("{kind}", {line}),'
    if len(row) <= _WIDTH:
        return row
    value = line if len(indent + line) < _WIDTH else broken
    return f'    (\n{indent}"{kind}",\n{indent}{value},\n    ),'


def _plan(block: BlockPlan, columns: Sequence[str]) -> str:
    values = (getattr(block, name) for name in columns)
    return f"Plan({', '.join(json.dumps(v) if isinstance(v, str) else str(v) for v in values)})"


def _layers(network: NetworkPlan, *, drops: bool) -> str:
    architecture = network.architecture
    stem = network.stem.layers[0]
    *head, classifier = network.head.layers
    pad = "" if has_only_builtin_blocks(network) and is_symmetric(network) else f", pad={stem.pad}"
    activation = ACTIVATION_SOURCES[architecture.activation]
    lines = [
        f"self.conv_stem = conv(3, {stem.out_channels}, {stem.kernel}, stride={stem.stride}{pad})",
        f"self.bn1 = norm({stem.out_channels})",
        f"self.act1 = {activation}",
    ]
    if architecture.stem.pool:
        lines.append("self.pool = nn.MaxPool2d(3, 2, 1)")
    if drops:
        lines += [
            "count = sum(len(plans) for _, plans in STAGES)",
            "rates = iter(DROP_PATH * i / count for i in range(count))",
        ]
    arguments = "plan, norm, next(rates)" if drops else "plan, norm"
    lines += [
        "self.blocks = nn.Sequential(",
        "    *(",
        f"        nn.Sequential(*(BLOCKS[kind]({arguments}) for plan in plans))",
        "        for kind, plans in STAGES",
        "    )",
        ")",
    ]
    if head:
        lines += [
            f"self.conv_head = conv({head[0].in_channels}, {head[0].out_channels})",
            f"self.bn2 = norm({head[0].out_channels})",
            f"self.act2 = {activation}",
        ]
    lines += [
        f"self.dropout = nn.Dropout({architecture.dropout_rate:g})",
        f"self.classifier = nn.Linear({classifier.in_channels}, {classifier.out_channels})",
    ]
    return "\n".join(" " * 8 + line for line in lines)


def _forward(architecture: Architecture) -> str:
    pool = ", self.pool" if architecture.stem.pool else ""
    lines = [
        f"x = chain(images, self.conv_stem, self.bn1, self.act1{pool})",
        "for stage in self.blocks:",
        "    for block in stage:",
        "        x = block(x)",
    ]
    if architecture.head_channels is not None:
        lines.append("x = chain(x, self.conv_head, self.bn2, self.act2)")
    lines.append("return self.classifier(self.dropout(x.mean((2, 3))))")
    return "\n".join(" " * 8 + line for line in lines)


_DEPTH = """\
DROP_PATH = {rate}  # of the last block in training; it grows linearly with depth up to there

"""

_TEMPLATE = '''\
"""{name}

{params} parameters, {macs} multiply-adds at {resolution}x{resolution} (convolutions and linear
layers, batch 1). Written by mnas-search; requires only torch. As a script, it builds the network,
runs one forward pass and prints its counts.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
{functional}{plugin_imports}
RESOLUTION = {resolution}


class Plan(NamedTuple):
    """The integers of one block."""

{fields}


# The block kind and the plans of the blocks of each stage.
STAGES = [
{table}
]

{depth}Norm = Callable[[int], nn.Module]
norm = functools.partial(nn.BatchNorm2d, eps={eps!r}, momentum={momentum!r})


{code}


BLOCKS = {{{blocks}}}


class Model(nn.Module):
    """Images [N, 3, {resolution}, {resolution}] to logits."""

    def __init__(self) -> None:
        super().__init__()
{layers}

    def forward(self, images: Tensor) -> Tensor:
{forward}


def main() -> None:
    """Build the network, run it once, print its counts."""
    model = Model().eval()
    weights = Path(__file__).with_name("weights.pt")
    if weights.exists():
        model.load_state_dict(torch.load(weights, weights_only=True))
    macs = 0

    def count(layer: nn.Module, inputs: tuple[Tensor, ...], output: Tensor) -> None:
        nonlocal macs
        positions = output[0, 0].numel() if isinstance(layer, nn.Conv2d) else 1
        macs += layer.weight.numel() * positions

    for layer in model.modules():
        if isinstance(layer, nn.Conv2d | nn.Linear):
            layer.register_forward_hook(count)
    with torch.no_grad():
        logits = model(torch.zeros(1, 3, RESOLUTION, RESOLUTION))
    params = sum(p.numel() for p in model.parameters())
    print(f"output {{tuple(logits.shape)}}, params {{params:,}}, macs {{macs:,}}")
    if (params, macs) != ({expected_params}, {expected_macs}):
        raise SystemExit("expected {params} params and {macs} macs")


if __name__ == "__main__":
    main()
'''
