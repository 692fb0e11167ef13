"""The figure of a fidelity study: tau against seconds, a chart for each reference."""

from collections.abc import Mapping, Sequence

from mnas_search.common.render.chart import Chart, Point, Rule, Series, svg
from mnas_search.experiments.fidelity.scores import Comparison, Proxy

_SHORTEST = 1e-4  # seconds; shorter trainings are drawn there


def fidelity_figure(comparisons: Sequence[Comparison]) -> str:
    """Draw numbered points; the key below the last chart names them."""
    proxies = sorted(comparisons[0].proxies, key=_seconds)
    numbers = {p.recipe.key: n for n, p in enumerate(proxies, start=1)}
    charts = [_chart(c, numbers, key=c is comparisons[-1]) for c in comparisons]
    return svg(charts, label="Rank correlation of proxies against their seconds")


def _chart(c: Comparison, numbers: Mapping[str, int], *, key: bool) -> Chart:
    rules = [Rule(value=c.target, label=f"{c.target:.2f} asked for", colour="green")]
    if c.ceiling is not None:
        label = f"{c.ceiling.value:.2f} reference itself"
        rules.append(Rule(value=c.ceiling.value, label=label, colour="orange"))
    for name, agreement in c.baselines.items():
        if (tau := agreement.tau) is not None:
            rules.append(Rule(value=tau.value, label=f"{tau.value:.2f} {name}"))
    return Chart(
        title=f"Kendall's tau against {c.reference.name}, {c.networks} architectures",
        across="seconds a candidate",
        series=[
            _series(proxy, numbers[proxy.recipe.key], key=key)
            for proxy in sorted(c.proxies, key=lambda one: numbers[one.recipe.key])
        ],
        rules=rules,
        logarithmic=True,
    )


def _series(proxy: Proxy, number: int, *, key: bool) -> Series:
    name, tau, seconds = proxy.recipe.name, proxy.one.tau, _seconds(proxy)
    if tau is None:
        return Series(points=[], name=f"{number}  {name}: undefined" if key else "")
    title = f"{name}: {tau.value:.2f} [{tau.low:.2f}, {tau.high:.2f}], {seconds:.3g} s"
    interval = (tau.low, tau.high)
    point = Point(x=seconds, y=tau.value, title=title, label=str(number), interval=interval)
    return Series(points=[point], name=f"{number}  {name}" if key else "")


def _seconds(proxy: Proxy) -> float:
    return max(proxy.effort.seconds or 0.0, _SHORTEST)
