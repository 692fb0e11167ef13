"""Elements of SVG files and the file around them; ElementTree escapes what they hold."""

from collections.abc import Iterable
from typing import Literal
from xml.etree.ElementTree import Element, SubElement, tostring

from mnas_search.common.errors import single_line

Anchor = Literal["start", "middle", "end"]

# The style of charts; colours are the page's variables, else those of a light page.
STYLE = """
.chart text { font: 13px system-ui, sans-serif; fill: var(--ink, #1b2530);
  paint-order: stroke; stroke: var(--page, #ffffff); stroke-width: 4px; stroke-linejoin: round; }
.chart .page { fill: var(--page, #ffffff); }
.chart .grid { stroke: var(--rule, #d7dee5); fill: none; }
.chart .axis { stroke: var(--soft, #556372); fill: none; }
.chart .band { fill: var(--rule, #d7dee5); fill-opacity: .5; }
.chart .blue { --colour: var(--blue, #1f6fb2); }
.chart .orange { --colour: var(--orange, #bf3f0a); }
.chart .violet { --colour: var(--violet, #6b2fbf); }
.chart .green { --colour: var(--green, #2f7d32); }
.chart .brown { --colour: var(--brown, #8a5a00); }
.chart .grey { --colour: var(--grey, #8496a8); }
.chart circle, .chart .diamond { fill: var(--colour); stroke: var(--page, #ffffff); }
.chart .hollow { fill: var(--page, #ffffff); stroke: var(--colour); stroke-width: 1.8; }
.chart .line, .chart .bar, .chart .tick { fill: none; stroke: var(--colour); stroke-width: 1.8; }
.chart .dashed { fill: none; stroke: var(--colour); stroke-width: 1.4; stroke-dasharray: 5 4; }
.chart .strong { font-weight: 600; }
@media (max-width: 480px) { .chart text { font-size: 15.5px; } }
"""


def element(tag: str, kind: str, title: str = "", **attributes: float | str) -> Element:
    """An element of a class, with a title where there is one."""
    made = Element(tag, {name: _number(value) for name, value in attributes.items()})
    if kind:
        made.set("class", kind)
    if title:
        SubElement(made, "title").text = single_line(title)
    return made


def text(x: float, y: float, content: str, *, anchor: Anchor = "start", kind: str = "") -> Element:
    """A line of text; `y` is its baseline."""
    made = element("text", kind, x=x, y=y)
    made.set("text-anchor", anchor)
    made.text = single_line(content)
    return made


def document(
    parts: Iterable[Element], *, kind: str, size: tuple[float, float], style: str, label: str
) -> str:
    """The file; `label` names the figure for screen readers."""
    width, height = size
    root = element("svg", kind, xmlns="http://www.w3.org/2000/svg", role="img")
    root.set("viewBox", f"0 0 {width:g} {height:g}")
    root.set("aria-label", single_line(label))
    SubElement(root, "style").text = style
    root.append(element("rect", "page", width=width, height=height))
    root.extend(parts)
    return tostring(root, encoding="unicode") + "\n"


def _number(value: float | str) -> str:
    return value if isinstance(value, str) else f"{round(value, 1):g}"
