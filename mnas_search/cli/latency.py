"""The commands `latency build` and `latency predict`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from mnas_search.cli.options import FILE, PLUGIN, device_option, format_option, print_rows
from mnas_search.common.errors import UsageError
from mnas_search.common.render.output import echo

if TYPE_CHECKING:
    from mnas_search.architecture.cost.latency import LatencyTable
    from mnas_search.architecture.traced_network import Network

_resolution = click.option(
    "--resolution", type=int, default=224, help="Input resolution of the space's networks."
)
_classes = click.option(
    "--num-classes", type=int, default=1000, help="Number of classes of the space's networks."
)
_ARCH = click.argument("architectures", nargs=-1, metavar="ARCH...")


@click.group()
def latency() -> None:
    """Build latency tables and predict latencies with them.

    Latency is the time of one forward pass in fp32. `mnas-search evaluate --evaluator latency`
    measures whole networks.
    """


@latency.command()
@_ARCH
@device_option
@click.option(
    "--space", metavar=PLUGIN, help="Search space.", show_default="efficientnet, without ARCH"
)
@click.option("--threads", type=int, default=1, help="Number of CPU threads.")
@click.option("--batch-size", type=int, default=1, help="Images per batch.")
@_resolution
@_classes
@click.option(
    "--turns", type=click.IntRange(min=1), help="Measurements of each part.", show_default="12"
)
@click.option(
    "-o", "--output", type=FILE, help="File of the table.", show_default="latency-<device>.json"
)
@click.option("--force", is_flag=True, help="Start again if the file exists.")
def build(
    architectures: tuple[str, ...],
    device: str | None,
    space: str | None,
    threads: int,
    batch_size: int,
    resolution: int,
    num_classes: int,
    turns: int | None,
    output: Path | None,
    force: bool,
) -> None:
    """Measure the latency of every part (stem, block, head) of a space or of architectures.

    If the table exists and is of the same device, only missing parts are measured: after an
    interruption, or to add parts.
    """
    from mnas_search.architecture.cost.latency import Conditions
    from mnas_search.architecture.cost.latency.table import read_table
    from mnas_search.cli.console import status_line
    from mnas_search.common.units import format_latency
    from mnas_search.evaluators.latency.building import build_table
    from mnas_search.evaluators.latency.stopwatch import TURNS
    from mnas_search.experiments.resolve import resolve_architecture
    from mnas_search.nas.space.adapted import adapt_space
    from mnas_search.nas.space.contract import make_space

    conditions = Conditions(device=device or "cpu", threads=threads, batch_size=batch_size)
    path = output or Path(f"latency-{conditions.device}.json")
    begun = read_table(path) if path.exists() and not force else None
    networks = [resolve_architecture(text) for text in architectures]
    if space is None and not networks:
        space = "efficientnet"
    searched = None
    if space is not None:
        found = make_space(space, resolution=resolution, num_classes=num_classes)
        searched, _ = adapt_space(found, resolution)
    with status_line() as note:
        table = build_table(
            searched,
            networks,
            conditions,
            begun=begun,
            turns=turns or TURNS,
            note=note,
            keep=lambda grown: grown.write(path),
        )
    echo(
        f"{path}: {len(table.parts)} parts, {conditions}; whole networks take "
        f"{format_latency(table.offset)} + {table.factor:.3f} times their sum"
    )


@latency.command()
@_ARCH
@click.option("--table", "file", type=FILE, required=True, help="Table made by `latency build`.")
@click.option("--measure", is_flag=True, help="Also measure the networks on this machine.")
@click.option(
    "--sample", type=click.IntRange(min=1), help="Also predict N random networks of --space."
)
@click.option("--space", metavar=PLUGIN, default="efficientnet", help="Search space of --sample.")
@click.option("--seed", type=int, default=1, help="Seed of --sample.")
@_resolution
@_classes
@click.option(
    "--turns", type=click.IntRange(min=1), help="Measurements of each network.", show_default="12"
)
@format_option
def predict(
    architectures: tuple[str, ...],
    file: Path,
    measure: bool,
    sample: int | None,
    space: str,
    seed: int,
    resolution: int,
    num_classes: int,
    turns: int | None,
    form: str,
) -> None:
    """Predict the latency of networks with a table; with --measure, compare with measurements.

    `timed` is the fraction of a prediction that comes from measured parts of the table; the rest
    is extrapolated by rates fitted to them.
    """
    from mnas_search.architecture.cost.latency.table import read_table
    from mnas_search.evaluators.latency.building import CALIBRATION_SEED, drawn
    from mnas_search.experiments.resolve import resolve_architecture
    from mnas_search.nas.space.adapted import adapt_space
    from mnas_search.nas.space.contract import make_space

    table = read_table(file)
    networks: list[Network] = [resolve_architecture(text) for text in architectures]
    if sample is not None:
        if seed == CALIBRATION_SEED:
            raise UsageError(f"--seed must not be {seed}, the seed with which tables are built")
        found = make_space(space, resolution=resolution, num_classes=num_classes)
        networks += drawn(adapt_space(found, resolution)[0], sample, seed)
    if not networks:
        raise UsageError("ARCH or --sample is required")
    rows, lines = _rows(networks, table, measure=measure, turns=turns)
    print_rows(rows, form)
    for line in lines if form == "table" else ():
        echo(line)


def _rows(
    networks: "list[Network]", table: "LatencyTable", *, measure: bool, turns: int | None
) -> tuple[list[dict[str, Any]], list[str]]:
    """Return a row per network, and the lines to print below them."""
    from mnas_search.architecture.cost.latency.conditions import describe

    predicted = [table.predict(network) for network in networks]
    rows: list[dict[str, Any]] = [
        {
            "name": network.label,
            "predicted_ms": round(1e3 * one.seconds, 3),
            "timed": round(one.timed, 3),
        }
        for network, one in zip(networks, predicted, strict=True)
    ]

    lines = [f"{table.conditions} on {describe(table.machine)}"]
    if not measure:
        return rows, lines
    from mnas_search.architecture.cost.latency.table import matches_this_machine
    from mnas_search.cli.console import status_line
    from mnas_search.evaluators.latency.measuring import check

    with status_line() as note:
        checked = check(networks, table, turns=turns, note=note)
    for row, one in zip(rows, checked.networks, strict=True):
        row |= {
            "measured_ms": round(1e3 * one.measured.seconds, 3),
            "low_ms": round(1e3 * one.measured.low, 3),
            "high_ms": round(1e3 * one.measured.high, 3),
            "error": round(one.error, 4),
        }
    lines += checked.notes
    if not matches_this_machine(table):
        lines.append("the table was built on another machine, or with other packages")
    return rows, lines


COMMANDS = (latency,)
