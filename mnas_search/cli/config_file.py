"""Options from a file: `--config FILE` of `mnas-search run`."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import click

from mnas_search.cli.options import FILE
from mnas_search.common.checks import did_you_mean
from mnas_search.common.errors import UsageError, single_line
from mnas_search.experiments.search.options import run_options

_OPTIONS = {name: option for name, _, _, option in run_options()}


def _take(context: click.Context, parameter: click.Parameter, file: Path | None) -> None:
    """Make the options in a file the command's defaults, so that options given on the command line
    win."""
    del parameter
    if file is not None:
        options = _read(file, [*_OPTIONS, "output"])
        context.default_map = {name: _typed(file, name, v) for name, v in options.items()}


config_option = click.option(
    "--config",
    type=FILE,
    is_eager=True,
    expose_value=False,
    callback=_take,
    help="YAML file of options, or the config.json of a run; options given here win.",
)


def _read(file: Path, known: list[str]) -> dict[str, Any]:
    """Return the options in a file that are not null, by name."""
    content = _content(file)
    if isinstance(content, dict) and {"format", "config"} <= content.keys():
        return _of_run(file, known)
    if not isinstance(content, dict):
        raise UsageError(f"{str(file)!r} must hold options by name, got {type(content).__name__}")
    options = {}
    for key, value in content.items():
        name = str(key).replace("-", "_")
        if name not in known:
            hint = did_you_mean(name, known)
            raise UsageError(
                f"unknown option {key!r} in {str(file)!r}{hint}; options: {', '.join(known)}"
            )
        if value is not None:
            options[name] = value
    return options


def _content(file: Path) -> Any:
    import yaml  # takes a moment

    from mnas_search.common.files import read_text

    try:
        text = read_text(file)
        return json.loads(text) if file.suffix == ".json" else yaml.safe_load(text)
    except (OSError, ValueError, RecursionError, yaml.YAMLError) as error:
        raise UsageError(f"cannot read {str(file)!r}: {single_line(str(error))}") from None


def _of_run(file: Path, known: list[str]) -> dict[str, Any]:
    """Return the options that a run recorded in its config.json; hashes and the like are left
    out, and an exponent that follows from the objective may follow from another one."""
    from mnas_search.common.folders import read_record
    from mnas_search.nas.objective import DEFAULT_EXPONENTS

    record = read_record(file.parent) if file.name == "config.json" else None
    if record is None or record.command != "run":
        command = "an experiment" if record is None else f"a `{record.command}`"
        raise UsageError(f"{str(file)!r} must be the config.json of a run, got that of {command}")
    options = {name: record.config[name] for name in known if record.config.get(name) is not None}
    if options.get("exponent") == DEFAULT_EXPONENTS.get(options.get("objective", "")):
        options.pop("exponent", None)
    return options


def _typed(file: Path, name: str, value: Any) -> Any:
    """Return a value as the command line's types take it."""
    if isinstance(value, Mapping) or (isinstance(value, list) and name != "start_from"):
        raise UsageError(f"{name} in {str(file)!r} must be a single value, got {value!r}")
    if name == "start_from":
        return list(map(str, value)) if isinstance(value, list) else [str(value)]
    quantity = name in _OPTIONS and _OPTIONS[name].parse is not None
    if quantity and isinstance(value, int | float) and not isinstance(value, bool):
        return float(value)  # in FLOPs, parameters, bytes or seconds
    return str(value)  # click would take 12.5 for 12
