"""The command `fidelity`: how well does a proxy rank?"""

from pathlib import Path
from typing import Any

import click

from mnas_search.cli.options import (
    DURATION,
    FOLDER,
    address_option,
    data_option,
    format_option,
    gpus_option,
    print_json,
)

_RESUME = "mnas-search fidelity --output"


@click.command()
@data_option
@click.option("--space", help="name or file.py:Name [efficientnet]")
@click.option(
    "--evaluator", help="whose recipes are compared: name or file.py:Name [proxy_training]"
)
@click.option(
    "--proxy",
    "proxies",
    multiple=True,
    metavar="NAME=N,...",
    help="a recipe to compare, as in `run`; repeatable [some around the data's usual one, which "
    "is called default]",
)
@click.option(
    "--reference",
    "references",
    multiple=True,
    metavar="NAME=N,...|EVALUATOR",
    help="what is taken as true: a longer recipe, an evaluator's name or file.py:Name; "
    "accel_nasbench draws networks whose ImageNet accuracies were recorded; repeatable [three "
    "times the epochs]",
)
@click.option("--architectures", type=int, help="how many, drawn uniformly from the space [24]")
@click.option("--seeds", type=int, help="trainings of each by each recipe [2]")
@click.option("--tau", "target", type=float, default=0.6, show_default=True, help="to be reached")
@click.option("--time-budget", type=DURATION, help="train nothing more after, e.g. 10m")
@click.option(
    "--workers", type=int, help="trainings at a time, over Ray; 0: in this process [one a CPU]"
)
@gpus_option
@address_option
@click.option("--seed", type=int, help="of everything random [0]")
@click.option(
    "--output",
    type=FOLDER,
    help="a new folder, or one to go on in; what it holds need not be said again "
    "[fidelity/<data>-<n>]",
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
    """How well does a proxy rank? Kendall's tau and seconds of proxies, against a reference.

    The same architectures are trained by each recipe with several seeds, and their orders
    compared. In a folder that was begun, nothing is trained again, and more recipes, references,
    architectures and seeds may be asked for.
    """
    from mnas_search.cli.console import followed
    from mnas_search.experiments.fidelity.config import FidelityConfig
    from mnas_search.experiments.fidelity.report import print_study, record, write_files
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
    write_files(done)
    if form == "json":
        print_json(record(done))
    else:
        print_study(done)
