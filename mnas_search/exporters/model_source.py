"""The text of an exported `model.py`.

The blocks stand as a table at the top of the file, every integer resolved; below it is the source
of the very modules that mnas-search builds its own network from, as far as this network needs
them.
"""

import re

from mnas_search.architecture import Architecture
from mnas_search.blocks import NetworkPlan, drop_path_rates, plan
from mnas_search.cost import cost
from mnas_search.exporters.source import definitions
from mnas_search.networks.network import block_class


def model_source(architecture: Architecture) -> str:
    """The text of `model.py`."""
    network_plan = plan(architecture)
    counted = cost(architecture)
    kinds = sorted({stage.kind for stage in architecture.stages})
    classes = {kind: block_class(kind) for kind in kinds}
    imports, code = definitions(tuple(classes.values()), also=("ACTIVATIONS", "conv"))
    blocks = ", ".join(f'"{kind}": {cls.__name__}' for kind, cls in classes.items())
    return _TEMPLATE.format(
        name=comment(architecture.label),
        params=f"{counted.params:,}",
        macs=f"{counted.macs:,}",
        resolution=architecture.resolution,
        plugin_imports="".join(f"{line}\n" for line in imports),
        table=_table(network_plan),
        eps=architecture.bn_eps,
        momentum=architecture.bn_momentum,
        code=code,
        blocks=blocks,
        layers=_layers(network_plan),
        forward=_forward(architecture),
        expected_params=counted.params,
        expected_macs=counted.macs,
    )


def comment(text: str) -> str:
    """Text that cannot leave the docstring it is written into."""
    return re.sub(r"[^\w .,:;=+*/()@-]", "?", text)


def _table(network_plan: NetworkPlan) -> str:
    count = sum(len(stage) for stage in network_plan.stages)
    rates = iter(drop_path_rates(network_plan.architecture.stochastic_depth_rate, count))
    rows = []
    for index, stage in enumerate(network_plan.stages):
        rows.append(f"    [  # stage {index}: {stage[0].in_size} -> {stage[0].out_size} pixels")
        for b in stage:
            rows.append(
                f'        ("{b.kind}", Plan({b.in_channels}, {b.mid_channels}, {b.out_channels}, '
                f"{b.kernel}, {b.stride}, {b.pad}, {b.se_channels}, "
                f'"{b.shortcut}", {b.pool_pad}, "{b.activation}"), {next(rates):.6g}),'
            )
        rows.append("    ],")
    return "\n".join(rows)


def _layers(network_plan: NetworkPlan) -> str:
    architecture = network_plan.architecture
    stem = network_plan.stem.layers[0]
    *head, classifier = network_plan.head.layers
    lines = [
        f"self.conv_stem = conv(3, {stem.out_channels}, {stem.kernel}, "
        f"stride={stem.stride}, pad={stem.pad})",
        f"self.bn1 = norm({stem.out_channels})",
        f'self.act1 = ACTIVATIONS["{architecture.activation}"]()',
    ]
    if architecture.stem.pool:
        lines.append("self.pool = nn.MaxPool2d(3, 2, 1)")
    lines += [
        "self.blocks = nn.Sequential(",
        "    *(",
        "        nn.Sequential(*(BLOCKS[kind](plan, norm, drop) for kind, plan, drop in stage))",
        "        for stage in STAGES",
        "    )",
        ")",
    ]
    if head:
        lines += [
            f"self.conv_head = conv({head[0].in_channels}, {head[0].out_channels})",
            f"self.bn2 = norm({head[0].out_channels})",
            f'self.act2 = ACTIVATIONS["{architecture.activation}"]()',
        ]
    lines += [
        f"self.dropout = nn.Dropout({architecture.dropout_rate:g})",
        f"self.classifier = nn.Linear({classifier.in_channels}, {classifier.out_channels})",
    ]
    return "\n".join(" " * 8 + line for line in lines)


def _forward(architecture: Architecture) -> str:
    lines = ["x = self.act1(self.bn1(self.conv_stem(images)))"]
    if architecture.stem.pool:
        lines.append("x = self.pool(x)")
    lines.append("x = self.blocks(x)")
    if architecture.head_channels is not None:
        lines.append("x = self.act2(self.bn2(self.conv_head(x)))")
    lines.append("return self.classifier(self.dropout(x.mean((2, 3))))")
    return "\n".join(" " * 8 + line for line in lines)


_TEMPLATE = '''\
"""{name}

{params} parameters, {macs} multiply-adds at {resolution}x{resolution} (convolutions and linear
layers, batch 1). Written by mnas-search; needs torch alone. Run as a script, it builds the
network, does one forward pass and prints its counts.
"""

import functools
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
{plugin_imports}
RESOLUTION = {resolution}


class Plan(NamedTuple):
    """One block: widths, spatial convolution, squeeze-and-excitation, shortcut, activation."""

    in_channels: int
    mid_channels: int
    out_channels: int
    kernel: int
    stride: int
    pad: tuple[int, int]
    se_channels: int
    shortcut: str
    pool_pad: tuple[int, int]
    activation: str


# Blocks by stage: kind, plan, rate of stochastic depth.
STAGES = [
{table}
]

Norm = Callable[[int], nn.Module]
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
