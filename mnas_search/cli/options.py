"""Parameter types and options that several commands share."""

import json
import math
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar, get_args

import click

from mnas_search.common.errors import UsageError
from mnas_search.common.render.output import echo
from mnas_search.common.units import parse_bytes, parse_duration, parse_latency, parse_size
from mnas_search.experiments.search.options import PLUGIN as PLUGIN
from mnas_search.experiments.search.options import run_options


class _Parsed(click.ParamType[float]):
    """A quantity with a unit, read by a parser of `mnas_search.common.units`."""

    def __init__(self, name: str, parse: Callable[[str], float]) -> None:
        self.name = name
        self.parse = parse

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, float) and 0 < value < math.inf:
            return value
        try:
            return self.parse(str(value))
        except UsageError as error:
            self.fail(str(error), param, ctx)


SIZE = _Parsed("size", parse_size)
BYTES = _Parsed("bytes", parse_bytes)
LATENCY = _Parsed("latency", parse_latency)
DURATION = _Parsed("duration", parse_duration)


class _Absolute(click.ParamType[Path]):
    """A path, made absolute: the user's code may change the working directory."""

    def __init__(self, name: str) -> None:
        self.name = name  # in help texts

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> Path:
        return Path(value).absolute()


FOLDER, FILE = _Absolute("folder"), _Absolute("file")


def shown(path: Path, cwd: Path) -> str:
    """Return a path as users would type it in the working directory `cwd`."""
    return str(path.relative_to(cwd) if path.is_relative_to(cwd) else path)


_PARSED = {one.parse: one for one in (SIZE, BYTES, LATENCY, DURATION)}
_Command = TypeVar("_Command", bound=Callable[..., Any])


def run_option(*names: str) -> Callable[[_Command], _Command]:
    """Return a decorator that adds options of a run, as `RunConfig` lists them; all by default."""

    def decorate(command: _Command) -> _Command:
        for name, kind, default, option in reversed(list(run_options())):
            if names and name not in names:
                continue
            command = click.option(
                f"--{name.replace('_', '-')}",
                is_flag=kind is bool,
                type=_PARSED[option.parse] if option.parse else _plain_type(kind),
                default=default,
                show_default=option.default,
                multiple=isinstance(default, tuple),
                metavar=option.metavar,
                help=option.help,
            )(command)
        return command

    return decorate


def _plain_type(kind: Any) -> type:
    """Return the type of an option's value: that of `int | None` or `tuple[str, ...]`."""
    types: tuple[type, ...] = get_args(kind) or (kind,)
    return types[0]


gpus_option = run_option("gpus_per_trial")
address_option = run_option("ray_address")
workers_option = run_option("workers")
budget_option = run_option("time_budget")
seed_option = run_option("seed")
device_option = run_option("device")
data_option = run_option("data")
proxy_option = run_option("proxy")
format_option = click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    help="Format of the result on standard output.",
)

# The names are those of `networks.weights.settings`, which is read with torch.
weights_of_option = click.option(
    "--weights-of",
    type=click.Choice(["timm", "timm-tf", "torchvision"]),
    help="Library whose batch norm and padding settings the weights were trained with.",
    show_default="as the file says; else the architecture's",
)


def print_json(value: object) -> None:
    """Print JSON on standard output."""
    echo(json.dumps(value, indent=2))


def print_rows(rows: Sequence[Mapping[str, Any]], form: str) -> None:
    """Print records on standard output, as a table or as JSON."""
    from mnas_search.common.render.tables import print_records

    if form == "json":
        print_json(rows)
    else:
        print_records(rows)


def refuse_run_options(changes: Mapping[str, Any], names: Sequence[str], folder: str) -> None:
    """Raise `UsageError` for an option of runs that is given with another experiment's folder.

    Args:
        changes: values by name; None where one is not given.
        names: of these options.
        folder: the folder, in words.
    """
    for name in names:
        if (value := changes[name]) is not None:
            option = f"--{name.replace('_', '-')} {value:g}"
            raise UsageError(f"{option} requires the folder of a run, got {folder}")
