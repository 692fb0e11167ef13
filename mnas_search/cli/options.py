"""Parameter types and options that several commands share."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

from mnas_search.common.errors import UsageError
from mnas_search.common.units import parse_bytes, parse_duration, parse_latency, parse_size


class _Parsed(click.ParamType[float]):
    """A value read by one of our parsers, whose message names what is allowed."""

    def __init__(self, name: str, parse: Callable[[str], float]) -> None:
        self.name = name
        self._parse = parse

    def convert(
        self, value: Any, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        if isinstance(value, float):
            return value
        try:
            return self._parse(value)
        except UsageError as error:
            self.fail(str(error), param, ctx)


SIZE = _Parsed("size", parse_size)
BYTES = _Parsed("bytes", parse_bytes)
LATENCY = _Parsed("latency", parse_latency)
DURATION = _Parsed("duration", parse_duration)
FOLDER = click.Path(path_type=Path)

gpus_option = click.option(
    "--gpus-per-trial", type=float, help="GPUs a worker takes, e.g. 0.25 [its share]"
)
address_option = click.option("--ray-address", help="a Ray cluster to join [a private local one]")
format_option = click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    help="what to print on standard output",
)

device_option = click.option(
    "--device", help="what latency is of: cpu, compiled, onnxruntime or cuda [cpu]"
)

data_option = click.option(
    "--data",
    help="what networks are trained on: a folder of images (one folder a class), CIFAR's binary "
    "files, an .npz file, hf:NAME, a name, or file.py:Name [digits]",
)


# The names are those of `training.full.weight_settings`, which is read with torch.
weights_of_option = click.option(
    "--weights-of",
    type=click.Choice(["timm", "timm-tf", "torchvision"]),
    help="whose batch norm and padding the weights were trained with [what the file says; else "
    "the architecture's]",
)


def print_json(value: object) -> None:
    """JSON alone, on standard output."""
    click.echo(json.dumps(value, indent=2))
