"""Checks of a run's options, before anything is built."""

import math
from pathlib import Path
from typing import Any

from mnas_search.common import plugins
from mnas_search.common.errors import UsageError
from mnas_search.data import loading
from mnas_search.experiments.search.options import RunConfig
from mnas_search.experiments.search.warm_start import absolute
from mnas_search.nas.asha import RULES
from mnas_search.nas.objective import exponent_of

RANDOM = "random"
PLUGINS = ("space", "controller", "evaluator", "data", "prior")  # options that name one
_REQUIRED = ("space", "controller")
_MINIMA = {"trials": 1, "workers": 0, "seed": 0, "resolution": 1, "num_classes": 1}


def check_options(config: RunConfig) -> dict[str, Any]:
    """Return the options in their canonical form, where that differs: paths absolute.

    Raises:
        UsageError: an option, or a combination of options, is refused.
    """
    _check_numbers(config)
    _check_combinations(config)
    exponent_of(config.objective, config.exponent)
    _check_choice("baseline", config.baseline, (RANDOM,))
    _check_choice("early_stopping", config.early_stopping, RULES)
    if isinstance(config.start_from, str):
        raise UsageError(f"start_from must be a list of texts, got {config.start_from!r}")
    canonical: dict[str, Any] = {"start_from": tuple(map(absolute, config.start_from))}
    if config.latency_table is not None:
        canonical["latency_table"] = str(Path(config.latency_table).resolve())
    for name in PLUGINS:
        value = getattr(config, name)
        if not isinstance(value, str) and (value is not None or name in _REQUIRED):
            raise UsageError(f"{name} must be a name or 'file.py:Name', got {value!r}")
        if value is not None:
            canonical[name] = plugins.absolute(value)
    if config.data is not None:
        canonical["data"] = loading.absolute(canonical["data"])
    return canonical


def _check_numbers(config: RunConfig) -> None:
    for name, low in _MINIMA.items():
        value = getattr(config, name)
        if value is not None and (type(value) is not int or value < low):
            raise UsageError(f"{name} must be a whole number from {low}, got {value!r}")
    for name in ("time_budget", "gpus_per_trial"):
        value = getattr(config, name)
        if value is not None and not (math.isfinite(value) and value >= 0):
            raise UsageError(f"{name} must be a number from 0, got {value!r}")


def _check_combinations(config: RunConfig) -> None:
    if not config.targets:
        raise UsageError(
            "a run requires a target: --target-flops 400M, --target-latency 20ms or "
            "--target-memory 20M"
        )
    if config.target_latency is None and (config.device, config.latency_table) != (None, None):
        raise UsageError("--device and --latency-table require --target-latency")
    if config.baseline is not None and config.time_budget is not None:
        raise UsageError(
            f"baseline {config.baseline!r} requires a number of trials and no time budget"
        )


def _check_choice(name: str, value: str | None, choices: tuple[str, ...]) -> None:
    if value is not None and value not in choices:
        raise UsageError(f"{name} must be {' or '.join(choices)}, got {value!r}")
