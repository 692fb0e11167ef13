"""Block arguments of timm's EfficientNet builder, and the limits of what it expresses.

timm (`timm/models/_efficientnet_builder.py`, `_efficientnet_blocks.py`) reads almost the same
grammar as `architecture/block_string.py`. Stages without an activation word have the network's;
squeeze-and-excitation has round(mid * ratio / expansion) channels; `cn` has none; the stem has
stride 2 and no pool.
"""

from dataclasses import replace

from mnas_search.architecture.block_string import ACTIVATION_WORDS, format_stages, parse_stages
from mnas_search.architecture.blocks import BlockPlan, plan
from mnas_search.architecture.kind import block_kind
from mnas_search.architecture.stage import Stage
from mnas_search.architecture.value import Architecture
from mnas_search.common.errors import InvalidArchitecture

_KINDS = ("cn", "ds", "dsa", "ir", "er")
_WORDS = {name: word for word, name in ACTIVATION_WORDS.items() if name != "gelu"}
_SUPPORTED = (
    "ir, ds, dsa, er and cn (without squeeze-and-excitation), identity shortcuts, a stem of "
    "stride 2 without pool"
)


def timm_block_args(architecture: Architecture) -> tuple[str, ...]:
    """Return timm's block argument of each stage, one word each.

    Raises:
        InvalidArchitecture: timm cannot express the stem or a stage, which the message names.
    """
    stem = architecture.stem
    if stem.stride != 2 or stem.pool:
        raise InvalidArchitecture(
            f"timm cannot express a stem of stride {stem.stride}{' with a pool' * stem.pool}; "
            f"supported: {_SUPPORTED}"
        )
    return tuple(
        _word(index, stage, blocks, architecture.activation)
        for index, (stage, blocks) in enumerate(
            zip(architecture.stages, plan(architecture).stages, strict=True)
        )
    )


def parse_block_args(words: tuple[str, ...], activation: str) -> tuple[Stage, ...]:
    """Read stages as timm does."""
    named = [any(part in ACTIVATION_WORDS for part in word.split("_")) for word in words]
    return tuple(
        stage if known else replace(stage, activation=activation)
        for known, stage in zip(named, parse_stages(" ".join(words)), strict=True)
    )


def _word(index: int, stage: Stage, blocks: tuple[BlockPlan, ...], activation: str) -> str:
    why = _obstacle(stage, blocks, activation)
    if why is not None:
        raise InvalidArchitecture(
            f"timm cannot express stage {index}, {format_stages((stage,))!r}: {why}; "
            f"supported: {_SUPPORTED}"
        )
    default = block_kind(stage.kind).default_skip
    skip = "none" if stage.skip == "pool" else stage.skip  # a pool that cannot act
    word = format_stages((replace(stage, skip=skip, activation="silu"),))
    if stage.activation == activation and activation in ("silu", "gelu"):
        return word
    head, _, last = word.rpartition("_")
    named = _WORDS[stage.activation]
    return f"{head}_{named}_{last}" if skip != default else f"{word}_{named}"


def _obstacle(stage: Stage, blocks: tuple[BlockPlan, ...], activation: str) -> str | None:
    if stage.kind not in _KINDS:
        return f"it has no block {stage.kind!r}"
    if any(block.shortcut == "pool" for block in blocks):
        return "it has no pooled shortcut"
    if stage.kind == "cn" and stage.se_ratio:
        return "its 'cn' has no squeeze-and-excitation"
    if stage.activation not in _WORDS and stage.activation != activation:
        return f"it has no word for {stage.activation!r}"
    for block in blocks:
        theirs = round(block.mid_channels * (stage.se_ratio / stage.expansion))
        if theirs != block.se_channels:
            return (
                f"its squeeze-and-excitation would be {theirs} channels wide, not "
                f"{block.se_channels}"
            )
    return None
