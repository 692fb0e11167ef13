"""Simplification of the source of block modules for one network.

The modules of `mnas_search.networks.layers` serve every network. In one network most conditions
are constant: a single activation, symmetric padding, no pooled shortcut, blocks without
squeeze-and-excitation. The conditions are replaced by their constant values.
"""

import re
from collections.abc import Callable

from mnas_search.architecture.blocks import BlockPlan, NetworkPlan
from mnas_search.networks import layers
from mnas_search.networks.network import block_class

Rewrite = Callable[[str, str], str]  # (name of a definition, its source) -> its source

ACTIVATION_SOURCES = {
    "silu": "nn.SiLU(inplace=True)",
    "relu": "nn.ReLU(inplace=True)",
    "relu6": "nn.ReLU6(inplace=True)",
    "hard_swish": "nn.Hardswish(inplace=True)",
    "mish": "nn.Mish(inplace=True)",
    "gelu": "nn.GELU()",
}
_WIDTH = 99


def has_only_builtin_blocks(network: NetworkPlan) -> bool:
    """Tell whether all block kinds are built in; other modules may read any field of a plan."""
    kinds = {block.kind for block in _blocks(network)}
    return all(block_class(kind).__module__ == layers.__name__ for kind in kinds)


def is_symmetric(network: NetworkPlan) -> bool:
    """Tell whether every convolution is padded by half its kernel on each side."""
    return all(layer.pad == (layer.kernel // 2,) * 2 for layer in network.layers())


def pruner_for(network: NetworkPlan) -> Rewrite:
    """Return a function that simplifies definitions for a network of built-in block kinds."""
    blocks = _blocks(network)
    activations = sorted({block.activation for block in blocks})
    words = []
    if len(activations) == 1:
        source = ACTIVATION_SOURCES[activations[0]]
        words += [
            ("ACTIVATIONS[plan.activation]()", source),
            ("ACTIVATIONS[activation]()", source),
            ("squeezed: int, activation: str", "squeezed: int"),
            ("plan.se_channels, plan.activation", "plan.se_channels"),
        ]
    if is_symmetric(network):
        words += [(", pad=plan.pad", ""), (", pad=(plan.kernel // 2, plan.kernel // 2)", "")]
    pools = any(block.shortcut == "pool" for block in blocks)
    if not network.architecture.stochastic_depth_rate and not pools:
        words += [(", drop_path: float", ""), ("residual(plan, drop_path)", "residual(plan)")]
    whole = _replacements(network, activations)
    of_class = {block_class(block.kind).__name__: block.kind for block in blocks}

    def rewrite(name: str, source: str) -> str:
        source = whole.get(name, source)
        for old, new in words:
            source = source.replace(old, new)
        if name in of_class:
            source = _class(source, [b for b in blocks if b.kind == of_class[name]])
        return _join_calls(source)

    return rewrite


def _blocks(network: NetworkPlan) -> list[BlockPlan]:
    return [block for stage in network.stages for block in stage]


def _replacements(network: NetworkPlan, activations: list[str]) -> dict[str, str]:
    """Return replacements of whole definitions, by name."""
    blocks = _blocks(network)
    table = "".join(f'    "{a}": lambda: {ACTIVATION_SOURCES[a]},\n' for a in activations)
    whole = {"ACTIVATIONS": f"ACTIVATIONS = {{\n{table}}}"}
    if is_symmetric(network):
        whole["conv"] = _CONV
    if any(block.shortcut == "pool" for block in blocks):
        return whole
    drops = bool(network.architecture.stochastic_depth_rate)
    whole["Residual"] = _RESIDUAL if drops else _SUM
    everywhere = all((block.shortcut != "none") == _allows_shortcut(block) for block in blocks)
    whole["residual"] = _ENDING.format(
        where="stride and widths allow one" if everywhere else "the plan has one",
        adds="plan.stride == 1 and plan.in_channels == plan.out_channels"
        if everywhere
        else 'plan.shortcut != "none"',
        rate="drop_path" if drops else "",
    )
    return whole


def _allows_shortcut(block: BlockPlan) -> bool:
    return block.stride == 1 and block.in_channels == block.out_channels


def _class(source: str, blocks: list[BlockPlan]) -> str:
    """Remove from a block's class what no block of this kind uses."""
    if not any(block.se_channels for block in blocks):
        source = re.sub(r", (squeeze-and-excitation|SE)(?=[,.])", "", source, count=1)
        source = re.sub(r" +self\.se = .*\n", "", source)
        source = source.replace(", self.se", "")
    elif all(block.se_channels for block in blocks):
        source = re.sub(
            r"squeeze_excite\(plan, (.*)\)$",
            r"SqueezeExcite(\1, plan.se_channels, plan.activation)"
            if "plan.activation" in source
            else r"SqueezeExcite(\1, plan.se_channels)",
            source,
            flags=re.MULTILINE,
        )
    if all(block.shortcut == "none" for block in blocks):
        source = re.sub(r" +self\.residual = .*\n", "", source)
        source = re.sub(r" +self\.downsample = .*\n", "", source)
        source = re.sub(r"self\.residual\((.*), x\)$", r"\1", source, flags=re.MULTILINE)
        source = source.replace("self.residual(branch, self.downsample(x))", "branch")
        source = re.sub(r"branch = (.*)\n +return branch$", r"return \1", source)
    return source


def _join_calls(source: str) -> str:
    """Join calls of three lines that fit on one after the replacements."""

    def join(found: re.Match[str]) -> str:
        line = f"{found[1]}({found[2]})"
        return line if len(line) <= _WIDTH else found[0]

    return re.sub(r"^(.*)\(\n +([^\n]*[^\n,])\n +\)$", join, source, flags=re.MULTILINE)


_CONV = '''\
def conv(
    in_channels: int, out_channels: int, kernel: int = 1, *, stride: int = 1, groups: int = 1
) -> nn.Conv2d:
    """A convolution without bias; the map keeps its size, or has half of it at stride 2."""
    return nn.Conv2d(
        in_channels,
        out_channels,
        kernel,
        stride=stride,
        padding=kernel // 2,
        groups=groups,
        bias=False,
    )'''

_RESIDUAL = '''\
class Residual(nn.Module):
    """The sum of a block's branch and its input."""

    def __init__(self, drop_path: float) -> None:
        super().__init__()
        self.drop_path = DropPath(drop_path)

    def forward(self, branch: Tensor, x: Tensor) -> Tensor:
        return self.drop_path(branch) + x'''

_SUM = '''\
class Residual(nn.Module):
    """The sum of a block's branch and its input."""

    def forward(self, branch: Tensor, x: Tensor) -> Tensor:
        return branch + x'''

_ENDING = '''\
def residual(plan: Plan, drop_path: float) -> nn.Module:
    """The end of a block: a shortcut where {where}."""
    adds = {adds}
    return Residual({rate}) if adds else NoResidual()'''
