"""What `mnas-search fidelity` found, in sentences and tables on standard output."""

import shlex
from collections.abc import Iterator

from mnas_search.common.render.tables import console, print_table
from mnas_search.common.statistics import Interval
from mnas_search.evaluators.defaults import DEFAULT_DATA, TRAINING
from mnas_search.experiments.fidelity.config import DEFAULTS, MIN_ARCHITECTURES
from mnas_search.experiments.fidelity.plan import DEFAULT, ComparedRecipe
from mnas_search.experiments.fidelity.scores import Comparison, Proxy
from mnas_search.experiments.fidelity.study import Study

_CEILING = "reference itself"


def verdict(study: Study, c: Comparison) -> Iterator[str]:
    """Yield the conclusions for one reference; the last is the command of a search by the
    cheapest proxy that reaches the target, where there is one."""
    target = f"tau {study.target:g}"
    chosen = c.cheapest or c.best
    if chosen is None or chosen.one.tau is None:
        yield "tau is undefined for every proxy: all accuracies are equal"
        return
    named = f"{chosen.recipe.name} ({_text(chosen.one.tau)}, {_seconds(chosen)} s a candidate)"
    if c.cheapest is None:
        yield f"no proxy reaches {target}; the best one is {named}"
    else:
        sure = chosen.one.tau.low >= study.target
        yield f"the cheapest proxy that reaches {target} is {named}"
        yield f"the lower end of its 95 % interval {'reaches it too' if sure else 'does not'}"
    if c.ceiling is not None and c.ceiling.value < study.target:
        yield (
            f"the reference reaches only {_text(c.ceiling)} with itself under another seed: no "
            f"proxy can be expected to reach {target}; train the reference longer or raise --seeds"
        )
    if chosen.difference is not None and c.best_baseline is not None:
        free = c.baselines[c.best_baseline].tau
        assert free is not None  # there would be no difference
        low, high = chosen.difference.low, chosen.difference.high
        shown = "better" if low > 0 else "worse" if high < 0 else "not significantly different"
        yield (
            f"ranking by {c.best_baseline} needs no training and has {_text(free)}; the proxy is "
            f"{shown}: difference {_text(chosen.difference, name='')}"
        )
    if c.cheapest is not None:
        yield command(study, chosen)


def command(study: Study, proxy: Proxy) -> str:
    """Return the command of a search by a proxy."""
    config = study.plan.config
    words = ["mnas-search", "run", "--target-flops", "400M", "--data", config.data or DEFAULT_DATA]
    if config.space != DEFAULTS["space"]:
        words += ["--space", str(config.space)]
    if config.evaluator != TRAINING:
        words += ["--evaluator", str(config.evaluator)]
    line = " ".join(map(shlex.quote, words))
    return line if proxy.recipe.name == DEFAULT else f'{line} --proxy "{proxy.recipe.name}"'


def notes(study: Study) -> Iterator[str]:
    """Yield how tau is computed, and what is missing or failed."""
    plan, trainings = study.plan, study.trainings
    yield (
        "tau is Kendall's tau-b between one training by the proxy, as in a search, and the mean "
        "over the reference's seeds, averaged over the proxy's seeds; proxies and references "
        "share no seed; 95 % intervals are bootstraps over architectures; `reference itself` "
        "compares one of its seeds with the mean of the others"
    )
    if plan.config.data in (None, DEFAULT_DATA) and plan.config.evaluator == TRAINING:
        yield "digits are a demonstration: their taus say nothing about other data"
    for c in study.comparisons:
        if not isinstance(c.reference, ComparedRecipe):
            yield f"reference {c.reference.name}: {c.reference.note}"
    left_out = len(plan.references) - len(study.comparisons)
    if left_out:
        yield (
            f"{left_out} references are left out: fewer than {MIN_ARCHITECTURES} architectures "
            "have them"
        )
    failed = [
        t.error for j in plan.recipes for row in trainings.of(j) for t in row if t and t.error
    ]
    if failed:
        yield (
            f"{len(failed)} trainings failed and are left out (the first: {failed[0]}); the same "
            "command repeats them"
        )
    if trainings.remaining:
        yield (
            f"{trainings.remaining} of {trainings.total} trainings remain; resume with: "
            f"mnas-search fidelity --output {shlex.quote(str(study.folder))}"
        )


def print_study(study: Study) -> None:
    """Print a table and the conclusions for each reference, then the notes."""
    for c in study.comparisons:
        columns = (
            "",
            "seconds",
            "std seeds",
            "std archs",
            "n",
            "tau",
            "95 %",
            "in quartiles",
            "95 %",
        )
        print_table(
            (*columns, f"minus {c.best_baseline}" if c.best_baseline else "minus baseline"),
            list(_cells(c)),
            title=f"against {c.reference.name}, {c.networks} architectures",
        )
        for line in verdict(study, c):
            console().print(line, markup=False, highlight=False, soft_wrap=True)
    console().print()
    for line in notes(study):
        console().print(f"note: {line}", markup=False, highlight=False, soft_wrap=True)


def _cells(c: Comparison) -> Iterator[tuple[str, ...]]:
    for p in sorted(c.proxies, key=lambda p: p.effort.seconds or 0.0):
        yield (
            p.recipe.name,
            _seconds(p),
            _std(p.effort.noise),
            _std(p.effort.spread),
            str(p.one.networks),
            *_two(p.one.tau),
            *_two(p.one.within),
            _text(p.difference, name="") if p.difference else "undefined",
        )
    for name, a in c.baselines.items():
        yield (name, "0", "-", "-", str(a.networks), *_two(a.tau), *_two(a.within), "-")
    if c.ceiling is not None and c.effort is not None:
        effort = c.effort
        seconds = "-" if effort.seconds is None else f"{effort.seconds:.3g}"
        spread = (_std(effort.noise), _std(effort.spread))
        yield (_CEILING, seconds, *spread, str(c.networks), *_two(c.ceiling), "-", "-", "-")


def _two(interval: Interval | None) -> tuple[str, str]:
    if interval is None:
        return "undefined", "-"
    return f"{interval.value:.2f}", f"{interval.low:.2f} to {interval.high:.2f}"


def _text(interval: Interval, *, name: str = "tau ") -> str:
    return f"{name}{interval.value:.2f} [{interval.low:.2f}, {interval.high:.2f}]"


def _std(value: float | None) -> str:
    return "-" if value is None else f"{value:.4f}"


def _seconds(p: Proxy) -> str:
    return "-" if p.effort.seconds is None else f"{p.effort.seconds:.3g}"
