"""Tau against seconds, a panel a reference, as one SVG that stands alone."""

import math
from collections.abc import Iterator, Sequence

from mnas_search.common.render.markup import escaped
from mnas_search.common.render.svg import Axis, decimal_ticks, text
from mnas_search.experiments.fidelity.scores import Comparison, Proxy

_WIDTH, _PANEL = 680, 340
_LEFT, _RIGHT = 56, 500
_TOP, _BOTTOM = 44, 284  # of a panel
_LABELS = _RIGHT + 8
_APART = 15  # least distance of two labels
_KEY = 18  # height of a line of the key
_SHORTEST = 1e-4  # seconds; less is drawn as that

_STYLE = """
text { font: 12px system-ui, sans-serif; fill: #1b2530; }
.page { fill: #ffffff; }
.grid { stroke: #d7dee5; fill: none; }
.axis { stroke: #556372; fill: none; }
.bar { stroke: #1f6fb2; stroke-width: 1.5; fill: none; }
.dot { fill: #1f6fb2; }
.line { stroke: #8496a8; stroke-dasharray: 5 4; fill: none; }
.ceiling { stroke: #bf3f0a; fill: none; }
.target { stroke: #2f7d32; stroke-dasharray: 2 3; fill: none; }
.number { font-weight: 600; }
"""


def fidelity_figure(comparisons: Sequence[Comparison]) -> str:
    """The figure; each point is numbered, and the key below names it."""
    proxies = sorted(comparisons[0].proxies, key=_time)
    numbers = {p.recipe.key: n for n, p in enumerate(proxies, start=1)}
    lines = -(-len(proxies) // 2)
    height = _PANEL * len(comparisons) + _KEY * lines + 12
    parts = [
        part
        for index, comparison in enumerate(comparisons)
        for part in _panel(comparison, _PANEL * index, numbers)
    ]
    top = _PANEL * len(comparisons) + 8
    for n, p in enumerate(proxies):
        across, down = _LEFT + 300 * (n // lines), top + _KEY * (n % lines)
        parts.append(text(across, down, f"{n + 1}  {p.recipe.name}"))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img" '
        f'aria-label="Rank correlation of proxies against their seconds">\n<style>{_STYLE}'
        f'</style>\n<rect class="page" width="{_WIDTH}" height="{height}"/>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )


def _panel(c: Comparison, offset: float, numbers: dict[str, int]) -> Iterator[str]:
    shown = [p for p in c.proxies if p.one.tau is not None]
    lows = [p.one.tau.low for p in shown if p.one.tau is not None]
    flat = [(a.tau.value, name, "line") for name, a in c.baselines.items() if a.tau is not None]
    flat.append((c.target, "asked for", "target"))
    if c.ceiling is not None:
        flat.append((c.ceiling.value, "reference itself", "ceiling"))
    lowest = min([0.0, *lows, *(value for value, _, _ in flat)])
    y = Axis(low=math.floor(5 * lowest) / 5, high=1.0, start=offset + _BOTTOM, end=offset + _TOP)
    times = [_time(p) for p in shown] or [1.0]
    x = Axis(
        low=math.log10(min(times) / 1.3),
        high=math.log10(max(times) * 1.3),
        start=_LEFT,
        end=_RIGHT,
    )
    title = f"tau against {c.reference.name}: {c.networks} architectures, 95 % intervals"
    yield text(_LEFT - 40, offset + 20, title, kind="number")
    yield from _axes(x, y)
    yield from _lines(y, flat)
    for proxy in shown:
        yield from _point(x, y, proxy, numbers[proxy.recipe.key])


def _axes(x: Axis, y: Axis) -> Iterator[str]:
    for tick in y.ticks:
        at = y.at(tick)
        yield f'<path class="grid" d="M{x.start} {at}H{x.end}"/>'
        yield text(x.start - 8, at + 4, f"{tick:.1f}", anchor="end")
    for tick in decimal_ticks(x):
        at = x.at(math.log10(tick))
        yield f'<path class="grid" d="M{at} {y.start}V{y.end}"/>'
        yield text(at, y.start + 18, f"{tick:g}", anchor="middle")
    yield f'<path class="axis" d="M{x.start} {y.end}V{y.start}H{x.end}"/>'
    middle = (x.start + x.end) / 2
    yield text(middle, y.start + 36, "seconds a candidate", anchor="middle")


def _lines(y: Axis, flat: Sequence[tuple[float, str, str]]) -> Iterator[str]:
    """Horizontal lines; labels that would overlap are moved down."""
    last = -math.inf
    for value, name, kind in sorted(flat, reverse=True):
        at = y.at(value)
        last = max(at, last + _APART)
        yield f'<path class="{kind}" d="M{_LEFT} {at}H{_RIGHT}"/>'
        yield text(_LABELS, last + 4, f"{value:.2f} {name}")


def _point(x: Axis, y: Axis, proxy: Proxy, number: int) -> Iterator[str]:
    tau, seconds = proxy.one.tau, _time(proxy)
    assert tau is not None
    across = x.at(math.log10(seconds))
    said = f"{proxy.recipe.name}: {tau.value:.2f} [{tau.low:.2f}, {tau.high:.2f}], {seconds:.3g} s"
    yield f'<path class="bar" d="M{across} {y.at(tau.low)}V{y.at(tau.high)}"/>'
    yield (
        f'<circle class="dot" cx="{across}" cy="{y.at(tau.value)}" r="4">'
        f"<title>{escaped(said)}</title></circle>"
    )
    yield text(across + 7, y.at(tau.value) - 6, str(number), kind="number")


def _time(proxy: Proxy) -> float:
    return max(proxy.effort.seconds or 0.0, _SHORTEST)
