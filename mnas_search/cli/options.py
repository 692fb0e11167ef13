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


def _path(name: str) -> "click.Path[Path]":
    path = click.Path(path_type=Path)
    path.name = name  # in help texts
    return path


FOLDER, FILE = _path("folder"), _path("file")
PLUGIN = "NAME|FILE.py:NAME"

gpus_option = click.option(
    "--gpus-per-trial",
    type=float,
    help="GPUs per worker, e.g. 0.25.",
    show_default="all GPUs, shared equally among the workers",
)
address_option = click.option(
    "--ray-address",
    metavar="ADDRESS",
    help="Ray cluster to join.",
    show_default="a private one on this machine",
)
workers_option = click.option(
    "--workers",
    type=int,
    help="Candidates evaluated in parallel by Ray; 0 evaluates them in this process.",
    show_default="one per CPU",
)
budget_option = click.option(
    "--time-budget",
    type=DURATION,
    help="Start no further evaluation after this time, e.g. 10m.",
    show_default="no limit",
)
seed_option = click.option("--seed", type=int, default=0, help="Seed of all random numbers.")
format_option = click.option(
    "--format",
    "form",
    type=click.Choice(["table", "json"]),
    default="table",
    help="Format of the result on standard output.",
)
device_option = click.option(
    "--device",
    metavar="NAME",
    help="Backend on which latency is measured: cpu, compiled, onnxruntime or cuda.",
    show_default="cpu",
)
data_option = click.option(
    "--data",
    metavar="PATH|NAME|hf:NAME|FILE.py:NAME",
    help="Data set on which networks are trained: a folder of images (one subfolder per class), "
    "CIFAR binary files, an .npz file, a data set of the Hugging Face Hub, or the name of an "
    "installed one (`mnas-search list datasets`).",
    show_default="digits",
)
proxy_option = click.option(
    "--proxy",
    metavar="NAME=N,...",
    help="Changes to the recipe of the proxy training, e.g. epochs=10,resolution=16. Names: "
    "epochs, resolution, width, fraction, batch_size, learning_rate, divisor.",
    show_default="the data set's recipe",
)
# The names are those of `networks.weights.settings`, which is read with torch.
weights_of_option = click.option(
    "--weights-of",
    type=click.Choice(["timm", "timm-tf", "torchvision"]),
    help="Library whose batch norm and padding settings the weights were trained with.",
    show_default="as the file says; else the architecture's",
)


def print_json(value: object) -> None:
    """JSON alone, on standard output."""
    click.echo(json.dumps(value, indent=2))
