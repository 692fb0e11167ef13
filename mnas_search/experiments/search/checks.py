"""Checks of a run's options, before anything is built."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from mnas_search.architecture.cost.metrics import TARGETS
from mnas_search.common import plugins
from mnas_search.common.checks import check_choice, check_integer, check_number
from mnas_search.common.errors import UsageError
from mnas_search.data import loading
from mnas_search.experiments.search.warm_start import absolute
from mnas_search.nas.asha import RULES
from mnas_search.nas.objective import exponent_of

RANDOM, NONE = "random", "none"  # baselines
PLUGINS = ("space", "controller", "evaluator", "data", "prior")  # options that name one
_REQUIRED = ("space", "controller")
_MINIMA = {"trials": 1, "workers": 0, "seed": 0, "resolution": 1, "num_classes": 1}


def check_options(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options whose canonical form differs, in that form: paths absolute.

    Args:
        options: by name, as `RunConfig` has them.

    Raises:
        UsageError: an option, or a combination of options, is refused.
    """
    given = {name: value for name, value in options.items() if value is not None}
    for name, low in _MINIMA.items():
        if name in given:
            check_integer(name, given[name], low)
    for name in ("time_budget", "prior_time", "gpus_per_trial"):
        if name in given:
            check_number(name, given[name], "[0, inf)")
    if "trial_timeout" in given:
        check_number("trial_timeout", given["trial_timeout"], "(0, inf)")
    if not isinstance(options["lite"], bool):
        raise UsageError(f"lite must be True or False, got {options['lite']!r}")
    _check_combinations(options)
    exponent_of(options["objective"], options["exponent"])
    for name, choices in (("baseline", (RANDOM, NONE)), ("early_stopping", RULES)):
        if name in given:
            check_choice(name, given[name], choices)
    start = options["start_from"]
    starts = (start,) if isinstance(start, str) else tuple(start)
    canonical: dict[str, Any] = {"start_from": tuple(map(absolute, starts))}
    if options["latency_table"] is not None:
        canonical["latency_table"] = str(Path(options["latency_table"]).resolve())
    for name in PLUGINS:
        value = options[name]
        if not isinstance(value, str) and (value is not None or name in _REQUIRED):
            raise UsageError(f"{name} must be a name or 'file.py:Name', got {value!r}")
        if value is not None:
            canonical[name] = plugins.absolute(value)
    if options["init"] is not None:
        if not isinstance(options["init"], str):
            raise UsageError(f"init must be text, got {options['init']!r}")
        from mnas_search.networks.weights import sources  # loads torch

        canonical["init"] = sources.absolute(options["init"])
    if options["data"] is not None:
        canonical["data"] = loading.absolute(canonical["data"])
    return canonical


def _check_combinations(options: Mapping[str, Any]) -> None:
    if all(options[f"target_{name}"] is None for name in TARGETS):
        raise UsageError(
            "a run requires a target: --target-flops 400M, --target-latency 20ms or "
            "--target-memory 20M"
        )
    of_latency = (options["device"], options["latency_table"])
    if options["target_latency"] is None and of_latency != (None, None):
        raise UsageError("--device and --latency-table require --target-latency")
    if options["prior"] is None:
        for name in ("prior_time", "prior_recipe"):
            if options[name] is not None:
                raise UsageError(f"{name} requires a prior, such as --prior supernet")
    if options["baseline"] == RANDOM and options["time_budget"] is not None:
        raise UsageError(f"baseline {RANDOM!r} requires a number of trials and no time budget")
