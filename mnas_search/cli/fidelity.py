"""The command `fidelity`, which measures how well cheap proxy trainings rank architectures."""

from pathlib import Path
from typing import Any

import click

from mnas_search.cli.options import (
    FILE,
    FOLDER,
    PLUGIN,
    address_option,
    budget_option,
    data_option,
    format_option,
    gpus_option,
    print_json,
    run_option,
    workers_option,
)

_RESUME = "mnas-search fidelity --output"


@click.command()
@data_option
@click.option("--space", metavar=PLUGIN, help="Search space.", show_default="efficientnet")
@click.option(
    "--evaluator",
    metavar=PLUGIN,
    help="Evaluator whose recipes are compared.",
    show_default="proxy_training",
)
@click.option(
    "--proxy",
    "proxies",
    multiple=True,
    metavar="NAME=N,...|EVALUATOR[,NAME=N,...]",
    help="Recipe to compare, as in `run`, or of another evaluator, such as supernet; may be "
    "repeated.",
    show_default="several variants of the data set's recipe",
)
@click.option(
    "--reference",
    "references",
    multiple=True,
    metavar="NAME=N,...|EVALUATOR",
    help="Reference ranking: a longer recipe or an evaluator; accel_nasbench draws networks whose "
    "ImageNet accuracies were recorded. May be repeated.",
    show_default="three times the epochs",
)
@click.option(
    "--architectures",
    type=int,
    help="Number of architectures, drawn uniformly from those of the space within the targets.",
    show_default="24",
)
@click.option("--seeds", type=int, help="Trainings per architecture and recipe.", show_default="2")
@click.option(
    "--tau", "target", type=float, default=0.6, help="Kendall's tau that a proxy should reach."
)
@run_option("target_flops", "target_latency", "target_memory")
@click.option(
    "--latency-table",
    type=FILE,
    help="Table made by `mnas-search latency build`, for --target-latency.",
)
@run_option("resolution")
@budget_option
@workers_option
@gpus_option
@address_option
@click.option("--seed", type=int, help="Seed of all random numbers.", show_default="0")
@click.option(
    "--output",
    type=FOLDER,
    help="New folder, or one to resume, whose options need not be repeated.",
    show_default="fidelity/<data>-<n>",
)
@format_option
def fidelity(
    output: Path | None,
    target: float,
    time_budget: float | None,
    workers: int | None,
    gpus_per_trial: float | None,
    ray_address: str | None,
    form: str,
    **wanted: Any,
) -> None:
    """Measure how well cheap proxy trainings rank architectures.

    Each recipe trains the same architectures with several seeds; the result is Kendall's tau
    between its ranking and a reference ranking, and the seconds it takes. Architectures are drawn
    from those of the space that keep the targets, which are the options of `run`. With the
    --output of an earlier call, finished trainings are reused, and recipes, references,
    architectures and seeds may be added.
    """
    from mnas_search.cli.console import followed
    from mnas_search.experiments.fidelity.config import FidelityConfig
    from mnas_search.experiments.fidelity.record import print_record, record, write_files
    from mnas_search.experiments.fidelity.study import study

    with followed("folder", "trainings", _RESUME, also_failed=True) as console:
        done = study(
            FidelityConfig(**wanted),
            output=output,
            target=target,
            time_budget=time_budget,
            workers=workers,
            gpus_per_trial=gpus_per_trial,
            ray_address=ray_address,
            listener=console,
        )
    found = record(done)
    write_files(done, found)
    if form == "json":
        print_json(found)
    else:
        print_record(found)
