"""A drawing of a network: its stages from left to right, and where params and MACs lie."""

from collections.abc import Iterator
from typing import Any
from xml.etree.ElementTree import Element

from mnas_search.architecture.value import Architecture
from mnas_search.common.render.svg import document, element, text
from mnas_search.common.units import format_size
from mnas_search.experiments.profile.tables import profiles

_COLUMN, _LEFT = 96, 76  # minimum width of a stage, left margin
_CHARACTER = 7  # maximum mean width of a word's characters
_MAPS_BOTTOM, _TALLEST = 190, 140
_BLOCK, _GAP = 11, 3  # width of a block, and of the gap to the next
_MOST_BLOCKS = 6  # drawn one by one; a number stands for more
_BARS_TOP, _BAR, _LONGEST = 262, 15, 84

_STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1b2530; }
.page { fill: #ffffff; }
.title { font-weight: 600; font-size: 13px; }
.soft { fill: #556372; }
.map { fill: #cfe0ef; stroke: #1f6fb2; }
.macs { fill: #1f6fb2; }
.params { fill: #b26b00; }
"""


def drawing(architecture: Architecture) -> str:
    """Draw a network as a self-contained SVG. A block is as tall as its output map; the operators,
    the output and the shares of MACs and params are written below each stage."""
    (row,) = profiles([architecture], layers=False)
    stages = row["stages"]
    longest = max(len(_operator(stage["name"])) for stage in stages)
    column = max(_COLUMN, _CHARACTER * longest + 10)
    width = _LEFT + column * len(stages) + 12
    height = _BARS_TOP + 3 * _BAR + 40
    title = f"{row['name']}: {row['params']:,} params, {row['macs']:,} MACs"
    if len(title) > width / 7:
        title = f"{row['params']:,} params, {row['macs']:,} MACs"
    repeats = [1, *(stage.repeats for stage in architecture.stages), 1]
    parts = [
        text(8, 20, f"{title} at {row['resolution']} pixels", kind="title"),
        text(8, _BARS_TOP + 11, "MACs", kind="soft"),
        text(8, _BARS_TOP + _BAR + 15, "params", kind="soft"),
    ]
    for number, (stage, count) in enumerate(zip(stages, repeats, strict=True)):
        parts += _stage(_LEFT + column * number, stage, count, row)
    return document(parts, kind="network", size=(width, height), style=_STYLE, label=title)


def _stage(x: float, stage: dict[str, Any], count: int, row: dict[str, Any]) -> Iterator[Element]:
    side = max(6.0, _TALLEST * (stage["out_size"] / row["resolution"]) ** 0.5)
    top = _MAPS_BOTTOM - side
    drawn = min(count, _MOST_BLOCKS)
    blocks = element("g", "", stage["name"])
    for block in range(drawn):
        across = x + block * (_BLOCK + _GAP)
        blocks.append(element("rect", "map", x=across, y=top, width=_BLOCK, height=side))
    if count > drawn:
        blocks.append(text(x + drawn * (_BLOCK + _GAP), top + 10, f"x{count}", kind="soft"))
    yield blocks
    yield text(x, _MAPS_BOTTOM + 17, _operator(stage["name"]))
    output = f"{stage['out_channels']} x {stage['out_size']}²"
    yield text(x, _MAPS_BOTTOM + 33, output, kind="soft")
    for line, what in enumerate(("macs", "params")):
        share = stage[what] / row[what]
        y, long = _BARS_TOP + line * (_BAR + 4), max(1.0, share * _LONGEST)
        amount = format_size(stage[what])
        yield element("rect", what, amount, x=x, y=y, width=long, height=_BAR - 3)
        yield text(x + long + 4, y + 11, f"{100 * share:.0f} %")


def _operator(word: str) -> str:
    """Shorten a block string's word to kind, kernel, stride, expansion and SE."""
    kind, *parts = word.split("_")
    shown = [
        p for p in parts if p[0] in "kse" and p[:2] not in ("sk", "se") and p not in ("s1", "e1")
    ]
    squeeze = ["SE"] if any(p.startswith("se") for p in parts) else []
    return " ".join([kind, *shown, *squeeze])
