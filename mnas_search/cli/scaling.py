"""The command `scale`: families, limits, grid search of the coefficients, comparison."""

from typing import Any

import click

from mnas_search.cli.logs import notify
from mnas_search.cli.options import (
    BYTES,
    FOLDER,
    PLUGIN,
    SIZE,
    address_option,
    data_option,
    format_option,
    gpus_option,
    proxy_option,
    workers_option,
)


@click.command()
@click.argument("architecture", metavar="ARCH")
@click.option(
    "--family", type=click.Choice(["efficientnet"]), help="Published coefficients of B0 to B7."
)
@click.option(
    "--phi",
    metavar="N|N..M",
    help="Compound coefficient of equation 3: one (1.5) or several (0..7).",
)
@click.option("--alpha", type=float, help="Base of the depth.", show_default="1.2")
@click.option("--beta", type=float, help="Base of the width.", show_default="1.1")
@click.option("--gamma", type=float, help="Base of the resolution.", show_default="1.15")
@click.option(
    "--divisor", type=int, help="Round channels to multiples of this number.", show_default="8"
)
@click.option(
    "--resolution-divisor",
    type=int,
    help="Round resolutions to multiples of this number.",
    show_default="1",
)
@click.option("--max-flops", type=SIZE, help="Upper limit on FLOPs, e.g. 2G.")
@click.option("--max-params", type=SIZE, help="Upper limit on parameters, e.g. 10M.")
@click.option(
    "--max-memory",
    type=BYTES,
    help="Upper limit on memory, e.g. 500M: of fp32 inference (weights, image and activations), "
    "or of training if --batch-size is given.",
)
@click.option("--batch-size", type=int, help="Images per batch of training, for --max-memory.")
@click.option("--grid-search", is_flag=True, help="Search for alpha, beta and gamma at phi = 1.")
@click.option("--step", type=float, help="Step of the grid search.", show_default="0.1")
@click.option(
    "--tolerance",
    type=float,
    help="Largest deviation of alpha * beta^2 * gamma^2 from 2 in the grid search.",
    show_default="0.1",
)
@click.option(
    "--compare",
    is_flag=True,
    help="Compare scaling one dimension with compound scaling at equal FLOPs.",
)
@click.option(
    "--budgets",
    metavar="SIZE,...",
    help="FLOPs at which --compare compares, e.g. 0.8G,1.6G.",
    show_default="2, 4 and 8 times the base",
)
@click.option(
    "--write",
    type=FOLDER,
    help="New folder for the networks as JSON files, which every command accepts as ARCH.",
)
@click.option(
    "--evaluator",
    metavar=PLUGIN,
    help="Evaluator of --grid-search and --compare.",
    show_default="proxy_training",
)
@data_option
@proxy_option
@click.option("--seeds", type=int, help="Trainings per network.", show_default="3")
@click.option("--seed", type=int, help="Seed of all random numbers.", show_default="0")
@workers_option
@gpus_option
@address_option
@click.option(
    "--output",
    type=FOLDER,
    help="Folder of the trainings: a new one, or one to resume.",
    show_default="grid-search/<name>-<n>, compare/<name>-<n>",
)
@format_option
def scale(architecture: str, form: str, **options: Any) -> None:
    """Scale an architecture, or search for its coefficients.

    \b
    --family         published coefficients of B0 to B7 (default, with equation 3 for comparison)
    --phi            equation 3: d = alpha^phi, w = beta^phi, r = gamma^phi; phi = 0 is ARCH
    --max-flops ...  largest phi within all limits, and the limit that binds (equation 2)
    --grid-search    trains all triples near alpha * beta^2 * gamma^2 = 2 at phi = 1
    --compare        compares depth, width or resolution alone with all three; trains networks
                     with --data or --evaluator, otherwise counts only
    """
    from mnas_search.cli.scaling_modes import MODES, mode_of, request_of
    from mnas_search.experiments.resolve import resolve_architecture
    from mnas_search.experiments.scaling.families import check_new, save_networks

    given = {n: value for n, value in options.items() if value is not None and value is not False}
    mode = mode_of(given)
    base = resolve_architecture(architecture)
    request = request_of(architecture, base, given, form)
    folder = given.get("write")
    if folder is not None:
        check_new(folder)  # before anything is trained
    networks = MODES[mode](request)
    if folder is not None:
        for file in save_networks(base, networks, folder):
            notify(f"written: {file}")


COMMANDS = (scale,)
