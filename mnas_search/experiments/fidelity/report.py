"""The conclusions of a fidelity study, as sentences."""

import shlex
from collections.abc import Iterator

from mnas_search.evaluators.defaults import DEFAULT_DATA, TRAINING
from mnas_search.experiments.fidelity.config import DEFAULTS, MIN_ARCHITECTURES, FidelityConfig
from mnas_search.experiments.fidelity.plan import DEFAULT, Records, split_recipe
from mnas_search.experiments.fidelity.scores import Comparison, Proxy
from mnas_search.experiments.fidelity.study import Study

_FORM = ".2f"  # of taus


def verdict(study: Study, c: Comparison) -> Iterator[str]:
    """Yield the conclusions for one reference; where a proxy reaches the target, the last one is
    the command of a search by the cheapest of them."""
    target = f"tau {c.target:g}"
    chosen = c.cheapest or c.best
    if chosen is None or chosen.one.tau is None:
        yield "tau is undefined for every proxy: all accuracies are equal"
        return
    seconds = "-" if chosen.effort.seconds is None else f"{chosen.effort.seconds:.3g}"
    named = f"{chosen.recipe.name} (tau {chosen.one.tau.text(_FORM)}, {seconds} s a candidate)"
    if c.cheapest is None:
        yield f"no proxy reaches {target}; the best one is {named}"
    else:
        sure = chosen.one.tau.low >= c.target
        yield f"the cheapest proxy that reaches {target} is {named}"
        yield f"the lower end of its 95 % interval {'reaches it too' if sure else 'does not'}"
    if c.ceiling is not None and c.ceiling.value < c.target:
        yield (
            f"the reference reaches only tau {c.ceiling.text(_FORM)} with itself under another "
            f"seed: no proxy can be expected to reach {target}; train the reference longer or "
            "raise --seeds"
        )
    if chosen.difference is not None and c.best_baseline is not None:
        free = c.baselines[c.best_baseline].tau
        assert free is not None  # there would be no difference
        low, high = chosen.difference.low, chosen.difference.high
        shown = "better" if low > 0 else "worse" if high < 0 else "not significantly different"
        yield (
            f"ranking by {c.best_baseline} needs no training and has tau {free.text(_FORM)}; the "
            f"proxy is {shown}: difference {chosen.difference.text(_FORM)}"
        )
    if c.cheapest is not None:
        yield command(study, chosen)


def command(study: Study, proxy: Proxy) -> str:
    """Return the command of a search by a proxy."""
    config = study.plan.config
    words = ["mnas-search", "run", *_targets(config), "--data", config.data or DEFAULT_DATA]
    if config.space != DEFAULTS["space"]:
        words += ["--space", str(config.space)]
    name, changes = split_recipe(proxy.recipe.name)
    if (evaluator := name or str(config.evaluator)) != TRAINING:
        words += ["--evaluator", evaluator]
    line = shlex.join(words)
    return line if changes in ("", DEFAULT) else f'{line} --proxy "{changes}"'


def _targets(config: FidelityConfig) -> list[str]:
    """Return the study's targets as options of `run`; 400M FLOPs where it has none."""
    objective = config.objective
    if objective is None:
        return ["--target-flops", "400M"]
    words = []
    for name, bound in objective.bounds.items():
        words += [f"--target-{name}", f"{bound:.12g}{'s' if name == 'latency' else ''}"]
    return words


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
        if isinstance(c.reference, Records):
            yield f"reference {c.reference.name}: {c.reference.results.note}"
    left_out = len(plan.references) - len(study.comparisons)
    if left_out:
        yield (
            f"{left_out} references are left out: fewer than {MIN_ARCHITECTURES} architectures "
            "have them"
        )
    if errors := trainings.errors:
        yield (
            f"{len(errors)} trainings failed and are left out (the first: {errors[0]}); the same "
            "command repeats them"
        )
    if trainings.remaining:
        yield (
            f"{trainings.remaining} of {trainings.total} trainings remain; resume with: "
            f"mnas-search fidelity --output {shlex.quote(str(study.folder))}"
        )
